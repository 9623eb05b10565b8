"""Requests that other servers forward: unpacked here, answered by this server's own pipeline.

The pipeline decides route, token and consistency, as for a client that asks directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.internal.gate import StreamRoute
from bellcow.api.message import Request, body_length, decoded_path, too_large
from bellcow.cluster.transport.frames import pieces
from bellcow.errors import Code, Error, invalid
from bellcow.model.forwarded import INLINE_BYTES, LAST_HOP, Answer, Ask, Undone
from bellcow.model.membership_calls import FORWARD_PATH, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from bellcow.api.internal.gate import Gate
    from bellcow.api.message import App, Response

ANY_SIZE = 0


def routes(app: App, gate: Gate) -> dict[tuple[str, str], StreamRoute]:
    """The one path. Requests from other regions are never forwarded out of this region."""

    async def answer(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        ask = decode(await _first(frames), Ask)
        if ask.hops == LAST_HOP:
            gate.check(request.peer_names, gate.region)
        # Limits count by the client's address. Only a proven server of ours may name it.
        asked = _asked(ask, ask.client if gate.proves else request.client)
        return _Answered(await app.answer(asked, _Content(ask, frames, body_length(asked))))

    return {("POST", FORWARD_PATH): StreamRoute(answer, ANY_SIZE, any_region=True)}


async def _first(frames: AsyncIterator[bytes]) -> bytes:
    async for frame in frames:
        return frame
    raise invalid("an empty stream")


def _asked(ask: Ask, client: str) -> Request:
    raw_path, _, raw_query = ask.target.partition(b"?")
    path = decoded_path(raw_path)
    headers = list(ask.headers)
    return Request(ask.method, path, raw_path, raw_query, headers, client, hops=ask.hops)


class _Content:
    """The body of a forwarded request (`message.Body`); the server in front sets deadlines."""

    def __init__(self, ask: Ask, frames: AsyncIterator[bytes], announced: int) -> None:
        self._ask = ask
        self._frames = frames
        self._announced = announced  # bytes, -1 when unknown

    async def read(self, limit: int) -> bytes | None:
        if not self._ask.streams and self._ask.body is None:
            return None
        if self._announced > limit:
            raise too_large(limit)
        parts: list[bytes] = []
        size = 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            parts.append(piece)
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._ask.body:
            yield self._ask.body
        if self._ask.streams:
            async for piece in self._frames:
                yield piece


class _Answered:
    """A response as frames. Closing it closes the response's stream, begun or not."""

    def __init__(self, response: Response) -> None:
        inline = response.stream is None and len(response.body) <= INLINE_BYTES
        answer = Answer(
            status=response.status,
            headers=tuple(response.headers),
            body=response.body if inline else None,
            undone=_undone(response.undone),
        )
        self._first = iter([encode(answer), *([] if inline else pieces(response.body))])
        self._stream = response.stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for frame in self._first:
            return frame
        if self._stream is None:
            raise StopAsyncIteration
        return await anext(self._stream)

    async def aclose(self) -> None:
        aclose = getattr(self._stream, "aclose", None)
        if aclose is not None:
            await aclose()


def _undone(error: Error | None) -> Undone | None:
    if error is None:
        return None
    return Undone("no_leader" if error.code is Code.NO_LEADER else "unavailable", error.message)
