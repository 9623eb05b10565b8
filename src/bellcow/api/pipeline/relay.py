"""A request on its way to another server, and the answer on its way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.message import Response
from bellcow.api.pipeline.consistency import Forward
from bellcow.errors import Code, Error
from bellcow.model.forwarded import LAST_HOP, Ask
from bellcow.shutdown import Waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bellcow.api.message import Body, Request
    from bellcow.cluster.transport.forward import Forwarder, Relayed


def away() -> Waits:
    """The blocking queries that wait at another server; they end when this one stops."""
    return Waits(lambda: Error(Code.UNAVAILABLE, "this server is stopping; ask another one"))


class Rest:
    """A body that is read piece by piece (`message.Body`), and whether reading has begun."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.begun = False

    async def read(self, limit: int) -> bytes | None:
        self.begun = True
        return await self._body.read(limit)

    async def chunks(self) -> AsyncIterator[bytes]:
        self.begun = True
        async for piece in self._body.chunks():
            yield piece


class Sent:
    """A request's body: the rest that is still to come, or all of it once it was read.

    None of it is in memory before the client's right to send it was checked. `limit` is the number
    of bytes that may be read at once; None for an upload, which is only read piece by piece.
    """

    __slots__ = ("_limit", "raw", "rest")

    def __init__(self, rest: Rest | None = None, limit: int | None = None) -> None:
        self._limit = limit
        self.raw: bytes | None = None
        self.rest = rest

    async def take(self) -> bool:
        """Read it, unless it is an upload or was read before. Returns whether it was awaited.

        Raises:
            Error: TOO_LARGE, it is above the limit; TIMEOUT, the client is too slow.
        """
        if self.rest is None or self._limit is None:
            return False
        self.raw = await self.rest.read(self._limit)
        self.rest = None
        return True

    def chunks(self) -> AsyncIterator[bytes] | None:
        return None if self.rest is None else self.rest.chunks()


async def send(forwarder: Forwarder, to: Forward, request: Request, sent: Sent) -> Relayed:
    """The answer of the server that `to` names.

    Raises:
        Error: as the forwarder does, also when no server could be asked.
    """
    ask, rest = ask_of(request, sent), sent.chunks()
    match to:
        case Forward.REGION:
            return await forwarder.to_region(request.param("region"), ask, rest)
        case Forward.SERVER:
            return await forwarder.to_server(request.param("server_id"), ask, rest)
        case Forward.LEADER:
            return await forwarder.to_leader(ask, rest)


def ask_of(request: Request, sent: Sent) -> Ask:
    query = b"?" + request.raw_query if request.raw_query else b""
    return Ask(
        method=request.method,
        target=request.raw_path + query,
        headers=tuple(request.headers),
        client=request.client,
        hops=LAST_HOP,
        body=sent.raw,
        streams=sent.rest is not None,
    )


def response_of(relayed: Relayed) -> Response:
    """Another server's answer as the client gets it, byte for byte."""
    answer = relayed.answer
    stream = relayed if answer.body is None else None
    headers = list(answer.headers)
    return Response(answer.status, headers, answer.body or b"", stream=stream, packed=True)
