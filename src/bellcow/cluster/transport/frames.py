"""Frames: how messages travel one after the other in one HTTP body, and how a cut one shows.

A frame is its length and its payload. A stream is whole only when its end frame, an empty one, has
come. `Decoder` holds the rules and does no I/O; what is in a frame is not known here, and that
nobody changes one on its way is for TLS to see to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

FRAME_BYTES = 16 << 20  # the largest payload of an answer
QUESTION_BYTES = 1 << 20  # the largest payload from a caller, who may not be known yet
PIECE_BYTES = 64 << 10  # what a longer run of bytes is cut into
_LENGTH = 4
END = bytes(_LENGTH)


def frame(payload: bytes) -> bytes:
    """The frame of a payload, which may not be empty: that is how the end looks."""
    if not 0 < len(payload) <= FRAME_BYTES:
        raise ValueError(f"a frame holds 1 to {FRAME_BYTES} bytes, not {len(payload)}")
    return len(payload).to_bytes(_LENGTH, "big") + payload


class Decoder:
    """The other side: bytes go in as they come, payloads come out whole and in order.

    Error(DENIED) is raised for what is no stream of frames, and for a payload of more than
    `frame_bytes`.
    """

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._held = bytearray()
        self.ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are whole now."""
        self._held += data
        while True:
            payload = self._next()
            if payload is None:
                return
            yield payload

    def finish(self) -> None:
        """Nothing more comes. Raises unless the stream is whole."""
        if not self.ended:
            raise cut()

    def _next(self) -> bytes | None:
        held = self._held
        if self.ended:
            if held:
                raise denied("something follows the end of a stream")
            return None
        if len(held) < _LENGTH:
            return None
        length = int.from_bytes(held[:_LENGTH], "big")
        if length > self._frame_bytes:
            raise denied(f"a frame holds at most {self._frame_bytes} bytes, not {length}")
        end = _LENGTH + length
        if len(held) < end:
            return None
        payload = bytes(held[_LENGTH:end])
        del held[:end]
        if not length:
            self.ended = True
            return self._next()
        return payload


class Framed:
    """The bytes of a stream of payloads: `first`, then `rest`, then the end.

    Closing it closes `rest`, whether or not a byte of it was asked for.
    """

    def __init__(
        self, first: Iterable[bytes] = (), rest: AsyncIterator[bytes] | None = None
    ) -> None:
        self._first = iter(first)
        self._rest = rest
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        payload = await self._payload()
        if payload is not None:
            return frame(payload)
        self._ended = True
        return END

    async def _payload(self) -> bytes | None:
        for payload in self._first:
            return payload
        if self._rest is None:
            return None
        payload = b""
        while not payload:
            try:
                payload = await anext(self._rest)
            except StopAsyncIteration:
                return None
        return payload

    async def aclose(self) -> None:
        self._ended = True
        aclose = getattr(self._rest, "aclose", None)
        if aclose is not None:
            await aclose()


async def opened(
    chunks: AsyncIterator[bytes], frame_bytes: int = FRAME_BYTES
) -> AsyncIterator[bytes]:
    """The payloads of a stream. Raises Error: DENIED when wrong or too large, UNKNOWN_OUTCOME
    when cut.

    What carries it is read to its own end, so that the connection can be used again.
    """
    decoder = Decoder(frame_bytes)
    async for chunk in chunks:
        for payload in decoder.feed(chunk):
            yield payload
    decoder.finish()


def whole(payloads: Iterable[bytes]) -> bytes:
    """A short stream as one string of bytes."""
    return b"".join([*map(frame, payloads), END])


def pieces(data: bytes) -> Iterator[bytes]:
    """A long run of bytes as payloads of moderate size."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def cut() -> Error:
    return Error(Code.UNKNOWN_OUTCOME, "the stream ended before its end frame")
