"""Frames: how messages travel one after the other in one HTTP body, and how a cut one shows.

A frame is its length, its payload and, where the servers share a key, a seal over everything the
stream has carried so far. A stream is whole only when its end frame has come. `Encoder` and
`Decoder` hold the rules and do no I/O; what is in a frame is not known here.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Self

from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

FRAME_BYTES = 16 << 20  # the largest payload of an answer
QUESTION_BYTES = 1 << 20  # the largest payload from a caller, who may not be known yet
PIECE_BYTES = 64 << 10  # what a longer run of bytes is cut into
QUESTION, ANSWER = "question", "answer"  # the two directions of one request
_LENGTH = 4
_SEAL = 32


class Encoder:
    """One direction of one stream. An empty key seals nothing."""

    def __init__(self, key: bytes = b"") -> None:
        self._mac = _begun(key)

    def frame(self, payload: bytes) -> bytes:
        """The frame of a payload, which may not be empty: that is how the end looks."""
        if not 0 < len(payload) <= FRAME_BYTES:
            raise ValueError(f"a frame holds 1 to {FRAME_BYTES} bytes, not {len(payload)}")
        return self._sealed(payload)

    def end(self) -> bytes:
        return self._sealed(b"")

    def _sealed(self, payload: bytes) -> bytes:
        length = len(payload).to_bytes(_LENGTH, "big")
        if self._mac is None:
            return length + payload
        return length + payload + _seal(self._mac, length, payload)


class Decoder:
    """The other side. Give it all keys that the sender may hold; the first frame tells which.

    Bytes go in as they come, payloads come out whole and in order, or Error(DENIED) is raised, also
    for a payload of more than `frame_bytes`.
    """

    def __init__(self, keys: Sequence[bytes] = (), frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._macs = [_begun(key) for key in keys or (b"",)]
        self._seal_bytes = _SEAL if self._macs[0] is not None else 0
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
        end = _LENGTH + length + self._seal_bytes
        if len(held) < end:
            return None
        payload = bytes(held[_LENGTH : _LENGTH + length])
        if self._seal_bytes:
            self._check(bytes(held[:_LENGTH]), payload, bytes(held[_LENGTH + length : end]))
        del held[:end]
        if not length:
            self.ended = True
            return self._next()
        return payload

    def _check(self, length: bytes, payload: bytes, seal: bytes) -> None:
        self._macs = [
            mac
            for mac in self._macs
            if mac is not None and hmac.compare_digest(_seal(mac, length, payload), seal)
        ]
        if not self._macs:
            raise denied("a frame is not sealed with our key, or is not the one that follows")


class Sealed:
    """The bytes of a stream of payloads: `first`, then `rest`, then the end.

    Closing it closes `rest`, whether or not a byte of it was asked for.
    """

    def __init__(
        self,
        key: bytes,
        first: Iterable[bytes] = (),
        rest: AsyncIterator[bytes] | None = None,
    ) -> None:
        self._encoder = Encoder(key)
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
            return self._encoder.frame(payload)
        self._ended = True
        return self._encoder.end()

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
    chunks: AsyncIterator[bytes], keys: Sequence[bytes], frame_bytes: int = FRAME_BYTES
) -> AsyncIterator[bytes]:
    """The payloads of a stream. Raises Error: DENIED when forged or too large, UNKNOWN_OUTCOME
    when cut.

    What carries it is read to its own end, so that the connection can be used again.
    """
    decoder = Decoder(keys, frame_bytes)
    async for chunk in chunks:
        for payload in decoder.feed(chunk):
            yield payload
    decoder.finish()


def whole(key: bytes, payloads: Iterable[bytes]) -> bytes:
    """A short stream as one string of bytes."""
    encoder = Encoder(key)
    return b"".join([*map(encoder.frame, payloads), encoder.end()])


def pieces(data: bytes) -> Iterator[bytes]:
    """A long run of bytes as payloads of moderate size."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def cut() -> Error:
    return Error(Code.UNKNOWN_OUTCOME, "the stream ended before its end frame")


def _begun(key: bytes) -> hmac.HMAC | None:
    return hmac.new(key, digestmod="sha256") if key else None


def _seal(mac: hmac.HMAC, length: bytes, payload: bytes) -> bytes:
    """The seal of the next frame; it goes over all frames before it too."""
    mac.update(length)
    mac.update(payload)
    return mac.copy().digest()
