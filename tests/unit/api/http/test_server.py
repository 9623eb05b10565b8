"""Starting, stopping and TLS: who is let in, who still gets an answer, what is logged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from pathlib import Path

import pytest
from tests.sim.certificates import Authority, Pair
from tests.sim.raw_http import Client, connected, get, request, run, running, until

from bellcow.api.http.limits import HttpLimits
from bellcow.api.http.server import bind
from bellcow.config.tls import make_context, reload


def test_a_port_that_is_taken_is_named():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: Address already in use"):
            bind("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_named():
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0"):
        bind("192.0.2.1", 0)


def test_a_name_nobody_knows_is_named():
    with pytest.raises(OSError, match=r"no\.such\.invalid:4646"):
        bind("no.such.invalid", 4646)


# --- the stop


def test_a_stop_answers_who_waits_and_closes_who_idles():
    async def test() -> None:
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

    run(test())


def test_requests_behind_a_waiting_one_are_answered_before_the_stop():
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running(graceful_s=5) as site:
                client = await stack.enter_async_context(site.connect())
                await client.send(get("/wait") + get("/slow"))
                await until(lambda: len(site.waiting) == 1)
            assert (await client.answer()).body == b"[]"
            assert (await client.answer()).body == b"GET /slow"
            assert await client.rest() == b""

    run(test())


def test_a_request_in_hand_is_finished():
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running(graceful_s=5) as site:
                client = await stack.enter_async_context(site.connect())
                await client.send(get("/slow"))
                await site.app.started.wait()
            assert (await client.answer()).headers[b"Connection"] == b"close"
            assert site.events == []

    run(test())


@pytest.mark.parametrize(
    ("method", "text"),
    [("GET", b"this server stops"), ("DELETE", b"outcome unknown: this server stops")],
)
def test_a_request_that_takes_too_long_gets_a_500(method: str, text: bytes):
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running(graceful_s=0.05) as site:
                client = await stack.enter_async_context(site.connect())
                await client.send(request(method, "/gate"))
                await site.app.started.wait()
            answer = await client.answer()
            assert (answer.status, answer.body) == (500, text)
            assert site.app.cancelled.is_set()
            assert site.events == [("http_stop_overdue", {"connections": 1, "tasks": 1})]

    run(test())


def test_a_stream_is_cut_short_and_closed():
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running(graceful_s=0.05) as site:
                client = await stack.enter_async_context(site.connect())
                await client.send(get("/endless"))
                await client.reader.readexactly(1000)
            assert site.app.closed.is_set()
            assert not (await client.rest()).endswith(b"0\r\n\r\n")

    run(test())


def test_a_client_that_leaves_does_not_disturb_the_closing_of_its_stream():
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running(graceful_s=0.02) as site:
                site.app.closing_s = 0.1
                client = await stack.enter_async_context(site.connect())
                await client.send(get("/idle"))
                await client.reader.readexactly(10)
                asyncio.get_running_loop().call_later(0.07, client.reset)
            assert site.app.closed.is_set()

    run(test())


def test_nobody_is_let_in_after_the_stop():
    async def test() -> None:
        async with running() as site:
            pass
        with pytest.raises(OSError, match="refused"):
            await asyncio.open_connection("127.0.0.1", site.port)

    run(test())


# --- what it leaves alone


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


def test_every_answer_has_a_date_from_the_first_on():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            assert (await client.get("/json")).headers[b"Date"].endswith(b" GMT")

    run(test())


@pytest.mark.slow
def test_the_date_moves_on():
    async def test() -> None:
        async with running() as site, site.connect() as client:
            first = (await client.get("/json")).headers[b"Date"]
            await asyncio.sleep(2.1)
            assert (await client.get("/json")).headers[b"Date"] != first

    run(test())


def test_a_thousand_connections_leave_no_descriptor_behind():
    async def test() -> None:
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

    run(test())


def _descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


# --- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.sign()


def test_requests_over_tls_are_answered_on_both_paths(authority: Authority, pair: Pair):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        async with (
            running(tls=context, trust=authority.client_context()) as site,
            site.connect() as client,
        ):
            await client.send(get("/json") + get("/slow") + request("PUT", "/a", body=b"x" * 900))
            assert [(await client.answer()).status for _ in range(3)] == [200] * 3
            assert site.app.asked[0].secure
            assert site.app.asked[0].client == "127.0.0.1"
            await client.send(get("/stream", "Connection: close"))
            assert (await client.answer()).body == b"onethree"
            assert await client.rest() == b""
            assert site.events == []

    run(test())


def test_plain_http_to_the_tls_port_is_refused_in_the_handshake(pair: Pair):
    async def test() -> None:
        async with running(tls=make_context(pair.cert, pair.key)) as site, site.connect() as client:
            await client.send(get("/json"))
            assert await client.rest() == (
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
            )
            assert site.events == [
                ("tls_handshake_failed", {"client": "127.0.0.1", "reason": "HTTP without TLS"})
            ]
            assert site.app.asked == []

    run(test())


@pytest.mark.parametrize("who", ["nobody", "a stranger", "one whose time is over"])
def test_a_client_without_a_good_certificate_is_refused(
    authority: Authority, pair: Pair, tmp_path: Path, who: str
):
    shown = {
        "nobody": lambda: None,
        "a stranger": lambda: Authority(tmp_path, "other").sign("stranger"),
        "one whose time is over": lambda: authority.sign("late", expired=True),
    }[who]()

    async def test() -> None:
        context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
        async with running(tls=context, trust=authority.client_context(shown)) as site:
            with contextlib.suppress(OSError):
                async with site.connect() as client:
                    await client.send(get("/json"))
                    assert await client.rest() == b""
            await until(lambda: bool(site.events))
            assert site.names() == ["tls_handshake_failed"]
            assert site.app.asked == []

    run(test())


def test_a_client_with_a_good_certificate_is_answered(authority: Authority, pair: Pair):
    async def test() -> None:
        context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
        trust = authority.client_context(authority.sign("client"))
        async with running(tls=context, trust=trust) as site, site.connect() as client:
            assert await client.is_open()

    run(test())


@pytest.mark.parametrize("sent", [b"", bytes.fromhex("16030100c8")])
def test_a_handshake_that_is_never_finished_is_ended(pair: Pair, sent: bytes):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        async with running(tls=context, handshake_s=0.1) as site, site.connect() as client:
            await client.send(sent)
            assert await client.rest() == b""
            assert site.names() == ["tls_handshake_failed"]

    run(test())


def test_no_deadline_for_the_handshake_is_no_deadline_of_zero(authority: Authority, pair: Pair):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        async with (
            running(tls=context, trust=authority.client_context(), handshake_s=0) as site,
            site.connect() as client,
        ):
            await asyncio.sleep(0.05)
            assert await client.is_open()

    run(test())


def test_a_client_that_says_nothing_after_the_handshake_is_closed(authority: Authority, pair: Pair):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        trust = authority.client_context()
        async with (
            running(tls=context, trust=trust, handshake_s=0.6) as site,
            site.connect() as client,
        ):
            assert await client.rest() == b""
            assert site.names() == ["http_client_too_slow"]

    run(test())


def test_connections_are_counted_before_the_handshake_and_forgotten_after_a_bad_one(
    authority: Authority, pair: Pair
):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        trust = authority.client_context()
        async with running(tls=context, trust=trust, connections_per_client=1) as site:
            async with connected(site.port) as client:
                await client.send(b"no handshake at all\r\n")
                await client.rest()
            async with site.connect() as first:
                assert await first.is_open()
                async with site.connect() as extra:
                    assert (await extra.answer()).status == 429
                    assert await extra.rest() == b""
                assert await first.is_open()

    run(test())


def test_new_certificates_serve_new_handshakes_and_old_connections_stay(
    authority: Authority, pair: Pair
):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        async with (
            running(tls=context, trust=authority.client_context()) as site,
            site.connect() as old,
        ):
            assert _name(old) == "server"
            new = authority.sign("renewed")
            reload(context, new.cert, new.key)
            assert await old.is_open()
            async with site.connect() as client:
                assert _name(client) == "renewed"
                assert await client.is_open()

    run(test())


# --- other limits and other TLS while it runs


def test_another_limit_counts_for_the_connections_to_come():
    async def test() -> None:
        async with (
            running(connections_per_client=1) as site,
            site.connect() as first,
            contextlib.AsyncExitStack() as stack,
        ):
            assert (await first.get("/json")).status == 200
            site.listener.take(HttpLimits(connections_per_client=3), None)
            for _ in range(2):
                more = await stack.enter_async_context(site.connect())
                assert (await more.get("/json")).status == 200
            over = await stack.enter_async_context(site.connect())
            answer = await over.answer()
            assert answer.status == 429
            assert b"3 are allowed" in answer.body
            assert await first.is_open()

    run(test())


def test_a_client_of_an_authority_that_was_taken_away_is_refused_at_once(
    authority: Authority, pair: Pair, tmp_path: Path
):
    async def test() -> None:
        def context(ca: str) -> ssl.SSLContext:
            return make_context(pair.cert, pair.key, ca, verify_client=True)

        other = authority.authority("other")
        trust = authority.client_context(authority.sign("client"))
        async with running(tls=context(authority.file), trust=trust) as site:
            async with site.connect() as client:
                assert (await client.get("/json")).status == 200
            site.listener.take(HttpLimits(), context(other.file))
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                async with site.connect() as client:
                    await client.get("/json")
            assert site.names() == ["tls_handshake_failed"]

    run(test())


def test_switching_tls_on_and_off_lets_go_of_those_on_the_wrong_side(
    authority: Authority, pair: Pair
):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        async with running() as site, site.connect() as plain, site.connect() as waiter:
            await waiter.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
            assert (await plain.get("/json")).status == 200
            site.listener.take(HttpLimits(), context)
            assert await plain.rest() == b""
            assert (await waiter.answer()).headers[b"Connection"] == b"close"
            async with connected(site.port, authority.client_context()) as secure:
                assert (await secure.get("/json")).status == 200
                site.listener.take(HttpLimits(), None)
                assert await secure.rest() == b""
            async with connected(site.port) as again:
                assert (await again.get("/json")).status == 200

    run(test())


def _name(client: Client) -> str:
    return client.writer.get_extra_info("peercert")["subject"][0][0][1]


@pytest.mark.parametrize("sent", [b"", bytes.fromhex("16030100c8")])
def test_a_stop_does_not_wait_for_a_handshake(pair: Pair, sent: bytes):
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running(tls=make_context(pair.cert, pair.key), graceful_s=5) as site:
                client = await stack.enter_async_context(site.connect())
                await client.send(sent)
                await asyncio.sleep(0.05)
                began = time.monotonic()
            assert time.monotonic() - began < 1
            assert await client.rest() == b""

    run(test())


def test_a_client_gone_over_tls_waits_no_longer(authority: Authority, pair: Pair):
    async def test() -> None:
        context = make_context(pair.cert, pair.key)
        async with running(tls=context, trust=authority.client_context()) as site:
            async with site.connect() as client:
                await client.send(get("/wait"))
                await until(lambda: len(site.waiting) == 1)
            await until(lambda: len(site.waiting) == 0)
            assert site.events == []

    run(test())


def test_only_http_1_1_is_offered(authority: Authority, pair: Pair):
    async def test() -> None:
        trust = authority.client_context()
        trust.set_alpn_protocols(["h2", "http/1.1"])
        context = make_context(pair.cert, pair.key)
        async with running(tls=context, trust=trust) as site, site.connect() as client:
            tls = client.writer.get_extra_info("ssl_object")
            assert isinstance(tls, ssl.SSLObject)
            assert tls.selected_alpn_protocol() == "http/1.1"

    run(test())
