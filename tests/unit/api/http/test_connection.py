"""One connection on real sockets: the order of its answers, and what a lost client stops."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.http_wire import FullWire, wired
from tests.support.invalid_requests import INVALID
from tests.support.raw_http import FIXED, FixedApp, get, request, running, until


@pytest.mark.parametrize("path", sorted(FIXED))
async def test_fast_path_and_task_answer_with_the_same_bytes(path: str):
    async with running() as site:
        raw = []
        for by_task in (False, True):
            site.app.by_task = by_task
            async with site.connect() as client:
                raw.append((await client.get(path)).raw)
        assert raw[0] == raw[1]
        assert (b"Set-Cookie" in raw[0]) is False


async def test_pipelined_requests_are_answered_in_order():
    async with running() as site, site.connect() as client:
        kinds = ["/json", "/slow", "/stream", "/missing", "/x{}", "/json", "/refused"]
        paths = [kinds[i % 7].format(i) for i in range(100)]
        await client.send(b"".join(get(path) for path in paths))
        answers = [await client.answer() for _ in paths]
        assert [a.body for a in answers] == [_body_of(path) for path in paths]
        assert await client.is_open()


def _body_of(path: str) -> bytes:
    if path == "/stream":
        return b"onethree"
    return FIXED[path]().body if path in FIXED else f"GET {path}".encode()


async def test_each_pipelined_request_gets_its_own_body():
    async with running() as site, site.connect() as client:
        puts = [request("PUT", "/a", body=b"%d" % i) for i in range(10)]
        await client.send(b"".join(put + get("/json") for put in puts))
        for i in range(10):
            assert (await client.answer()).body == b"got %d" % i
            assert (await client.answer()).body == b'{"a":1}'


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 700), max_size=12))
async def test_requests_may_arrive_in_any_pieces(cuts: list[int]):
    requests = [
        get("/json", "X-Long: " + "v" * 100),
        request("PUT", "/a", body=b"body"),
        request("PUT", "/a", "Transfer-Encoding: chunked") + b"2\r\nch\r\n0\r\n\r\n",
        get("/slow"),
        get("/missing"),
    ]
    data = b"".join(requests)

    async with running() as site, site.connect() as client:
        start = 0
        for cut in [*sorted(cuts), len(data)]:
            await client.send(data[start:cut])
            await asyncio.sleep(0.001)
            start = max(start, cut)
        answers = [await client.answer() for _ in requests]
        assert [a.status for a in answers] == [200, 200, 200, 200, 404]
        assert [a.body for a in answers[1:3]] == [b"got body", b"got ch"]


async def test_invalid_request_behind_a_slow_one_is_refused_after_its_answer():
    async with running() as site, site.connect() as client:
        await client.send(get("/slow") + b"no such thing\r\n\r\n")
        assert (await client.answer()).body == b"GET /slow"
        assert (await client.answer()).status == 400
        assert await client.rest() == b""
        assert site.names() == ["http_request_refused"]


async def test_requests_after_connection_close_are_not_answered():
    async with running() as site, site.connect() as client:
        await client.send(get("/json", "Connection: close") + get("/json"))
        await client.answer()
        assert await client.rest() == b""
        assert len(site.app.asked) == 1


@pytest.mark.parametrize("method", ["FOO", "get", "M-X", "HEAD", "OPTIONS", "PATCH", "CONNECT"])
async def test_any_method_reaches_the_app(method: str):
    async with running() as site, site.connect() as client:
        await client.send(request(method, "/v1/x"))
        answer = await client.answer(head=method == "HEAD")
        assert answer.status == 200
        assert answer.headers[b"Content-Length"] == b"%d" % len(f"{method} /v1/x")
        assert answer.body in {b"", f"{method} /v1/x".encode()}
        assert await client.is_open()


async def test_unknown_method_may_have_a_body_and_requests_behind_it():
    async with running() as site, site.connect() as client:
        await client.send(request("FOO", "/v1/x", body=b"abc") + get("/json"))
        assert (await client.answer()).body == b"FOO /v1/x"
        assert (await client.answer()).body == b'{"a":1}'


async def test_offer_to_upgrade_is_answered_as_any_request():
    async with running() as site, site.connect() as client:
        offer = get("/json", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
        await client.send(offer + offer + get("/slow"))
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
        assert await client.is_open()


@pytest.mark.parametrize("name", INVALID)
async def test_invalid_request_gets_a_status_one_event_and_a_closed_connection(name: str):
    data, status = INVALID[name]

    async with running() as site:
        async with site.connect() as client:
            await client.send(data)
            answer = await client.answer()
            assert answer.status == status
            assert answer.headers[b"Connection"] == b"close"
            assert await client.rest() == b""
        assert site.names() == ["http_request_refused"]
        assert site.events[0][1]["client"] == "127.0.0.1"
        async with site.connect() as client:
            assert await client.is_open()


async def test_broken_chunk_later_in_a_body_cancels_the_handler():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/upload", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        await until(lambda: site.app.received == 3)
        await client.send(b"broken\r\n")
        assert (await client.answer()).status == 400
        assert await client.rest() == b""
        assert site.app.cancelled.is_set()


async def test_broken_chunk_in_a_queued_request_leaves_the_one_before_alone():
    async with running() as site, site.connect() as client:
        chunked = request("PUT", "/upload", "Transfer-Encoding: chunked")
        await client.send(get("/slow") + chunked + b"zz\r\n")
        assert (await client.answer()).body == b"GET /slow"
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/endless", "reset"),
        ("/endless", "close"),
        ("/idle", "reset"),
        ("/idle", "close"),
        ("/gate", "reset"),
    ],
)
async def test_task_is_canceled_when_its_client_is_gone(path: str, how: str):
    async with running() as site, site.connect() as client:
        await client.send(get(path))
        if path == "/gate":
            await site.app.started.wait()
        else:
            await client.reader.readexactly(10)
        client.reset() if how == "reset" else client.writer.close()
        event = site.app.cancelled if path == "/gate" else site.app.closed
        async with asyncio.timeout(1):
            await event.wait()
        assert site.events == []


async def test_upload_is_canceled_when_its_client_is_gone():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/upload", "Content-Length: 1000") + b"abc")
        await until(lambda: site.app.received == 3)
        client.writer.write_eof()
        async with asyncio.timeout(1):
            await site.app.cancelled.wait()
        assert site.events == []


@pytest.mark.parametrize("path", ["/json", "/slow", "/stream", "/wait"])
async def test_half_closed_client_gets_its_answer(path: str):
    async with running() as site, site.connect() as client:
        await client.send(get("/missing") + get(path))
        client.writer.write_eof()
        assert (await client.answer()).status == 404
        assert (await client.answer()).status == 200
        assert await client.rest() == b""
        assert len(site.waiting) == 0


async def test_half_closed_client_gets_all_of_a_long_stream():
    async with running(linger_s=0.25) as site, site.connect() as client:
        await client.send(get("/endless"))
        client.writer.write_eof()
        await client.reader.readexactly(1000)
        for _ in range(3):
            await asyncio.sleep(0.3)
            await client.reader.readexactly(2_000_000)
        assert not site.app.closed.is_set()
        client.reset()


async def test_requests_are_not_answered_while_their_client_reads_nothing():
    count = 4000
    async with running() as site, site.connect() as client:
        sending = asyncio.ensure_future(client.send(get("/large") * count))
        asked = -1
        while asked != len(site.app.asked):
            asked = len(site.app.asked)
            await asyncio.sleep(0.3)
        assert asked < count
        for _ in range(count):
            assert len((await client.answer()).body) == 10_000
        await sending
        assert await client.is_open()


async def test_fast_path_answers_with_one_write_and_no_task():
    with wired(FixedApp()) as (connection, wire):
        connection.data_received(get("/json"))
        assert len(wire.written) == 1
        assert wire.written[0].endswith(b'{"a":1}')
        assert not connection.tasks


async def test_reading_pauses_above_64_kib_of_unread_body():
    with wired(FixedApp()) as (connection, wire):
        connection.data_received(request("POST", "/gate", "Content-Length: 1000000"))
        connection.cycle.asked = True
        connection.flow.resume_reading()
        connection.data_received(b"x" * 65536)
        assert wire.reading
        connection.data_received(b"x")
        assert not wire.reading


async def test_unwanted_body_is_not_read_before_the_answer():
    with wired(FixedApp()) as (connection, wire):
        connection.data_received(request("POST", "/slow", "Content-Length: 100000"))
        assert not wire.reading
        await until(lambda: len(wire.written) == 1)
        assert wire.reading  # to be thrown away, for the sake of the connection
    with wired(FixedApp()) as (connection, wire):
        connection.data_received(request("POST", "/gate", body=b"whole"))
        assert wire.reading


async def test_flood_of_requests_behind_a_slow_one_is_not_parsed():
    app = FixedApp()
    with wired(app) as (connection, wire):
        connection.data_received(get("/wait") + get("/json") * 8000)
        assert len(connection.pipeline) < 200
        assert not wire.reading
        app.index = 2
        connection._query.wake()
        await until(lambda: len(wire.written) == 8001)
        assert wire.reading


async def test_no_request_is_answered_while_the_write_buffer_is_full():
    app = FixedApp()
    with wired(app, FullWire()) as (connection, wire):
        connection.data_received(get("/json") + get("/missing"))
        connection.data_received(get("/refused"))
        await asyncio.sleep(0.01)
        assert len(wire.written) == 1
        assert not wire.reading
        for count in (2, 3):
            connection.resume_writing()
            await until(lambda count=count: len(wire.written) == count)
        assert b" 404 " in wire.written[1]
        assert b" 500 " in wire.written[2]
