"""Answers by task: streams, unread bodies, and `100 Continue`."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from tests.support.http_wire import LostWire, wired
from tests.support.raw_http import FixedApp, get, request, running, trickle, until

from bellcow.api.message import Body, Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_stream_over_http_1_0_ends_with_the_connection():
    async with running() as site, site.connect() as client:
        await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        await client.answer()
        assert await client.rest() == b"onethree"


async def test_fault_in_a_stream_does_not_look_like_its_end():
    async with running() as site, site.connect() as client:
        await client.send(get("/broken"))
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert site.names() == ["http_request_failed"]
        assert site.app.closed.is_set()


async def test_continue_is_sent_when_the_body_is_read():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/a", "Expect: 100-continue", "Content-Length: 3"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.answer()).body == b"got abc"
        assert await client.is_open()


async def test_continue_is_not_sent_when_the_body_is_refused():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/a", "Expect: 100-continue", "Content-Length: 5000"))
        assert (await client.answer()).status == 413
        assert await client.rest() == b""


async def test_small_unread_body_does_not_end_the_connection():
    async with running() as site, site.connect() as client:
        await client.send(request("POST", "/missing", "Content-Length: 5"))
        assert (await client.answer()).status == 200
        await client.send(b"hello" + get("/json"))
        assert (await client.answer()).body == b'{"a":1}'


async def test_large_unread_body_does_not_destroy_the_answer():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/a", "Content-Length: 50000000"))
        sending = asyncio.ensure_future(trickle(client.send, b"x" * 100_000, 0.0))
        answer = await client.answer()
        sending.cancel()
        assert answer.status == 413
        assert answer.headers[b"Connection"] == b"close"


async def test_get_with_a_body_is_answered_and_so_is_the_next_request():
    async with running() as site, site.connect() as client:
        await client.send(request("GET", "/json", body=b"ignored") + get("/missing"))
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 404


async def test_stream_waits_for_its_client_to_read():
    async with running() as site, site.connect() as client:
        await client.send(get("/endless"))
        await until(lambda: site.app.produced > 0)
        produced = -1
        while site.app.produced != produced:  # until the buffers between us are full
            produced = site.app.produced
            await asyncio.sleep(0.2)
        await client.reader.readexactly(20_000_000)
        assert site.app.produced > produced
        client.reset()


async def test_stream_is_cut_off_when_its_client_stops_reading():
    async with running(stall_s=0.1) as site, site.connect() as client:
        await client.send(get("/endless"))
        await asyncio.wait_for(site.app.closed.wait(), 5)
        assert site.names() == ["http_client_too_slow"]
        client.reset()


async def test_stream_that_never_waits_ends_with_its_connection():
    class Relentless(FixedApp):
        async def answer(self, request: Request, body: Body) -> Response:
            del request, body

            async def stream() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield b"x"
                finally:
                    self.closed.set()

            return Response(200, [], stream=stream())

    app = Relentless()
    with wired(app, LostWire()) as (connection, _):
        connection.data_received(get("/endless"))
        await asyncio.wait_for(app.closed.wait(), 5)


async def test_finished_request_leaves_nothing_on_its_connection():
    with wired(FixedApp()) as (connection, wire):
        connection.data_received(request("POST", "/x", body=b"x" * 4000))
        in_flight = weakref.ref(connection.cycle)  # holds the body and the headers
        assert in_flight() is not None
        await until(lambda: len(wire.written) == 1)
        await until(lambda: in_flight() is None)
