"""The port between servers: a small table of routes behind one gate.

Nothing is answered, not even that a path does not exist, before the caller has shown that it is a
server. A route turns a message into a message, or a stream of frames into another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from bellcow.api.errors import STATUS
from bellcow.api.http.budget import Budget, Share
from bellcow.api.http.limits import HttpLimits
from bellcow.api.http.render import plain
from bellcow.api.message import Response, body_length
from bellcow.api.pipeline.guards import refuse_page
from bellcow.cluster.members.exchange import HELLO_BYTES, HELLO_PATH
from bellcow.cluster.transport.frames import QUESTION_BYTES, Framed, opened
from bellcow.cluster.transport.server_names import ServerNames
from bellcow.errors import Code, Error, not_found
from bellcow.model.hello import decode_hello
from bellcow.model.membership_calls import decode, encode
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

    from bellcow.api.message import Body, Request, Wait
    from bellcow.clock import Clock
    from bellcow.cluster.members.exchange import Exchange
    from bellcow.events import Report

    Handler = Callable[[Request, bytes], Awaitable[bytes]]
    StreamHandler = Callable[[Request, AsyncIterator[bytes]], Awaitable[AsyncIterator[bytes]]]

# Each forwarded blocking query holds a connection.
LIMITS = HttpLimits(header_s=5.0, body_s=5.0, keep_alive_s=75.0, connections_per_client=4_000)
HELD_BYTES = 8 << 20  # of unfinished requests from one address: a hello of 500 servers is 150 KiB
_PACKED = (b"Content-Type", b"application/msgpack")
_FRAMED = (b"Content-Type", b"application/octet-stream")
_SHOWN = 200  # characters of a path that an unknown caller sent
T = TypeVar("T")


class Route(msgspec.Struct, frozen=True):
    """A request between servers of this region, or of any region.

    `body_bytes` is the largest body that is read.
    """

    handle: Handler
    body_bytes: int
    any_region: bool = False


class StreamRoute(msgspec.Struct, frozen=True):
    """A request whose body and answer are streams of frames.

    `body_bytes` is the largest body that is read, 0 for one of any size. What `handle` returns is
    closed at the end, if it can be.
    """

    handle: StreamHandler
    body_bytes: int
    any_region: bool = False


AnyRoute = Route | StreamRoute


def call_route(
    kind: type[T], answer: Callable[[T], Awaitable[msgspec.Struct]], body_bytes: int
) -> Route:
    """A route between servers of this region that reads one message and answers with another."""

    async def handle(request: Request, body: bytes) -> bytes:
        del request
        return encode(await answer(decode(body, kind)))

    return Route(handle, body_bytes)


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller must prove beyond a valid certificate, which the handshake has checked.

    `names` is None where names are not checked.
    """

    region: str
    names: ServerNames | None = None

    def check(self, names: Collection[str], region: str) -> None:
        """Check that a certificate with these names is one of a server of that region.

        Raises:
            denied: it is not.
        """
        if self.names is not None:
            self.names.check(names, region)

    def check_any(self, names: Collection[str]) -> None:
        """The same for a server of any region."""
        if self.names is not None:
            self.names.check_any(names)

    @property
    def proves(self) -> bool:
        """Whether a caller that passed is certainly a server of ours."""
        return self.names is not None


def routes(exchange: Exchange, gate: Gate) -> dict[tuple[str, str], AnyRoute]:
    """All routes by method and path."""
    return {
        ("POST", HELLO_PATH): Route(_hello(exchange, gate), HELLO_BYTES, any_region=True),
    }


def _hello(exchange: Exchange, gate: Gate) -> Handler:
    async def answer(request: Request, body: bytes) -> bytes:
        hello = decode_hello(body)
        gate.check(request.peer_names, hello.region)
        return exchange.answer(hello)

    return answer


class Internal:
    """The `App` of the port between servers."""

    def __init__(
        self,
        table: Mapping[tuple[str, str], AnyRoute],
        gate: Gate,
        clock: Clock,
        report: Report,
    ) -> None:
        self._table = table
        self._gate = gate
        self._report = report
        self._reminders = Reminders(clock, report)
        self._held = Budget(
            HELD_BYTES, f"unfinished requests from this address hold more than {HELD_BYTES} bytes"
        )

    def answer_now(self, request: Request, *, last: bool = False) -> Response | Wait | None:
        del request, last
        return None

    async def answer(self, request: Request, body: Body) -> Response:
        try:
            return await self._answer(request, body)
        except Error as error:
            self._say(request, error)
            close = error.code in {Code.TOO_LARGE, Code.TOO_MANY}
            return plain(STATUS[error.code], error.message, close=close)
        except Exception as fault:  # noqa: BLE001  one caller may not end the others' server
            self._report("request_failed", method=request.method, path=request.path, exc_info=fault)
            return plain(STATUS[Code.INTERNAL], "Internal Server Error")

    async def _answer(self, request: Request, body: Body) -> Response:
        refuse_page(request)
        route = self._table.get((request.method, request.path))
        self._check_certificate(request, route)
        if route is None:
            raise not_found(f"nothing of this name between servers: {request.method}")
        if isinstance(route, StreamRoute):
            return await self._answer_stream(route, request, body)
        data = await self._read(request, body, route.body_bytes)
        return Response(200, [_PACKED], await route.handle(request, data))

    async def _read(self, request: Request, body: Body, limit: int) -> bytes:
        """A whole body. Its bytes are counted before they arrive, since they may arrive slowly."""
        announced = body_length(request)
        size = limit if announced < 0 else min(announced, limit)
        self._held.take(size, request.client)
        try:
            return await body.read(limit) or b""
        finally:
            self._held.release(size, request.client)

    async def _answer_stream(self, route: StreamRoute, request: Request, body: Body) -> Response:
        chunks = _at_most(route.body_bytes, body.chunks())
        share = Share(self._held, request.client)
        frames = share.released(opened(share.counted(chunks), QUESTION_BYTES))
        answer = await route.handle(request, frames)
        return Response(200, [_FRAMED], stream=Framed((), answer), packed=True)

    def _check_certificate(self, request: Request, route: AnyRoute | None) -> None:
        if route is not None and route.any_region:
            self._gate.check_any(request.peer_names)
        else:
            self._gate.check(request.peer_names, self._gate.region)

    def _say(self, request: Request, error: Error) -> None:
        self._reminders.report(
            "peer_refused", client=request.client, path=request.path[:_SHOWN], reason=error.message
        )


async def _at_most(limit: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if limit and size > limit:
            raise Error(Code.TOO_LARGE, f"request body is larger than {limit} bytes")
        yield chunk
