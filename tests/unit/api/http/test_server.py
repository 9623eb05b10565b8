"""Starting, stopping and reconfiguring: what is accepted, answered and logged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from pathlib import Path

import pytest
from tests.support.certificates import Authority, Pair
from tests.support.raw_http import connected, get, request, run, running, until

from bellcow.api.http.limits import HttpLimits
from bellcow.api.http.server import bind
from bellcow.config.tls import make_context


def test_taken_port_is_named():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: Address already in use"):
            bind("127.0.0.1", port)


def test_address_of_another_machine_is_named():
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0"):
        bind("192.0.2.1", 0)


def test_unknown_host_name_is_named():
    with pytest.raises(OSError, match=r"no\.such\.invalid:4646"):
        bind("no.such.invalid", 4646)


async def test_stop_answers_blocking_queries_and_closes_idle_connections():
    async with contextlib.AsyncExitStack() as stack:
        async with running(graceful_s=5) as site:
            waiter = await stack.enter_async_context(site.connect())
            idle = await stack.enter_async_context(site.connect())
            silent = await stack.enter_async_context(site.connect())
            await waiter.send(get("/wait"))
            await idle.get("/json")
            await until(lambda: len(site.waiting) == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        answer = await waiter.answer()
        assert answer.headers[b"X-Nomad-Index"] == b"1"
        assert answer.headers[b"Connection"] == b"close"
        assert [await client.rest() for client in (waiter, idle, silent)] == [b""] * 3
        assert len(site.waiting) == 0
        assert site.events == []


async def test_requests_behind_a_blocking_query_are_answered_before_the_stop():
    async with contextlib.AsyncExitStack() as stack:
        async with running(graceful_s=5) as site:
            client = await stack.enter_async_context(site.connect())
            await client.send(get("/wait") + get("/slow"))
            await until(lambda: len(site.waiting) == 1)
        assert (await client.answer()).body == b"[]"
        assert (await client.answer()).body == b"GET /slow"
        assert await client.rest() == b""


async def test_stop_waits_for_running_requests():
    async with contextlib.AsyncExitStack() as stack:
        async with running(graceful_s=5) as site:
            client = await stack.enter_async_context(site.connect())
            await client.send(get("/slow"))
            await site.app.started.wait()
        assert (await client.answer()).headers[b"Connection"] == b"close"
        assert site.events == []


@pytest.mark.parametrize(
    ("method", "text"),
    [("GET", b"this server is stopping"), ("DELETE", b"outcome unknown: this server is stopping")],
)
async def test_request_that_runs_too_long_after_the_stop_gets_a_500(method: str, text: bytes):
    async with contextlib.AsyncExitStack() as stack:
        async with running(graceful_s=0.05) as site:
            client = await stack.enter_async_context(site.connect())
            await client.send(request(method, "/gate"))
            await site.app.started.wait()
        answer = await client.answer()
        assert (answer.status, answer.body) == (500, text)
        assert site.app.cancelled.is_set()
        assert site.events == [("http_stop_overdue", {"connections": 1, "tasks": 1})]


async def test_stream_is_cut_and_closed_by_the_stop():
    async with contextlib.AsyncExitStack() as stack:
        async with running(graceful_s=0.05) as site:
            client = await stack.enter_async_context(site.connect())
            await client.send(get("/endless"))
            await client.reader.readexactly(1000)
        assert site.app.closed.is_set()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")


async def test_client_that_leaves_does_not_cancel_the_closing_of_its_stream():
    async with contextlib.AsyncExitStack() as stack:
        async with running(graceful_s=0.02) as site:
            site.app.closing_s = 0.1
            client = await stack.enter_async_context(site.connect())
            await client.send(get("/idle"))
            await client.reader.readexactly(10)
            asyncio.get_running_loop().call_later(0.07, client.reset)
        assert site.app.closed.is_set()


async def test_no_connection_is_accepted_after_the_stop():
    async with running() as site:
        pass
    with pytest.raises(OSError, match="refused"):
        await asyncio.open_connection("127.0.0.1", site.port)


def test_two_servers_share_a_loop_and_touch_neither_signals_nor_stderr(
    capfd: pytest.CaptureFixture[str],
):
    async def test() -> None:
        before = _handlers()
        async with running() as one, running() as two:
            async with one.connect() as first, two.connect() as second:
                assert await first.is_open()
                await second.send(b"junk\r\n\r\n")
                assert (await second.answer()).status == 400
            logging.getLogger("uvicorn.error").warning("of %s", "interest")
            assert one.events == [("http_server", {"message": "of interest"})]
            assert two.names() == ["http_request_refused"]
            assert _handlers() == before

    run(test())
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("uvicorn.error").propagate


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


async def test_first_answer_has_a_date():
    async with running() as site, site.connect() as client:
        assert (await client.get("/json")).headers[b"Date"].endswith(b" GMT")


@pytest.mark.slow
async def test_the_date_moves_on():
    async with running() as site, site.connect() as client:
        first = (await client.get("/json")).headers[b"Date"]
        await asyncio.sleep(2.1)
        assert (await client.get("/json")).headers[b"Date"] != first


async def test_thousand_connections_leave_no_file_descriptor_open():
    async with running(connections_per_client=0) as site:
        async with site.connect() as client:
            await client.get("/json")
        before = len(_descriptors())
        for _ in range(20):
            writers = [
                (await asyncio.open_connection("127.0.0.1", site.port))[1] for _ in range(50)
            ]
            for writer in writers:
                writer.close()
            for writer in writers:
                await writer.wait_closed()
        await until(lambda: len(_descriptors()) <= before + 2)


def _descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.sign()


async def test_new_limit_holds_for_the_next_connections():
    async with (
        running(connections_per_client=1) as site,
        site.connect() as first,
        contextlib.AsyncExitStack() as stack,
    ):
        assert (await first.get("/json")).status == 200
        site.listener.reconfigure(HttpLimits(connections_per_client=3), None)
        for _ in range(2):
            more = await stack.enter_async_context(site.connect())
            assert (await more.get("/json")).status == 200
        over = await stack.enter_async_context(site.connect())
        answer = await over.answer()
        assert answer.status == 429
        assert b"3 are allowed" in answer.body
        assert await first.is_open()


async def test_switching_tls_closes_connections_without_it_and_with_it(
    authority: Authority, pair: Pair
):
    context = make_context(pair.cert, pair.key)
    async with running() as site, site.connect() as plain, site.connect() as waiter:
        await waiter.send(get("/wait"))
        await until(lambda: len(site.waiting) == 1)
        assert (await plain.get("/json")).status == 200
        site.listener.reconfigure(HttpLimits(), context)
        assert await plain.rest() == b""
        assert (await waiter.answer()).headers[b"Connection"] == b"close"
        async with connected(site.port, authority.client_context()) as secure:
            assert (await secure.get("/json")).status == 200
            site.listener.reconfigure(HttpLimits(), None)
            assert await secure.rest() == b""
        async with connected(site.port) as again:
            assert (await again.get("/json")).status == 200
