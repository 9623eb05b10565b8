"""Blocking queries by the thousand: memory of each, and how long until the last has its answer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import uvloop
from bench.figure import Figure, at_most
from bench.site import (
    Options,
    gauge,
    lift_file_limit,
    pid_of,
    resident_bytes,
    running_agent,
)
from bench.wrk import cpu_seconds

if TYPE_CHECKING:
    from tests.harness import Agent

BYTES_GATE = at_most(8)
LAST_GATE = at_most(1)
SPARE_FILES = 200
OPENED_AT_ONCE = 200
PATIENCE_S = 30.0
WAITING = "nomad.nomad.blocking_queries"
POLICY = {"Name": "woken", "Rules": 'node { policy = "read" }'}


class _Waiter(asyncio.Protocol):
    """One blocking query: says when its answer began to arrive."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.status = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.status = data[9:12]
            self.answered.set_result(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError("closed while waiting"))


def measure(options: Options) -> list[Figure]:
    count = min(options.waiters, lift_file_limit(options.waiters + SPARE_FILES) - SPARE_FILES)
    with running_agent() as (agent, token), asyncio.Runner(loop_factory=uvloop.new_event_loop) as r:
        return r.run(_measure(agent, token, count))


async def _measure(agent: Agent, token: str, count: int) -> list[Figure]:
    agent.put("/v1/acl/policy/woken", POLICY, token)
    answer = agent.get("/v1/acl/policies", token)
    request = (
        f"GET /v1/acl/policies?wait=120s&index={answer.header('X-Nomad-Index')} HTTP/1.1\r\n"
        f"Host: 127.0.0.1\r\nX-Nomad-Token: {token}\r\n\r\n"
    ).encode()
    before = resident_bytes(agent)
    waiters = await _open(agent.http_port, request, count)
    await _all_wait(agent, token, count)
    each_kb = (resident_bytes(agent) - before) / count / 1_024
    cpu = cpu_seconds(pid_of(agent))
    began = time.perf_counter()
    put = asyncio.create_task(asyncio.to_thread(agent.put, "/v1/acl/policy/woken", POLICY, token))
    async with asyncio.timeout(PATIENCE_S):
        times = [await waiter.answered for waiter in waiters]
    await put
    cpu = cpu_seconds(pid_of(agent)) - cpu
    wrong = sum(waiter.status != b"200" for waiter in waiters)
    if wrong:
        raise RuntimeError(f"{wrong} of {count} blocking queries did not end with 200")
    return [
        Figure(name=f"{count:,} waiters, memory each", value=each_kb, unit="kB", gate=BYTES_GATE),
        Figure(
            name=f"last of {count:,} answers, from the sending of the write",
            value=max(times) - began,
            unit="s",
            gate=LAST_GATE,
            reference=f"first after {min(times) - began:.3f} s",
        ),
        Figure(name=f"CPU to wake {count:,}", value=cpu, unit="s"),
    ]


async def _open(port: int, request: bytes, count: int) -> list[_Waiter]:
    loop = asyncio.get_running_loop()
    waiters: list[_Waiter] = []
    while len(waiters) < count:
        some = range(min(OPENED_AT_ONCE, count - len(waiters)))
        opened = await asyncio.gather(
            *(loop.create_connection(lambda: _Waiter(request), "127.0.0.1", port) for _ in some)
        )
        waiters += [waiter for _, waiter in opened]
    return waiters


async def _all_wait(agent: Agent, token: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        # Another process, which sends no event: it must be asked.
        while await asyncio.to_thread(gauge, agent, token, WAITING) < count:  # noqa: ASYNC110  a gauge can only be polled
            await asyncio.sleep(0.05)
