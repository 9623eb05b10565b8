"""TLS handshakes: which clients get through, and what is logged of the others."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.certificates import Authority, Pair
from tests.support.raw_http import Client, connected, get, request, running, until

from bellcow.api.http.limits import HttpLimits
from bellcow.config.tls import make_context, reload

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.sign()


async def test_requests_over_tls_are_answered_on_both_paths(authority: Authority, pair: Pair):
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


async def test_http_without_tls_is_refused_in_the_handshake(pair: Pair):
    async with running(tls=make_context(pair.cert, pair.key)) as site, site.connect() as client:
        await client.send(get("/json"))
        assert await client.rest() == (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        )
        assert site.events == [
            ("tls_handshake_failed", {"client": "127.0.0.1", "reason": "HTTP without TLS"})
        ]
        assert site.app.asked == []


@pytest.mark.parametrize("shown_as", ["none", "of another authority", "expired"])
async def test_client_without_a_valid_certificate_is_refused(
    authority: Authority, pair: Pair, tmp_path: Path, shown_as: str
):
    shown = {
        "none": lambda: None,
        "of another authority": lambda: Authority(tmp_path, "other").sign("stranger"),
        "expired": lambda: authority.sign("late", expired=True),
    }[shown_as]()

    context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
    async with running(tls=context, trust=authority.client_context(shown)) as site:
        with contextlib.suppress(OSError):
            async with site.connect() as client:
                await client.send(get("/json"))
                assert await client.rest() == b""
        await until(lambda: bool(site.events))
        assert site.names() == ["tls_handshake_failed"]
        assert site.app.asked == []


async def test_client_with_a_valid_certificate_is_answered(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
    trust = authority.client_context(authority.sign("client"))
    async with running(tls=context, trust=trust) as site, site.connect() as client:
        assert await client.is_open()


@pytest.mark.parametrize("sent", [b"", bytes.fromhex("16030100c8")])
async def test_handshake_that_never_finishes_is_aborted(pair: Pair, sent: bytes):
    context = make_context(pair.cert, pair.key)
    async with running(tls=context, handshake_s=0.1) as site, site.connect() as client:
        await client.send(sent)
        assert await client.rest() == b""
        assert site.names() == ["tls_handshake_failed"]


async def test_handshake_limit_of_zero_is_no_limit(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key)
    async with (
        running(tls=context, trust=authority.client_context(), handshake_s=0) as site,
        site.connect() as client,
    ):
        await asyncio.sleep(0.05)
        assert await client.is_open()


async def test_silent_client_is_cut_off_after_the_handshake(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key)
    trust = authority.client_context()
    async with (
        running(tls=context, trust=trust, handshake_s=0.6) as site,
        site.connect() as client,
    ):
        assert await client.rest() == b""
        assert site.names() == ["http_client_too_slow"]


async def test_connections_count_from_before_the_handshake_until_it_fails(
    authority: Authority, pair: Pair
):
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


async def test_new_certificate_serves_new_handshakes_and_open_connections_stay(
    authority: Authority, pair: Pair
):
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


async def test_client_of_a_removed_authority_is_refused_at_once(
    authority: Authority, pair: Pair, tmp_path: Path
):
    def context(ca: str) -> ssl.SSLContext:
        return make_context(pair.cert, pair.key, ca, verify_client=True)

    other = authority.authority("other")
    trust = authority.client_context(authority.sign("client"))
    async with running(tls=context(authority.file), trust=trust) as site:
        async with site.connect() as client:
            assert (await client.get("/json")).status == 200
        site.listener.reconfigure(HttpLimits(), context(other.file))
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with site.connect() as client:
                await client.get("/json")
        assert site.names() == ["tls_handshake_failed"]


def _name(client: Client) -> str:
    return client.writer.get_extra_info("peercert")["subject"][0][0][1]


@pytest.mark.parametrize("sent", [b"", bytes.fromhex("16030100c8")])
async def test_stop_does_not_wait_for_a_handshake(pair: Pair, sent: bytes):
    async with contextlib.AsyncExitStack() as stack:
        async with running(tls=make_context(pair.cert, pair.key), graceful_s=5) as site:
            client = await stack.enter_async_context(site.connect())
            await client.send(sent)
            await asyncio.sleep(0.05)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        assert await client.rest() == b""


async def test_lost_tls_connection_waits_no_longer(authority: Authority, pair: Pair):
    context = make_context(pair.cert, pair.key)
    async with running(tls=context, trust=authority.client_context()) as site:
        async with site.connect() as client:
            await client.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
        await until(lambda: len(site.waiting) == 0)
        assert site.events == []


async def test_only_http_1_1_is_offered(authority: Authority, pair: Pair):
    trust = authority.client_context()
    trust.set_alpn_protocols(["h2", "http/1.1"])
    context = make_context(pair.cert, pair.key)
    async with running(tls=context, trust=trust) as site, site.connect() as client:
        tls = client.writer.get_extra_info("ssl_object")
        assert isinstance(tls, ssl.SSLObject)
        assert tls.selected_alpn_protocol() == "http/1.1"
