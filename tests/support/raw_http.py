"""A raw HTTP client, a server on a free port, and an app with fixed answers.

The client sends bytes, because the tests need what ordinary HTTP clients never send.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from bellcow.api.http.limits import HttpLimits
from bellcow.api.http.server import bind, serve
from bellcow.api.message import Response, Wait
from bellcow.errors import Code, Error
from bellcow.state.waiting import Waiting

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine

    from bellcow.api.http.server import Listener
    from bellcow.api.message import Body, Request

JSON = (b"Content-Type", b"application/json")
TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
PATIENCE_S = 5.0
_DATE = re.compile(rb"Date: [^\r]+")
_STATUS_OF = {Code.TOO_LARGE: 413, Code.TIMEOUT: 408, Code.INVALID: 400}

FIXED = {
    "/json": lambda: Response(200, [JSON, (b"X-Nomad-Index", b"7")], b'{"a":1}'),
    "/empty": lambda: Response(200, []),
    "/none": lambda: Response(204, [JSON, (b"X-Nomad-Index", b"7")]),
    "/missing": lambda: Response(404, [TEXT], b"Invalid method"),
    "/refused": lambda: Response(500, [TEXT], b"No cluster leader"),
    "/unhealthy": lambda: Response(429, [JSON], b"{}"),
    "/last": lambda: Response(200, [JSON], b"1", close=True),
    "/moved": lambda: Response(301, [(b"Location", b"/json?x=1"), TEXT], b"moved"),
    "/large": lambda: Response(200, [JSON], b"x" * 10_000),
    "/huge": lambda: Response(200, [JSON], b"x" * 30_000_000),
    "/split": lambda: Response(200, [(b"X-Evil", b"a\r\nSet-Cookie: b")], b"1"),
}


class FixedApp:
    """Answers by path. With `by_task` a task answers even what the fast path could."""

    def __init__(self) -> None:
        self.by_task = False
        self.index = 1
        self.asked: list[Request] = []
        self.cancelled = asyncio.Event()
        self.closed = asyncio.Event()  # when the stream's aclose has ended
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.closing_s = 0.0  # how long the stream takes to close
        self.produced = 0
        self.received = 0

    def answer_now(self, request: Request, *, last: bool = False) -> Response | Wait | None:
        self.asked.append(request)
        if request.path == "/boom":
            raise RuntimeError("a fault in a handler")
        if request.path.startswith("/wait") and self.index == 1 and not last:
            return Wait(("jobs", "nodes"), float(request.param("wait", "60")))
        if request.path == "/wait/task":
            return None
        if request.path.startswith("/wait"):
            return Response(200, [JSON, (b"X-Nomad-Index", b"%d" % self.index)], b"[]")
        make = FIXED.get(request.path)
        return None if make is None or self.by_task else make()

    async def answer(self, request: Request, body: Body) -> Response:
        try:
            return await self._answer(request, body)
        except Error as error:
            return Response(_STATUS_OF[error.code], [TEXT], error.message.encode())
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _answer(self, request: Request, body: Body) -> Response:
        self.started.set()
        if request.path == "/upload":
            return await self._upload(body)
        if request.method == "PUT":
            data = await body.read(1000)
            return Response(200, [TEXT], b"nothing" if data is None else b"got " + data)
        if request.path == "/slow":
            await asyncio.sleep(0.02)
        elif request.path == "/gate":
            await self.gate.wait()
        elif request.path in {"/stream", "/endless", "/idle", "/broken"}:
            return Response(200, [TEXT], stream=self._stream(request.path))
        elif request.path == "/fault":
            raise RuntimeError("a fault in a handler")
        elif request.method == "GET" and request.path in FIXED:
            return FIXED[request.path]()
        return Response(200, [TEXT], f"{request.method} {request.path}".encode())

    async def _upload(self, body: Body) -> Response:
        async for piece in body.chunks():
            self.received += len(piece)
        return Response(200, [TEXT], b"%d" % self.received)

    async def _stream(self, path: str) -> AsyncIterator[bytes]:
        try:
            for piece in (b"one", b"", b"three"):
                yield piece
            if path == "/idle":
                await asyncio.Event().wait()
            while path == "/endless":
                self.produced += 1
                yield b"x" * 65536
                await asyncio.sleep(0)
            if path == "/broken":
                raise RuntimeError("a fault in a stream")
        finally:
            await asyncio.sleep(self.closing_s)
            self.closed.set()


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    raw: bytes  # head and body, with the date masked


class Client:
    """One connection. It sends bytes unchanged and reads one answer at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, path: str) -> Answer:
        await self.send(get(path))
        return await self.answer()

    async def answer(self, *, head: bool = False) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            status, headers = _parse_head(raw)
            body = b"" if head else await self._body(headers)
        return Answer(status, headers, body, _DATE.sub(b"Date: -", raw) + body)

    async def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"Transfer-Encoding") != b"chunked":
            return await self.reader.readexactly(int(headers.get(b"Content-Length", b"0")))
        body = b""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            body += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                return body

    async def rest(self) -> bytes:
        """All bytes until the server closes. Raises TimeoutError if it does not."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def is_open(self) -> bool:
        return (await self.get("/json")).status == 200

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Site(NamedTuple):
    """A running server, and the events it has logged."""

    app: FixedApp
    waiting: Waiting
    events: list[tuple[str, dict[str, object]]]
    connect: Callable[[], contextlib.AbstractAsyncContextManager[Client]]
    port: int
    listener: Listener

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


@contextlib.asynccontextmanager
async def connected(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        port,
        ssl=context,
        server_hostname="localhost" if context is not None else None,
        limit=1 << 20,
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def running(
    *,
    graceful_s: float = 1.0,
    tls: ssl.SSLContext | None = None,
    trust: ssl.SSLContext | None = None,
    **limits: float,
) -> AsyncIterator[Site]:
    """A server on a free port. `trust` is the TLS context of clients of `tls`."""
    app = FixedApp()
    waiting = Waiting()
    events: list[tuple[str, dict[str, object]]] = []
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with serve(
        app,
        [listener],
        ssl_context=tls,
        limits=HttpLimits(**limits),
        waiting=waiting,
        log=lambda event, /, **fields: events.append((event, fields)),
        graceful_s=graceful_s,
    ) as answering:
        yield Site(app, waiting, events, lambda: connected(port, trust), port, answering)
    assert faults == []


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test on uvloop, which the agent uses too."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(test, 2 * PATIENCE_S))


async def trickle(send: Callable[[bytes], Coroutine[Any, Any, None]], data: bytes, each_s: float):
    with contextlib.suppress(ConnectionError):
        while True:
            await send(data)
            await asyncio.sleep(each_s)


def get(path: str, *lines: str) -> bytes:
    return request("GET", path, *lines)


def request(method: str, path: str, *lines: str, body: bytes | None = None) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: test", *lines]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. Raises TimeoutError if it stays false."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.001)


def _parse_head(raw: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = raw[:-4].split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        headers[name] = value
    return int(first.split(b" ")[1]), headers
