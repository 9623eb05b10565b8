"""The port between servers: who gets an answer there, and what it costs those who get none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as ssl_module
from typing import TYPE_CHECKING

import msgspec
import pytest
import uvloop
from tests.support.certificates import Authority
from tests.support.raw_http import connected, request, until
from tests.support.wires import KEY, client_of, host, with_clock_ahead

from bellcow.api.internal.gate import HELD_BYTES, LIMITS
from bellcow.cluster.members.compose import compose
from bellcow.cluster.members.exchange import HELLO_BYTES, HELLO_PATH
from bellcow.cluster.members.schedule import Target
from bellcow.cluster.transport.server_names import ServerNames
from bellcow.config.tls import make_context
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster, encode_hello

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from bellcow.api.message import Request

NOMAD = ServerNames("nomad")
PACKED = "Content-Type: application/msgpack"


def port_of(server) -> int:
    return server.roster.itself.serf[1]


def hello_of(server) -> bytes:
    now = server.clock.monotonic()
    return encode_hello(compose(server.roster.table, server.look(), now, abroad=False))


def table_of(server):
    return msgspec.structs.replace(server.roster.table, contacts={})


async def all_know(servers) -> None:
    await until(lambda: all(len(each.roster.alive()) == len(servers) for each in servers))


# --- servers among themselves


@pytest.mark.parametrize("key", [b"", KEY])
async def test_three_servers_find_each_other(key: bytes):
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        a = await enter(host("a", key=key))
        b = await enter(host("b", key=key, join=a))
        c = await enter(host("c", key=key, join=a))
        await all_know([a, b, c])
        assert [each.saw("peer_refused") for each in (a, b, c)] == [[], [], []]


async def test_server_that_stops_answering_is_missed_and_its_contact_ends():
    async with host("a") as a:
        a.lead(1)
        async with host("b", join=a) as b:
            await until(lambda: "id-b" in a.roster.contacts())
            assert a.roster.contacts()["id-b"][0] < 1
            assert b.roster.since_leader_s() < 1
        await until(lambda: a.roster.table.contacts["id-b"].missed >= 3)
        await until(lambda: "id-b" not in a.roster.contacts())


def contexts(authority: Authority, dns: str) -> dict[str, ssl.SSLContext]:
    """Both sides of mutual TLS for a server with this name in its certificate."""
    pair = authority.sign(dns.replace(".", "-"), dns=dns)
    mine = make_context(pair.cert, pair.key, authority.file, verify_client=True)
    return {"serve_with": mine, "call_with": authority.client_context(pair)}


async def test_servers_with_certificates_of_their_region_find_each_other(tmp_path):
    authority = Authority(tmp_path)
    tls = contexts(authority, "server.global.nomad")

    async with (
        host("a", names=NOMAD, **tls) as a,
        host("b", names=NOMAD, join=a, **tls) as b,
    ):
        await all_know([a, b])


@pytest.mark.parametrize("dns", ["client.global.nomad", "server.eu.nomad", "localhost"])
async def test_certificate_without_the_name_of_a_server_is_refused_on_both_sides(
    tmp_path, dns: str
):
    authority = Authority(tmp_path)
    right, wrong = contexts(authority, "server.global.nomad"), contexts(authority, dns)
    loose = wrong["call_with"]
    loose.check_hostname = False

    async with host("a", names=NOMAD, **right) as a:
        before = table_of(a)
        # b does not check names, a does.
        async with host("b", join=a, **wrong) as b:
            await until(lambda: b.saw("hello_failed"))
        assert len(a.saw("peer_refused")) == 1
        assert table_of(a) == before
    async with host("b", **wrong) as b, host("a", names=NOMAD, join=b, **right) as a:
        await until(lambda: a.saw("hello_failed"))
        assert table_of(b).known == {}


async def test_certificate_is_looked_at_before_the_body(tmp_path):
    authority = Authority(tmp_path)
    tls = contexts(authority, "server.global.nomad")
    pair = authority.sign("somebody", dns="client.global.nomad")

    async with (
        host("a", names=NOMAD, run=False, **tls) as a,
        connected(port_of(a), authority.client_context(pair)) as client,
    ):
        for path in (HELLO_PATH, "/nothing"):
            await client.send(request("POST", path, body=b"no hello"))
            answer = await client.answer()
            assert (answer.status, b"certificate" in answer.body) == (403, True)


async def test_caller_without_a_certificate_is_refused_in_the_handshake(tmp_path):
    authority = Authority(tmp_path)
    tls = contexts(authority, "server.global.nomad")

    async with host("a", run=False, **tls) as a:
        stranger = {"call_with": authority.client_context()}
        async with host("b", join=a, **stranger) as b:
            await until(lambda: a.saw("tls_handshake_failed"))
            assert b.roster.alive() == {"id-b"}


# --- refusals


@pytest.mark.parametrize("path", [HELLO_PATH, "/v1/internal/forward", "/nothing"])
async def test_web_page_does_not_speak_to_the_port(path: str):
    async with host("a", run=False) as a, connected(port_of(a)) as client:
        await client.send(request("POST", path, "Origin: null", body=hello_of(a)))
        answer = await client.answer()
        assert (answer.status, b"a web page may not" in answer.body) == (403, True)


async def test_unfinished_requests_of_one_address_are_bounded():
    async with host("a", run=False) as a, contextlib.AsyncExitStack() as stack:
        for _ in range(HELD_BYTES // HELLO_BYTES):
            slow = await stack.enter_async_context(connected(port_of(a)))
            head = f"POST {HELLO_PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {HELLO_BYTES}\r\n"
            await slow.send(head.encode() + b"\r\n")
        client = await stack.enter_async_context(connected(port_of(a)))
        answers = []
        while not answers or answers[-1].status != 429:  # until all of them are being read
            await client.send(request("POST", HELLO_PATH, PACKED, body=hello_of(a)))
            answers.append(await client.answer())
        assert b"unfinished requests from this address" in answers[-1].body


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(KEY, bytes(32)), (KEY, b""), (b"", KEY)],
    ids=["another key", "we have one, they do not", "they have one, we do not"],
)
async def test_wrong_secret_is_refused_and_changes_nothing(mine: bytes, theirs: bytes):
    async with host("a", key=mine, run=False) as a, host("b", key=theirs, join=a) as b:
        await until(lambda: b.saw("hello_failed"))
        await asyncio.sleep(0.05)
        assert b.roster.alive() == {"id-b"}
        assert len(b.saw("hello_failed")) == 1
        assert a.roster.alive() == {"id-a"}
        if mine:
            assert a.saw("tls_handshake_failed")


async def test_clock_that_is_an_hour_off_changes_nothing():
    for ahead_s in (3_600, -3_600):
        async with (
            host("a", key=KEY) as a,
            host("b", key=KEY, join=a, clock=with_clock_ahead(ahead_s)) as b,
        ):
            b.lead(1)
            await all_know([a, b])
            await until(lambda a=a: a.roster.table.leader is not None)
            assert [each.saw("peer_refused") for each in (a, b)] == [[], []]


async def test_server_of_another_cluster_is_refused():
    async with host("a", run=False) as a, host("b", join=a, run=False) as b:
        a.cluster, b.cluster = Cluster("x", 0), Cluster("y", 0)
        before = table_of(a), table_of(b)
        async with connected(port_of(a)) as client:
            await client.send(request("POST", HELLO_PATH, PACKED, body=hello_of(b)))
            answer = await client.answer()
        assert answer.status == 409
        assert b"another cluster" in answer.body
        assert (table_of(a), table_of(b)) == before
        assert len(a.saw("peer_refused")) == 1


async def test_malformed_hello_is_refused_with_a_sentence():
    async with host("a", run=False) as a, connected(port_of(a)) as client:
        for body in (b"\xc1", b"{}", b"\x80", b"\xa5hello"):
            await client.send(request("POST", HELLO_PATH, body=body))
            answer = await client.answer()
            assert answer.status == 400
            assert answer.body.startswith(b"this is not a hello between servers: ")
        assert a.roster.table.known == {}


async def test_unknown_path_is_reported_only_to_allowed_callers():
    async with host("a", run=False) as a, connected(port_of(a)) as client:
        for message in (request("GET", "/v1/agent/self"), request("GET", HELLO_PATH)):
            await client.send(message)
            assert (await client.answer()).status == 404


async def test_caller_without_a_certificate_is_denied_even_on_an_unknown_path():
    async with host("a", key=KEY, run=False) as a:
        for path in ("/v1/agent/self", HELLO_PATH, "/nothing"):
            async with connected(port_of(a)) as client:
                await client.send(request("GET", path))
                assert (await client.answer()).status == 400


async def test_upload_of_two_gigabytes_is_cut_at_once():
    async with host("a", run=False) as a, connected(port_of(a)) as client:
        head = f"POST {HELLO_PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {2 << 30}\r\n\r\n"
        await client.send(head.encode() + bytes(100_000))
        answer = await client.answer()
        assert answer.status == 413
        assert answer.headers[b"Connection"] == b"close"
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                await client.send(bytes(1 << 20))
        assert client.writer.transport.get_write_buffer_size() < 64 << 20
        assert len(a.saw("peer_refused")) == 1


async def test_chunked_upload_without_end_is_cut_after_a_megabyte():
    async with host("a", run=False) as a, connected(port_of(a)) as client:
        lines = ("Transfer-Encoding: chunked",)
        await client.send(request("POST", HELLO_PATH, *lines))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                await client.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await until(lambda: a.saw("peer_refused"))
        assert "1048576" in dict(a.events)["peer_refused"]["reason"]


async def test_half_open_connections_are_closed_and_leave_nothing():
    limits = msgspec.structs.replace(LIMITS, header_s=0.2, body_s=0.2, linger_s=0.1)
    async with host("a", run=False, limits=limits) as a:
        async with connected(port_of(a)) as silent, connected(port_of(a)) as half:
            await half.send(request("POST", HELLO_PATH, "Content-Length: 100"))
            await silent.rest()
            await half.rest()
        names = [name for name, _ in a.events]
        assert sorted(names) == ["http_client_too_slow", "peer_refused"]
        assert a.roster.table.known == {}


async def test_server_that_takes_calls_and_never_answers_costs_a_second():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with host("a", run=False) as a:
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(Exception, match="no answer within a second"):
                await a.exchange.join(mute.getsockname())
            assert 0.9 < loop.time() - began < 3


@pytest.mark.slow
def test_twenty_servers_in_one_process_know_each_other():
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(host("h0"))
            servers = [first]
            for number in range(1, 20):
                joined = await stack.enter_async_context(host(f"h{number}", join=first))
                servers.append(joined)
            first.lead(1)
            # A busy machine takes its time: what counts is that they get there.
            while {len(each.roster.alive()) for each in servers} != {20}:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)
            while len(first.roster.contacts()) < 19:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(test(), 60))


# --- streams

STREAM = "/v1/internal/stream"


async def echo(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each frame as it comes, in capitals."""
    del request

    async def answer() -> AsyncIterator[bytes]:
        async for frame in frames:
            yield frame.upper()

    return answer()


async def rest(answer: AsyncIterator[bytes]) -> list[bytes]:
    return [frame async for frame in answer]


def target_of(server) -> Target:
    return Target(server_id="id-a", address=server.roster.itself.serf, region="global")


@pytest.mark.parametrize("key", [b"", KEY])
async def test_frames_go_both_ways_at_the_same_time(key: bytes):
    turn: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def sent() -> AsyncIterator[bytes]:
        while (frame := await turn.get()) is not None:
            yield frame

    async with host("a", key=key, run=False, streams={STREAM: echo}) as a, client_of(key) as b:
        turn.put_nowait(b"one")
        answer = await b.stream(target_of(a), STREAM, sent())
        assert await anext(answer) == b"ONE"
        for word in (b"two", b"three"):
            turn.put_nowait(word)
            assert await anext(answer) == word.upper()
        turn.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await anext(answer)
        await answer.aclose()
        assert a.events == []


@pytest.mark.parametrize("key", [b"", KEY])
async def test_short_streams_share_one_connection(key: bytes):
    async with (
        host("a", key=key, run=False, streams={STREAM: echo}) as a,
        client_of(key) as b,
    ):
        for _ in range(3):
            answer = await b.stream(target_of(a), STREAM, [b"one", b"two"])
            assert [frame async for frame in answer] == [b"ONE", b"TWO"]
            await answer.aclose()
        assert b._session is not None
        connections = b._session.connector._conns  # type: ignore[union-attr]
        assert sum(map(len, connections.values())) == 1


@pytest.mark.parametrize(
    ("mine", "theirs"), [(KEY, bytes(32)), (KEY, b"")], ids=["another key", "none"]
)
async def test_stream_of_a_stranger_is_refused_before_its_first_frame(mine: bytes, theirs: bytes):
    reached = []

    async def handle(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        reached.append(request)
        return await echo(request, frames)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65_536)

    async with host("a", key=mine, run=False, streams={STREAM: handle}) as a:
        async with client_of(theirs) as b:
            with pytest.raises(Error) as caught:
                await b.stream(target_of(a), STREAM, endless())
        assert caught.value.code in {Code.DENIED, Code.UNKNOWN_OUTCOME}
        assert reached == []
        await until(lambda: a.saw("tls_handshake_failed"))


async def test_nothing_is_sent_to_a_server_with_another_key():
    async with (
        host("a", key=bytes(32), run=False, streams={STREAM: echo}) as a,
        client_of(KEY) as b,
    ):
        with pytest.raises(Error) as caught:
            await b.stream(target_of(a), STREAM, [b"one"])
        assert caught.value.code is Code.DENIED


async def test_stream_above_the_limit_is_cut():
    async with host("a", run=False, streams={STREAM: echo}) as a, client_of(b"") as b:

        async def much() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield bytes(65_536)

        answer = await b.stream(target_of(a), STREAM, much())
        with pytest.raises(Error):
            await rest(answer)
        await answer.aclose()


async def test_fault_in_the_middle_of_an_answer_differs_from_its_end():
    async def fails(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        del request, frames

        async def answer() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("a fault")

        return answer()

    async with host("a", run=False, streams={STREAM: fails}) as a, client_of(b"") as b:
        answer = await b.stream(target_of(a), STREAM, [b"x"])
        assert await anext(answer) == b"one"
        with pytest.raises(Error) as caught:
            await anext(answer)
        assert caught.value.code is Code.UNKNOWN_OUTCOME
        await answer.aclose()


async def test_caller_that_goes_away_ends_the_answer():
    closed = asyncio.Event()

    async def idle(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        del request, frames

        async def answer() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await asyncio.Event().wait()
            finally:
                closed.set()

        return answer()

    async with host("a", run=False, streams={STREAM: idle}) as a, client_of(b"") as b:
        answer = await b.stream(target_of(a), STREAM, [b"x"])
        await answer.aclose()
        async with asyncio.timeout(2):
            await closed.wait()


async def test_failure_of_the_stream_that_is_sent_reaches_the_caller():
    answering = asyncio.Event()

    async def fails(*, early: bool) -> AsyncIterator[bytes]:
        yield b"one"
        if not early:
            await answering.wait()
        raise Error(Code.TIMEOUT, "too slow")

    async with host("a", run=False, streams={STREAM: echo}) as a, client_of(b"") as b:
        with pytest.raises(Error, match="too slow"):
            await rest(await b.stream(target_of(a), STREAM, fails(early=True)))
        answer = await b.stream(target_of(a), STREAM, fails(early=False))
        assert await anext(answer) == b"ONE"
        answering.set()
        with pytest.raises(Error, match="too slow") as caught:
            await rest(answer)
        await answer.aclose()
        assert caught.value.code is Code.TIMEOUT


async def test_slow_reader_holds_the_sender_back():
    made = 0

    async def endless(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        del request, frames

        async def answer() -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield bytes(65_536)

        return answer()

    async with host("a", run=False, streams={STREAM: endless}) as a, client_of(b"") as b:
        answer = await b.stream(target_of(a), STREAM, [b"x"])
        await asyncio.sleep(0.3)
        before = made
        assert before < 400
        await asyncio.sleep(0.1)
        assert made == before
        for _ in range(before):
            await anext(answer)
        await until(lambda: made > before)
        await answer.aclose()


async def test_refused_connection_means_that_nothing_was_sent():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = Target(server_id="x", address=free.getsockname(), region="global")
        async with client_of(b"") as b:
            with pytest.raises(Error) as caught:
                await b.stream(nowhere, STREAM, [b"x"])
    assert caught.value.code is Code.UNAVAILABLE


async def test_address_whose_handshakes_fail_repeatedly_is_not_tried_any_more():
    bare = ssl_module.SSLContext(ssl_module.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl_module.CERT_NONE

    async with host("a", key=KEY, run=False) as a:

        def reasons() -> list[object]:
            return [fields["reason"] for name, fields in a.events if "handshake" in name]

        while "too many failed handshakes from this address" not in reasons():
            with contextlib.suppress(OSError, EOFError):
                async with connected(port_of(a), bare) as client:
                    await client.answer()
        # A second later it may try again, and a server of ours is let in.
        async with host("b", key=KEY, join=a) as b:
            await until(lambda: "id-b" in a.roster.table.known)
            assert b.roster.alive() >= {"id-b"}
