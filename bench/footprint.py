"""What a fresh agent takes, and how long the program and a server take to start."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.figure import Figure, at_most
from bench.site import Options, folder, make_agent, resident_bytes
from tests.harness import BELLCOW

SETTLE_S = 3.0
RUNS = 15


def measure(options: Options) -> list[Figure]:
    return [*_agent(), *_program(5 if options.quick else RUNS)]


def _agent() -> list[Figure]:
    with folder() as where:
        agent = make_agent(where)
        began = time.perf_counter()
        with agent:
            leads_s = time.perf_counter() - began
            time.sleep(SETTLE_S)
            idle_mb = resident_bytes(agent) / (1 << 20)
    return [
        Figure(name="resident memory, idle", value=idle_mb, unit="MB", gate=at_most(70)),
        Figure(
            name="start of a new server to its leader", value=leads_s, unit="s", gate=at_most(2)
        ),
    ]


def _program(runs: int) -> list[Figure]:
    """The least of several runs, ours and the bare interpreter's in turn."""
    bare, ours = [], []
    for _ in range(runs):
        bare.append(_time_of(sys.executable, "-c", "pass"))
        ours.append(_time_of(str(BELLCOW), "version"))
    return [
        Figure(
            name="`bellcow version` over the bare interpreter",
            value=(min(ours) - min(bare)) * 1_000,
            unit="ms",
            gate=at_most(60),
            reference=f"{min(ours) * 1_000:.0f} ms over {min(bare) * 1_000:.0f} ms",
        )
    ]


def _time_of(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
