"""Durable writes: the gain of group commit when many clients write at once."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from bench.figure import Figure, at_least
from bench.site import Options, folder, pid_of, running_agent
from bench.wrk import Load, least_cpu_us, run

if TYPE_CHECKING:
    from bench.wrk import Outcome

GATE = at_least(5)
TURN_S = 2
BODY = '{"SchedulerAlgorithm":"binpack","PreemptionConfig":{"SystemSchedulerEnabled":true}}'


def measure(options: Options) -> list[Figure]:
    with running_agent() as (agent, token):
        load = Load(
            url=f"{agent.url}/v1/operator/scheduler/configuration",
            method="PUT",
            headers={"X-Nomad-Token": token, "Content-Type": "application/json"},
            body=BODY,
        )
        pid = pid_of(agent)
        run(load, pid, 8, 1)
        # In turns, because the sync time of a disk changes from minute to minute.
        pairs = [
            (run(load, pid, 1, TURN_S), run(load, pid, 64, TURN_S)) for _ in range(options.turns)
        ]
    alone, many = sorted(pairs, key=_gain)[len(pairs) // 2]
    sync = f"an fdatasync of 4 kB takes {_sync_ms():.2f} ms here"
    return [
        Figure(
            name="durable PUT rate, 64 clients over 1",
            value=many.rate / alone.rate,
            unit="x rate",
            gate=GATE,
            reference=f"{many.rate:,.0f}/s over {alone.rate:,.0f}/s; {sync}",
        ),
        Figure(
            name="durable PUT, CPU, 1 client",
            value=least_cpu_us([one for one, _ in pairs]),
            unit="us",
        ),
        Figure(
            name="durable PUT, CPU, 64 clients",
            value=least_cpu_us([many for _, many in pairs]),
            unit="us",
        ),
    ]


def _gain(pair: tuple[Outcome, Outcome]) -> float:
    return pair[1].rate / pair[0].rate


def _sync_ms() -> float:
    """Median of 50 synced writes, in milliseconds, in the folder of the store."""
    with folder() as where, tempfile.TemporaryFile(dir=where) as file:
        times = []
        for _ in range(50):
            os.write(file.fileno(), bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[25] * 1_000
