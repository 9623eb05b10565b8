"""The protocol on real sockets: what is answered and refused, in which order, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sim.raw_http import FIXED, FixedApp, get, request, run, running, until

from bellcow.api.http.connection import Connection
from bellcow.api.http.limits import Clients, HttpLimits
from bellcow.api.http.server import Listener
from bellcow.state.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@pytest.mark.parametrize("path", sorted(FIXED))
def test_both_paths_give_the_same_bytes(path: str):
    async def test() -> None:
        async with running() as site:
            raw = []
            for by_task in (False, True):
                site.app.by_task = by_task
                async with site.connect() as client:
                    raw.append((await client.get(path)).raw)
            assert raw[0] == raw[1]
            assert (b"Set-Cookie" in raw[0]) is False

    run(test())


# --- order and life of a connection


def test_a_hundred_mixed_requests_in_one_write_are_answered_in_order():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            kinds = ["/json", "/slow", "/stream", "/missing", "/x{}", "/json", "/refused"]
            paths = [kinds[i % 7].format(i) for i in range(100)]
            await client.send(b"".join(get(path) for path in paths))
            answers = [await client.answer() for _ in paths]
            assert [a.body for a in answers] == [_body_of(path) for path in paths]
            assert await client.is_open()

    run(test())


def _body_of(path: str) -> bytes:
    if path == "/stream":
        return b"onethree"
    return FIXED[path]().body if path in FIXED else f"GET {path}".encode()


def test_bodies_between_pipelined_requests_go_to_their_own_request():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            puts = [request("PUT", "/a", body=b"%d" % i) for i in range(10)]
            await client.send(b"".join(put + get("/json") for put in puts))
            for i in range(10):
                assert (await client.answer()).body == b"got %d" % i
                assert (await client.answer()).body == b'{"a":1}'

    run(test())


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 700), max_size=12))
def test_requests_may_arrive_in_any_pieces(cuts: list[int]):
    requests = [
        get("/json", "X-Long: " + "v" * 100),
        request("PUT", "/a", body=b"body"),
        request("PUT", "/a", "Transfer-Encoding: chunked") + b"2\r\nch\r\n0\r\n\r\n",
        get("/slow"),
        get("/missing"),
    ]
    data = b"".join(requests)

    async def test() -> None:
        async with running() as site, site.connect() as client:
            start = 0
            for cut in [*sorted(cuts), len(data)]:
                await client.send(data[start:cut])
                await asyncio.sleep(0.001)
                start = max(start, cut)
            answers = [await client.answer() for _ in requests]
            assert [a.status for a in answers] == [200, 200, 200, 200, 404]
            assert [a.body for a in answers[1:3]] == [b"got body", b"got ch"]

    run(test())


def test_a_bad_request_behind_a_slow_one_is_refused_after_its_answer():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/slow") + b"no such thing\r\n\r\n")
            assert (await client.answer()).body == b"GET /slow"
            assert (await client.answer()).status == 400
            assert await client.rest() == b""
            assert site.names() == ["http_request_refused"]

    run(test())


@pytest.mark.parametrize("path", ["/json", "/slow"])
@pytest.mark.parametrize("by", ["HTTP/1.0", "Connection: close"])
def test_the_connection_closes_when_the_client_says_so(path: str, by: str):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            old = f"GET {path} HTTP/1.0\r\n\r\n".encode()
            await client.send(old if by == "HTTP/1.0" else get(path, by))
            answer = await client.answer()
            assert answer.status == 200
            assert answer.headers[b"Connection"] == b"close"
            assert await client.rest() == b""

    run(test())


def test_a_stream_to_the_old_version_ends_with_the_connection():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
            await client.answer()
            assert await client.rest() == b"onethree"

    run(test())


def test_an_answer_that_says_so_closes_the_connection():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/last") + get("/json"))
            assert (await client.answer()).headers[b"Connection"] == b"close"
            assert await client.rest() == b""

    run(test())


def test_requests_after_the_closing_one_are_not_answered():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/json", "Connection: close") + get("/json"))
            await client.answer()
            assert await client.rest() == b""
            assert len(site.app.asked) == 1

    run(test())


# --- methods and targets


@pytest.mark.parametrize("method", ["FOO", "get", "M-X", "HEAD", "OPTIONS", "PATCH", "CONNECT"])
def test_any_method_reaches_the_app(method: str):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request(method, "/v1/x"))
            answer = await client.answer(head=method == "HEAD")
            assert answer.status == 200
            assert answer.headers[b"Content-Length"] == b"%d" % len(f"{method} /v1/x")
            assert answer.body in {b"", f"{method} /v1/x".encode()}
            assert await client.is_open()

    run(test())


def test_an_unknown_method_may_have_a_body_and_requests_behind_it():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("FOO", "/v1/x", body=b"abc") + get("/json"))
            assert (await client.answer()).body == b"FOO /v1/x"
            assert (await client.answer()).body == b'{"a":1}'

    run(test())


@pytest.mark.parametrize(
    ("target", "path", "raw_query"),
    [
        ("/v1/a%2fb?x=%20", "/v1/a/b", b"x=%20"),
        ("/v1/%00", "/v1/\x00", b""),
        ("/v1/%C3%A4", "/v1/ä", b""),
        ("/v1/%252e", "/v1/%2e", b""),
        ("http://Test/v1/a?b", "/v1/a", b"b"),
        ("http://test", "/", b""),
        ("//x/../y", "//x/../y", b""),
        ("*", "*", b""),
    ],
)
def test_the_target_is_decoded_once(target: str, path: str, raw_query: bytes):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get(target))
            await client.answer()
            assert (site.app.asked[0].path, site.app.asked[0].raw_query) == (path, raw_query)

    run(test())


def test_an_offer_to_upgrade_is_not_taken_up():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            offer = get("/json", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
            await client.send(offer + offer + get("/slow"))
            assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
            assert await client.is_open()

    run(test())


# --- refusals

HOST = b"Host: x\r\n"
REFUSALS = {
    "a header block over the limit": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
    "many headers over the limit": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X: abcdefghijk\r\n" * 6_000 + b"\r\n",
        431,
    ),
    "a target over the limit": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "length and chunks together": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunks and length together": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "a negative length": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "a length that is no number": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n",
        400,
    ),
    "an unknown transfer encoding": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\nabc",
        400,
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a bad escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bad target": (b"GET http:// HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target of another host": (b"GET http://evil/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target with a user": (b"GET http://x@evil/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target of another scheme": (b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an absolute target without a host": (b"GET http://x/ HTTP/1.0\r\n\r\n", 400),
    "two spaces before the target": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two spaces behind the target": (b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\n" + HOST + b" x\r\n\r\n", 400),
    "a NUL in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: \x00\r\n\r\n", 400),
    "the version before 1.0": (b"GET /\r\n\r\n", 400),
    "the version after 1.1": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a TLS handshake": (bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200, 400),
    "words": (b"hello there\r\n\r\n", 400),
    "a broken chunk": (
        b"PUT /upload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "endless chunk extensions": (
        b"PUT /upload HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n1;"
        + b"x" * 200_000,
        400,
    ),
    "endless trailers": (
        b"PUT /upload HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: abcdefghijk\r\n" * 20_000,
        400,
    ),
    "an upgrade with a body": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        400,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_with_a_status_one_log_line_and_the_end(name: str):
    data, status = REFUSALS[name]

    async def test() -> None:
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

    run(test())


def test_a_broken_chunk_later_in_a_body_cancels_the_reader():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(
                request("PUT", "/upload", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n"
            )
            await until(lambda: site.app.received == 3)
            await client.send(b"broken\r\n")
            assert (await client.answer()).status == 400
            assert await client.rest() == b""
            assert site.app.cancelled.is_set()

    run(test())


def test_a_broken_chunk_in_a_queued_request_spares_the_one_before():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            chunked = request("PUT", "/upload", "Transfer-Encoding: chunked")
            await client.send(get("/slow") + chunked + b"zz\r\n")
            assert (await client.answer()).body == b"GET /slow"
            assert (await client.answer()).status == 400
            assert await client.rest() == b""

    run(test())


# --- faults of the app


@pytest.mark.parametrize(("path", "open_after"), [("/boom", True), ("/fault", False)])
def test_a_fault_in_a_handler_is_a_plain_500_and_one_log_line(path: str, open_after: bool):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            answer = await client.get(path)
            assert (answer.status, answer.body) == (500, b"Internal Server Error")
            assert site.names() == ["http_request_failed"]
            if open_after:
                assert await client.is_open()
            else:
                assert await client.rest() == b""

    run(test())


def test_a_fault_in_a_stream_does_not_look_like_its_end():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/broken"))
            assert not (await client.rest()).endswith(b"0\r\n\r\n")
            assert site.names() == ["http_request_failed"]
            assert site.app.closed.is_set()

    run(test())


# --- deadlines


def test_a_connection_that_says_nothing_is_closed():
    async def test() -> None:
        async with running(header_s=0.05) as site, site.connect() as client:
            assert await client.rest() == b""
            assert site.names() == ["http_client_too_slow"]

    run(test())


@pytest.mark.parametrize("first", ["", "after an answer"])
def test_headers_that_come_byte_by_byte_end_the_connection(first: str):
    async def test() -> None:
        async with running(header_s=0.1) as site, site.connect() as client:
            if first:
                await client.get("/json")
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in get("/json", "X-Long: " + "v" * 500):
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0.005)
                    if client.reader.at_eof():
                        break
            assert 0.09 < time.monotonic() - began < 2
            assert site.names() == ["http_client_too_slow"]

    run(test())


def test_half_a_header_behind_a_slow_request_has_its_deadline_too():
    async def test() -> None:
        async with running(header_s=0.05) as site, site.connect() as client:
            await client.send(get("/slow") + get("/json")[:-10])
            assert (await client.answer()).body == b"GET /slow"
            assert await client.rest() == b""
            assert site.names() == ["http_client_too_slow"]

    run(test())


def test_an_idle_connection_is_closed_after_the_keep_alive_time_and_not_before():
    async def test() -> None:
        async with running(keep_alive_s=0.4, header_s=0.1) as site, site.connect() as client:
            for _ in range(4):
                assert (await client.get("/json")).status == 200
                await asyncio.sleep(0.15)
            began = time.monotonic()
            assert await client.rest() == b""
            assert time.monotonic() - began < 1
            assert site.events == []

    run(test())


def test_a_json_body_has_a_deadline_however_it_trickles():
    async def test() -> None:
        async with running(body_s=0.1) as site, site.connect() as client:
            await client.send(request("PUT", "/a", "Content-Length: 900"))
            trickle = asyncio.ensure_future(_trickle(client.send, b"x", 0.01))
            answer = await client.answer()
            trickle.cancel()
            assert answer.status == 408
            assert answer.headers[b"Connection"] == b"close"
            assert await client.rest() == b""

    run(test())


async def _trickle(send: Callable[[bytes], Coroutine[Any, Any, None]], data: bytes, each_s: float):
    with contextlib.suppress(ConnectionError):
        while True:
            await send(data)
            await asyncio.sleep(each_s)


def test_an_upload_slower_than_the_least_speed_is_refused():
    async def test() -> None:
        async with (
            running(upload_window_s=0.1, upload_bytes_per_s=10_000) as site,
            site.connect() as client,
        ):
            await client.send(request("PUT", "/upload", "Content-Length: 1000000"))
            trickle = asyncio.ensure_future(_trickle(client.send, b"x", 0.01))
            assert (await client.answer()).status == 408
            trickle.cancel()

    run(test())


def test_an_upload_that_keeps_the_least_speed_may_take_any_time():
    async def test() -> None:
        async with (
            running(upload_window_s=0.2, upload_bytes_per_s=1000, body_s=0.05) as site,
            site.connect() as client,
        ):
            await client.send(request("PUT", "/upload", "Content-Length: 3000"))
            for _ in range(30):
                await client.send(b"x" * 100)
                await asyncio.sleep(0.015)
            assert (await client.answer()).body == b"3000"

    run(test())


# --- bodies


def test_continue_is_said_when_the_body_is_wanted():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("PUT", "/a", "Expect: 100-continue", "Content-Length: 3"))
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"abc")
            assert (await client.answer()).body == b"got abc"
            assert await client.is_open()

    run(test())


def test_continue_is_not_said_when_the_body_is_refused():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("PUT", "/a", "Expect: 100-continue", "Content-Length: 5000"))
            assert (await client.answer()).status == 413
            assert await client.rest() == b""

    run(test())


def test_a_small_body_nobody_reads_does_not_end_the_connection():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("POST", "/missing", "Content-Length: 5"))
            assert (await client.answer()).status == 200
            await client.send(b"hello" + get("/json"))
            assert (await client.answer()).body == b'{"a":1}'

    run(test())


def test_a_small_body_nobody_reads_must_come_in_time():
    async def test() -> None:
        async with running(body_s=0.05) as site, site.connect() as client:
            await client.send(request("POST", "/missing", "Content-Length: 5"))
            await client.answer()
            assert await client.rest() == b""
            assert site.names() == ["http_client_too_slow"]

    run(test())


def test_a_large_body_nobody_reads_does_not_destroy_the_answer():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("PUT", "/a", "Content-Length: 50000000"))
            sending = asyncio.ensure_future(_trickle(client.send, b"x" * 100_000, 0.0))
            answer = await client.answer()
            sending.cancel()
            assert answer.status == 413
            assert answer.headers[b"Connection"] == b"close"

    run(test())


def test_a_get_with_a_body_is_answered_and_the_next_request_too():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("GET", "/json", body=b"ignored") + get("/missing"))
            assert (await client.answer()).status == 200
            assert (await client.answer()).status == 404

    run(test())


# --- clients a address


def test_connections_over_the_limit_are_told_so_and_the_others_go_on():
    async def test() -> None:
        async with running(connections_per_client=3) as site:
            async with contextlib.AsyncExitStack() as stack:
                first = [await stack.enter_async_context(site.connect()) for _ in range(3)]
                assert all([await client.is_open() for client in first])
                for _ in range(3):
                    extra = await stack.enter_async_context(site.connect())
                    answer = await extra.answer()
                    assert answer.status == 429
                    assert b"3 are allowed" in answer.body
                    assert await extra.rest() == b""
                    extra.writer.close()
                assert all([await client.is_open() for client in first])
                assert site.names() == ["http_too_many_connections"]
                first[0].writer.close()
                await until(lambda: site.listener._site.clients.open == 2)
            async with site.connect() as client:
                await until(lambda: True)
                assert await client.is_open()

    run(test())


def test_connections_over_the_limit_in_all_are_told_so_from_whatever_address():
    async def test() -> None:
        async with (
            running(connections=2, connections_per_client=0) as site,
            contextlib.AsyncExitStack() as stack,
        ):
            first = [await stack.enter_async_context(site.connect()) for _ in range(2)]
            assert all([await client.is_open() for client in first])
            for _ in range(3):
                async with site.connect() as extra:
                    answer = await extra.answer()
                    assert (answer.status, b"room for 2" in answer.body) == (429, True)
                    assert await extra.rest() == b""
            assert site.names() == ["http_too_many_connections"]
            clients = site.listener._site.clients
            assert (clients.open, clients.refused, clients.full) == (2, 3, True)
            first[0].writer.close()
            await until(lambda: not clients.full)
            async with site.connect() as client:
                assert await client.is_open()

    run(test())


def test_malformed_requests_are_logged_once_a_second_an_address():
    async def test() -> None:
        async with running() as site:
            for _ in range(5):
                async with site.connect() as client:
                    await client.send(b"hello there\r\n\r\n")
                    assert (await client.answer()).status == 400
            assert site.names() == ["http_request_refused"]

    run(test())


# --- clients that leave


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
def test_work_for_a_client_that_has_gone_is_cancelled(path: str, how: str):
    async def test() -> None:
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

    run(test())


def test_an_upload_of_a_client_that_has_gone_is_cancelled():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(request("PUT", "/upload", "Content-Length: 1000") + b"abc")
            await until(lambda: site.app.received == 3)
            client.writer.write_eof()
            async with asyncio.timeout(1):
                await site.app.cancelled.wait()
            assert site.events == []

    run(test())


@pytest.mark.parametrize("path", ["/json", "/slow", "/stream", "/wait"])
def test_a_half_closed_client_gets_its_answer(path: str):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/missing") + get(path))
            client.writer.write_eof()
            assert (await client.answer()).status == 404
            assert (await client.answer()).status == 200
            assert await client.rest() == b""
            assert len(site.waiting) == 0

    run(test())


def test_a_half_closed_client_gets_all_of_a_long_stream():
    async def test() -> None:
        async with running(linger_s=0.25) as site, site.connect() as client:
            await client.send(get("/endless"))
            client.writer.write_eof()
            await client.reader.readexactly(1000)
            for _ in range(3):
                await asyncio.sleep(0.3)
                await client.reader.readexactly(2_000_000)
            assert not site.app.closed.is_set()
            client.reset()

    run(test())


# --- slow readers


def test_a_stream_waits_for_its_reader():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/endless"))
            await asyncio.sleep(0.3)
            produced = site.app.produced
            await asyncio.sleep(0.1)
            assert site.app.produced == produced  # the buffers between us are full
            await client.reader.readexactly(20_000_000)
            assert site.app.produced > produced
            client.reset()

    run(test())


def test_a_reader_that_has_stopped_is_given_up():
    async def test() -> None:
        async with running(stall_s=0.1) as site, site.connect() as client:
            await client.send(get("/endless"))
            await asyncio.wait_for(site.app.closed.wait(), 5)
            assert site.names() == ["http_client_too_slow"]
            client.reset()

    run(test())


@pytest.mark.parametrize("last", [True, False])
def test_a_reader_that_leaves_an_answer_lying_is_given_up(last: bool):
    async def test() -> None:
        async with running(stall_s=0.05, keep_alive_s=0.05) as site, site.connect() as client:
            await client.send(get("/huge", *["Connection: close"] * last))
            await asyncio.sleep(1.0)
            assert len(await client.rest()) < 30_000_000

    run(test())


def test_answers_nobody_reads_do_not_pile_up():
    async def test() -> None:
        count = 4000
        async with running() as site, site.connect() as client:
            sending = asyncio.ensure_future(client.send(get("/large") * count))
            await asyncio.sleep(0.5)
            asked = len(site.app.asked)
            await asyncio.sleep(0.1)
            assert len(site.app.asked) == asked < count
            for _ in range(count):
                assert len((await client.answer()).body) == 10_000
            await sending
            assert await client.is_open()

    run(test())


# --- blocking queries


def test_a_waiting_connection_is_answered_when_its_table_changes():
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


def test_a_change_that_is_none_for_it_leaves_it_waiting():
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


def test_the_deadline_answers_as_things_stand():
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
def test_a_lost_connection_waits_no_longer(how: str):
    async def test() -> None:
        async with running() as site, site.connect() as client:
            await client.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
            client.reset() if how == "reset" else client.writer.close()
            await until(lambda: len(site.waiting) == 0)
            assert site.events == []

    run(test())


def test_requests_behind_a_waiting_one_wait_too_and_are_answered_in_order():
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
def test_a_woken_query_that_can_not_be_answered_here_goes_on_as_a_task(behind: int):
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


# --- the inside: a transport that records


class Wire(asyncio.Transport):
    """What a connection does to its transport."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False


class FullWire(Wire):
    """Its buffer is full after each write, until told otherwise."""

    def write(self, data: Any) -> None:
        super().write(data)
        self.connection.pause_writing()


@contextlib.contextmanager
def wired(app: FixedApp, wire: Wire | None = None):
    server = Listener(
        app,
        ssl_context=None,
        limits=HttpLimits(),
        clients=Clients(100),
        waiting=Waiting(),
        log=lambda event, /, **fields: None,
        graceful_s=1,
    )
    server._tick()
    connection = Connection(server._site)
    wire = wire or Wire()
    wire.connection = connection
    connection.connection_made(wire)
    try:
        yield connection, wire
    finally:
        connection.connection_lost(None)
        server._ticker.cancel()


def test_the_fast_path_answers_at_once_with_one_write_and_no_task():
    async def test() -> None:
        with wired(FixedApp()) as (connection, wire):
            connection.data_received(get("/json"))
            assert len(wire.written) == 1
            assert wire.written[0].endswith(b'{"a":1}')
            assert not connection.tasks

    run(test())


def test_requests_in_a_row_leave_the_timer_alone():
    async def test() -> None:
        with wired(FixedApp()) as (connection, wire):
            connection.data_received(get("/json"))
            timer = connection._timer
            for _ in range(100):
                connection.data_received(get("/json"))
            assert connection._timer is timer
            assert len(wire.written) == 101

    run(test())


def test_reading_pauses_above_64_kib_of_unread_body():
    async def test() -> None:
        with wired(FixedApp()) as (connection, wire):
            connection.data_received(request("POST", "/gate", "Content-Length: 1000000"))
            connection.cycle.asked = True
            connection.flow.resume_reading()
            connection.data_received(b"x" * 65536)
            assert wire.reading
            connection.data_received(b"x")
            assert not wire.reading

    run(test())


def test_a_body_that_nobody_asked_for_is_left_with_the_client():
    async def test() -> None:
        with wired(FixedApp()) as (connection, wire):
            connection.data_received(request("POST", "/slow", "Content-Length: 100000"))
            assert not wire.reading
            await until(lambda: len(wire.written) == 1)
            assert wire.reading  # to be thrown away, for the sake of the connection
        with wired(FixedApp()) as (connection, wire):
            connection.data_received(request("POST", "/gate", body=b"whole"))
            assert wire.reading

    run(test())


def test_a_flood_of_requests_behind_a_slow_one_is_not_parsed():
    async def test() -> None:
        app = FixedApp()
        with wired(app) as (connection, wire):
            connection.data_received(get("/wait") + get("/json") * 8000)
            assert len(connection.pipeline) < 200
            assert not wire.reading
            app.index = 2
            connection.wake()
            await until(lambda: len(wire.written) == 8001)
            assert wire.reading

    run(test())


def test_nothing_is_answered_while_the_answers_before_are_not_read():
    async def test() -> None:
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

    run(test())


def test_a_finished_request_leaves_nothing_behind_on_its_connection():
    async def test() -> None:
        with wired(FixedApp()) as (connection, wire):
            connection.data_received(request("POST", "/x", body=b"x" * 4000))
            in_flight = weakref.ref(connection.cycle)  # holds the body and the headers
            assert in_flight() is not None
            await until(lambda: len(wire.written) == 1)
            await until(lambda: in_flight() is None)

    run(test())
