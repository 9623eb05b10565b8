"""A server with many objects: start, save, restore, churn, and what its clients feel of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import msgspec
from bench.encoding import Encoding
from bench.figure import Figure, at_least, at_most
from bench.population import populate
from bench.probe import Memory, Ticker
from bench.site import Options, folder, gauge, make_agent, pid_of
from bench.wrk import Load, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Agent

PATH = "/v1/operator/scheduler/configuration"
SNAPSHOT = "/v1/operator/snapshot"
PAUSE = "nomad.runtime.gc_longest_pause_ms"
RESTORES = 2


def measure(options: Options) -> list[Figure]:
    with folder() as where:
        agent = make_agent(where)
        with agent:
            token = agent.bootstrap()
        store = agent.data_dir / "server" / "store.db"
        populate(store, options.objects)
        figures = _encoding(store)
        with agent:
            started_s = _time_restart(agent)
            figures.append(
                Figure(
                    name=f"restart with {options.objects:,} objects to the first answer",
                    value=started_s,
                    unit="s",
                    gate=at_most(3),
                )
            )
            quiet_ms = _quiet_ms(agent, token)
            figures += _save(agent, token, options, quiet_ms)
            figures += _restore(agent, token, quiet_ms)
            figures.append(_churn(agent, token, options))
    return figures


def _encoding(store: Path) -> list[Figure]:
    words = [sys.executable, "-m", "bench.encoding", str(store)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    encoding = msgspec.json.decode(done.stdout, type=Encoding)
    saved, count = encoding.saved_per_s, f"{encoding.objects:,} objects"
    return [
        Figure(
            name=f"save of {count} over encoding them",
            value=saved / encoding.encoded_per_s,
            unit="x rate",
            gate=at_least(0.4),
            reference=f"{saved:,.0f}/s over {encoding.encoded_per_s:,.0f}/s",
        ),
        Figure(
            name=f"save of {count} over encoding, digest and compression alone",
            value=saved / encoding.packed_per_s,
            unit="x rate",
            reference=f"{saved:,.0f}/s over {encoding.packed_per_s:,.0f}/s",
        ),
    ]


def _time_restart(agent: Agent) -> float:
    agent.stop()
    began = time.perf_counter()
    agent.start()
    return time.perf_counter() - began


def _churn(agent: Agent, token: str, options: Options) -> Figure:
    """New objects as fast as they go; the longest pause is of the whole life of the process."""
    load = Load(
        url=f"{agent.url}/v1/acl/policy/churned-NUMBER",
        method="PUT",
        headers={"X-Nomad-Token": token},
        body='{"Name":"churned-NUMBER","Rules":"node { policy = \\"read\\" }"}',
        numbered=True,
    )
    restored_ms = gauge(agent, token, PAUSE)
    outcome = run(load, pid_of(agent), 64, options.seconds)
    return Figure(
        name="longest pause of the collector under churn",
        value=gauge(agent, token, PAUSE),
        unit="ms",
        gate=at_most(30),
        reference=f"{restored_ms:.1f} ms after the restores; {outcome.rate:,.0f} PUT/s",
    )


def _quiet_ms(agent: Agent, token: str) -> float:
    with Ticker(agent.http_port, PATH, token) as ticker:
        time.sleep(1)
    return ticker.quantile_ms(0.99)


class _Saves:
    """Archives asked for one after the other in a thread, while something else is measured."""

    def __init__(self, agent: Agent, token: str) -> None:
        self._agent = agent
        self._token = token
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._save)
        self.times: list[float] = []
        self.archive = b""
        self.fault = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self.fault:
            raise RuntimeError(self.fault)

    def _save(self) -> None:
        while not self._end.is_set():
            began = time.perf_counter()
            answer = self._agent.get(SNAPSHOT, self._token)
            if answer.status != 200:
                self.fault = f"a save was answered {answer}"
                return
            self.times.append(time.perf_counter() - began)
            self.archive = answer.body


def _save(agent: Agent, token: str, options: Options, quiet_ms: float) -> list[Figure]:
    with (
        Memory(agent) as memory,
        Ticker(agent.http_port, PATH, token) as ticker,
        _Saves(agent, token) as saves,
    ):
        time.sleep(options.seconds)
    load = Load(url=agent.url + PATH, headers={"X-Nomad-Token": token})
    with _Saves(agent, token):
        busy = run(load, pid_of(agent), 8, options.seconds)
    quiet = run(load, pid_of(agent), 8, options.seconds)
    return [
        Figure(
            name="loop lag during saves, p99",
            value=ticker.quantile_ms(0.99),
            unit="ms",
            gate=at_most(10),
            reference=(
                f"{quiet_ms:.2f} ms at rest; longest {ticker.quantile_ms(1):.1f} of {ticker.count}"
            ),
        ),
        Figure(
            name="GET during saves at 8 connections, p99",
            value=busy.p99_us / 1_000,
            unit="ms",
            gate=at_most(10),
            reference=f"{quiet.p99_us / 1_000:.2f} ms without; {busy.rate:,.0f}/s",
        ),
        Figure(
            name="extra memory of a save",
            value=memory.extra_mb,
            unit="MB",
            gate=at_most(64),
            reference=f"{len(saves.times)} saves of {len(saves.archive) / 1e6:.1f} MB",
        ),
        Figure(name="time of a save over HTTP", value=min(saves.times), unit="s"),
    ]


def _restore(agent: Agent, token: str, quiet_ms: float) -> list[Figure]:
    archive = agent.get(SNAPSHOT, token).body
    times = []
    with Memory(agent) as memory, Ticker(agent.http_port, PATH, token) as ticker:
        for _ in range(RESTORES):
            began = time.perf_counter()
            answer = agent.put(SNAPSHOT, archive, token, timeout=120.0)
            if answer.status != 200:
                raise RuntimeError(f"a restore was answered {answer}")
            times.append(time.perf_counter() - began)
    return [
        Figure(
            name="loop lag during restores, p99",
            value=ticker.quantile_ms(0.99),
            unit="ms",
            gate=at_most(20),
            reference=(
                f"{quiet_ms:.2f} ms at rest; longest {ticker.quantile_ms(1):.1f} of {ticker.count}"
            ),
        ),
        Figure(
            name="extra memory of a restore",
            value=memory.extra_mb,
            unit="MB",
            gate=at_most(64),
            reference=f"{RESTORES} restores of {len(archive) / 1e6:.1f} MB",
        ),
        Figure(name="time of a restore over HTTP", value=min(times), unit="s"),
    ]
