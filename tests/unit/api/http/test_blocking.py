"""Blocking queries: when they are answered, and that they wait for nothing afterwards."""

from __future__ import annotations

import time

import pytest
from tests.sim.raw_http import get, run, running, until


def test_blocking_query_is_answered_when_its_table_changes():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
            site.app.index = 2
            site.waiting.wake(["nodes"])
            assert (await client.answer()).headers[b"X-Nomad-Index"] == b"2"
            assert len(site.waiting) == 0
            assert await client.is_open()

    run(test())


def test_blocking_query_waits_on_after_a_change_that_does_not_concern_it():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
            site.waiting.wake(["jobs"])
            await until(lambda: len(site.app.asked) == 2 and len(site.waiting) == 1)
            site.app.index = 2
            site.waiting.wake(["jobs"])
            assert (await client.answer()).status == 200

    run(test())


def test_blocking_query_is_answered_with_the_present_state_at_its_deadline():
    async def test() -> None:
        async with running(header_s=0.01) as site, site.connect() as client:
            began = time.monotonic()
            answer = await client.get("/wait?wait=0.1")
            assert 0.09 < time.monotonic() - began < 2
            assert answer.headers[b"X-Nomad-Index"] == b"1"
            assert len(site.waiting) == 0
            assert await client.is_open()

    run(test())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_lost_connection_waits_no_longer(how: str):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
            client.reset() if how == "reset" else client.writer.close()
            await until(lambda: len(site.waiting) == 0)
            assert site.events == []

    run(test())


def test_requests_behind_a_blocking_query_are_answered_after_it():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/wait") + get("/json") + get("/slow"))
            await until(lambda: len(site.waiting) == 1)
            site.app.index = 2
            site.waiting.wake(["jobs"])
            bodies = [(await client.answer()).body for _ in range(3)]
            assert bodies == [b"[]", b'{"a":1}', b"GET /slow"]

    run(test())


@pytest.mark.parametrize("behind", [0, 2])
def test_woken_query_is_answered_by_a_task_if_the_fast_path_cannot(behind: int):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/wait/task") + get("/json") * behind)
            await until(lambda: len(site.waiting) == 1)
            site.app.index = 2
            site.waiting.wake(["jobs"])
            assert (await client.answer()).body == b"GET /wait/task"
            for _ in range(behind):
                assert (await client.answer()).body == b'{"a":1}'
            assert await client.is_open()

    run(test())
