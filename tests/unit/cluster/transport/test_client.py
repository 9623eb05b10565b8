"""The client for calls between servers, against servers that answer wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from tests.support.raw_http import until
from tests.support.wires import KEY, keyed

from bellcow.cluster.members.schedule import Target
from bellcow.cluster.transport.client import PeerClient
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATH = "/v1/internal/hello"


class Crooked:
    """A server that answers with given bytes, and keeps what it was sent."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self.heard: list[bytes] = []
        self.connections = 0
        self.lost = 0
        self.address = ("", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.heard.append(head + await reader.readexactly(size))
                writer.write(self._answer(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost += 1
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def crooked(answer: Callable[[bytes], bytes]) -> AsyncIterator[Crooked]:
    server = Crooked(answer)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.address = listener.sockets[0].getsockname()
        yield server


def reply(status: str, body: bytes = b"", *lines: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def to(address: tuple[str, int]) -> Target:
    return Target(server_id="them", address=address, region="global")


async def refused(client: PeerClient, address: tuple[str, int]) -> Error:
    with pytest.raises(Error) as caught:
        await client.post(to(address), PATH, b"body")
    return caught.value


async def test_consecutive_calls_share_one_connection():
    async with (
        crooked(lambda _: reply("200 OK", b"yes")) as server,
        PeerClient() as client,
    ):
        for _ in range(5):
            assert await client.post(to(server.address), PATH, b"body") == b"yes"
        assert server.connections == 1
        assert server.heard[0].startswith(b"POST /v1/internal/hello HTTP/1.1\r\n")
        assert server.heard[0].endswith(b"\r\n\r\nbody")


async def test_call_is_not_repeated_when_its_connection_breaks():
    async with PeerClient() as client:
        heard = []

        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"body"))
            if len(heard) == 1:
                writer.write(reply("200 OK", b"yes"))
                heard.append(await reader.readuntil(b"body"))
            writer.transport.abort()

        async with await asyncio.start_server(cut, "127.0.0.1", 0) as listener:
            address = listener.sockets[0].getsockname()
            assert await client.post(to(address), PATH, b"body") == b"yes"
            assert (await refused(client, address)).code is Code.UNAVAILABLE
            await asyncio.sleep(0.05)
            assert len(heard) == 2


async def test_address_without_a_listener_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with PeerClient() as client:
            assert (await refused(client, free.getsockname())).code is Code.UNAVAILABLE


@pytest.mark.parametrize("host", ["x" * 255, "a b", "a/../b", "[", "::1%x", "\x00", "é" * 90, "-"])
async def test_malformed_address_is_unavailable(host: str):
    async with PeerClient() as client:
        assert (await refused(client, (host, 1))).code is Code.UNAVAILABLE


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"\x00" * 64, b"HTTP/1.1 200\r\nX"])
async def test_answer_that_is_not_http_is_unavailable(answer: bytes):
    async with crooked(lambda _: answer) as server, PeerClient() as client:
        error: Exception
        try:
            async with asyncio.timeout(0.3):
                error = await refused(client, server.address)
        except TimeoutError:  # half an answer: who calls has the limit
            assert answer.startswith(b"HTTP")
        else:
            assert error.code is Code.UNAVAILABLE


async def test_refusal_has_the_server_s_own_text():
    async with (
        crooked(lambda _: reply("409 Conflict", b"another cluster " * 100)) as server,
        PeerClient() as client,
    ):
        error = await refused(client, server.address)
        assert error.code is Code.REFUSED
        assert error.message.startswith("409: another cluster another")
        assert len(error.message) < 400


async def test_redirect_is_not_followed():
    async with (
        crooked(lambda _: reply("307 Temporary Redirect", b"", "Location: /x")) as server,
        PeerClient() as client,
    ):
        assert (await refused(client, server.address)).code is Code.REFUSED
        assert len(server.heard) == 1


@pytest.mark.parametrize("status", ["200 OK", "409 Conflict"])
async def test_answer_and_refusal_without_the_key_are_not_accepted(status: str):
    words = b"is its data directory a copy?"
    trusting = keyed(KEY)
    client = PeerClient(tls=trusting.call_with, names=trusting.gate.names)
    async with crooked(lambda _: reply(status, words)) as server, client:
        error = await refused(client, server.address)
        assert error.code is not Code.REFUSED
        assert words.decode() not in error.message
        assert server.heard == []


async def test_endless_answer_is_refused():
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 20 * chunk
    async with crooked(lambda _: endless) as server, PeerClient() as client:
        assert (await refused(client, server.address)).code is Code.TOO_LARGE


async def test_canceled_call_closes_its_connection():
    async with crooked(lambda _: b"") as server, PeerClient() as client:
        call = asyncio.ensure_future(client.post(to(server.address), PATH, b"body"))
        await until(lambda: len(server.heard) == 1)
        call.cancel()
        await asyncio.wait([call])
        await until(lambda: server.lost == 1)


async def test_closed_client_makes_no_call():
    async with PeerClient() as client:
        pass
    assert (await refused(client, ("127.0.0.1", 1))).code is Code.UNAVAILABLE
