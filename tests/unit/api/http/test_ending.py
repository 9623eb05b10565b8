"""When a connection closes, and that unread answers do not keep it."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.raw_http import get, run, running


@pytest.mark.parametrize("path", ["/json", "/slow"])
@pytest.mark.parametrize("by", ["HTTP/1.0", "Connection: close"])
def test_connection_closes_when_the_client_asks_for_it(path: str, by: str):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            old = f"GET {path} HTTP/1.0\r\n\r\n".encode()
            await client.send(old if by == "HTTP/1.0" else get(path, by))
            answer = await client.answer()
            assert answer.status == 200
            assert answer.headers[b"Connection"] == b"close"
            assert await client.rest() == b""

    run(test())


def test_connection_closes_when_the_answer_asks_for_it():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/last") + get("/json"))
            assert (await client.answer()).headers[b"Connection"] == b"close"
            assert await client.rest() == b""

    run(test())


@pytest.mark.parametrize("last", [True, False])
def test_unread_answer_is_dropped_in_the_end(last: bool):
    async def test() -> None:
        async with running(stall_s=0.05, keep_alive_s=0.05) as site, site.connect() as client:
            await client.send(get("/huge", *["Connection: close"] * last))
            await asyncio.sleep(1.0)
            assert len(await client.rest()) < 30_000_000

    run(test())
