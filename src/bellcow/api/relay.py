"""A request on its way to another server, and the answer on its way back.

Who is asked, and when, is the pipeline's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bellcow.api.message import Response
from bellcow.ending import Waits
from bellcow.errors import Code, Error
from bellcow.model.forwarded import LAST_HOP, Ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bellcow.api.message import Body, Request
    from bellcow.cluster.forward import Relayed


def away() -> Waits:
    """Blocking queries that wait at another server. They end when this one stops."""
    return Waits(lambda: Error(Code.UNAVAILABLE, "this server stops; ask another one"))


class Rest:
    """A body that is taken piece by piece (`message.Body`), and whether any of it was."""

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


class Sent(NamedTuple):
    """A request's body: all of it, or the rest that is still to come."""

    raw: bytes | None
    rest: Rest | None = None

    def chunks(self) -> AsyncIterator[bytes] | None:
        return None if self.rest is None else self.rest.chunks()


NO_BODY = Sent(None)


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
    """Another server's answer as the client gets it: not a byte of it is ours."""
    answer = relayed.answer
    stream = relayed if answer.body is None else None
    headers = list(answer.headers)
    return Response(answer.status, headers, answer.body or b"", stream=stream, packed=True)
