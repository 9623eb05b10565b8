"""Durable writes: what group commit gains when many clients write at once."""

from __future__ import annotations

import os
import tempfile
import time

from bench.figure import Figure, at_least
from bench.site import Options, folder, pid_of, running_agent
from bench.wrk import Contender, Load, best_rate, compare, least_cpu_us, run

GATE = at_least(5)
TURNS = 2
BODY = '{"SchedulerAlgorithm":"binpack","PreemptionConfig":{"SystemSchedulerEnabled":true}}'


def measure(options: Options) -> list[Figure]:
    with running_agent() as (agent, token):
        load = Load(
            url=f"{agent.url}/v1/operator/scheduler/configuration",
            method="PUT",
            headers={"X-Nomad-Token": token, "Content-Type": "application/json"},
            body=BODY,
        )
        put = Contender(name="put", load=load, pid=pid_of(agent))
        run(load, put.pid, 8, 1)
        rates = {}
        cost = {}
        for clients in (1, 64):
            turns = compare([put], clients, turns=TURNS, seconds=options.seconds)["put"]
            rates[clients], cost[clients] = best_rate(turns), least_cpu_us(turns)
    sync = f"an fdatasync of 4 kB takes {_sync_ms():.2f} ms here"
    return [
        Figure(
            name="durable PUT rate, 64 clients over 1",
            value=rates[64] / rates[1],
            unit="x rate",
            gate=GATE,
            reference=f"{rates[64]:,.0f}/s over {rates[1]:,.0f}/s; {sync}",
        ),
        Figure(name="durable PUT, CPU, 1 client", value=cost[1], unit="us"),
        Figure(name="durable PUT, CPU, 64 clients", value=cost[64], unit="us"),
    ]


def _sync_ms() -> float:
    """The middle of 50 writes that are waited for, where the store's file was."""
    with folder() as where, tempfile.TemporaryFile(dir=where) as file:
        times = []
        for _ in range(50):
            os.write(file.fileno(), bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[25] * 1_000
