"""Frames: a sequence of messages in one HTTP body, in which a truncation shows.

A frame is a length of four bytes, big endian, and a payload. An empty frame ends the stream;
without it the stream is incomplete. `Decoder` does no I/O. Integrity is up to TLS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

FRAME_BYTES = 16 << 20  # the largest payload of an answer
QUESTION_BYTES = 1 << 20  # the largest payload of a caller, which may not be authenticated yet
PIECE_BYTES = 64 << 10  # longer bodies are split into payloads of this size
_LENGTH = 4
END = bytes(_LENGTH)


def frame(payload: bytes) -> bytes:
    """The frame of a payload.

    Raises:
        ValueError: it is empty, which would be the end, or too large.
    """
    if not 0 < len(payload) <= FRAME_BYTES:
        raise ValueError(f"a frame holds 1 to {FRAME_BYTES} bytes, not {len(payload)}")
    return len(payload).to_bytes(_LENGTH, "big") + payload


class Decoder:
    """Splits the bytes of a stream into payloads of at most `frame_bytes`."""

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._held = bytearray()
        self.ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are complete with `data`.

        Raises:
            denied: a payload is too large, or follows the end frame.
        """
        self._held += data
        while True:
            payload = self._next()
            if payload is None:
                return
            yield payload

    def finish(self) -> None:
        """Check that the end frame has arrived.

        Raises:
            Error: UNKNOWN_OUTCOME, it has not.
        """  # noqa: DOC501  made by `cut`
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
    """The frames of `first`, then of `rest`, then the end frame.

    Closing it closes `rest`, even before its first payload was read.
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
    """The payloads of a stream.

    `chunks` are read to their end, so that the connection can be reused.

    Raises:
        Error: DENIED, it is malformed or a payload too large; UNKNOWN_OUTCOME, it is truncated.
    """
    decoder = Decoder(frame_bytes)
    async for chunk in chunks:
        for payload in decoder.feed(chunk):
            yield payload
    decoder.finish()


def whole(payloads: Iterable[bytes]) -> bytes:
    """A complete stream of these payloads."""
    return b"".join([*map(frame, payloads), END])


def pieces(data: bytes) -> Iterator[bytes]:
    """Split bytes into payloads of at most `PIECE_BYTES`."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def cut() -> Error:
    """The error for a truncated stream."""
    return Error(Code.UNKNOWN_OUTCOME, "the stream ended before its end frame")
