"""Frames: payloads arrive complete and in order, or the stream is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cluster.transport.frames import (
    FRAME_BYTES,
    QUESTION_BYTES,
    Decoder,
    Framed,
    frame,
    opened,
    pieces,
    whole,
)
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

payloads = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


def read(data: bytes, step: int = 0) -> list[bytes]:
    decoder = Decoder()
    out: list[bytes] = []
    for start in range(0, len(data), step or max(1, len(data))):
        out += decoder.feed(data[start : start + step] if step else data)
    decoder.finish()
    return out


@given(payloads, st.integers(1, 50))
def test_payloads_are_the_same_for_any_split_of_the_bytes(sent, step):
    assert read(whole(sent), step) == sent


@given(payloads, st.data())
def test_truncated_stream_is_never_complete(sent, data):
    stream = whole(sent)
    short = stream[: data.draw(st.integers(0, len(stream) - 1))]
    decoder = Decoder()
    out = list(decoder.feed(short))
    assert out == sent[: len(out)]
    with pytest.raises(Error) as caught:
        decoder.finish()
    assert caught.value.code is Code.UNKNOWN_OUTCOME


def test_bytes_after_the_end_are_refused():
    with pytest.raises(Error, match="follows the end"):
        read(whole([b"a"]) + b"x")


def test_length_above_the_limit_is_refused_before_its_payload():
    with pytest.raises(Error, match="at most"):
        read((FRAME_BYTES + 1).to_bytes(4, "big"))


async def test_frame_of_a_caller_has_a_lower_limit():
    async def chunks():
        yield (QUESTION_BYTES + 1).to_bytes(4, "big")

    with pytest.raises(Error, match="a frame holds at most 1048576 bytes"):
        [_ async for _ in opened(chunks(), QUESTION_BYTES)]


def test_payload_outside_the_limits_raises_value_error():
    for payload in (b"", bytes(FRAME_BYTES + 1)):
        with pytest.raises(ValueError, match="a frame holds"):
            frame(payload)


def test_long_body_is_split_into_pieces():
    data = bytes(range(256)) * 1000
    assert b"".join(pieces(data)) == data
    assert max(map(len, pieces(data))) <= 65_536
    assert list(pieces(b"")) == []


class Source:
    """Payloads that say when they are closed, also before the first was taken."""

    def __init__(self, *payloads: bytes) -> None:
        self.payloads = list(payloads)
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.payloads:
            raise StopAsyncIteration
        return self.payloads.pop(0)

    async def aclose(self) -> None:
        self.closed = True


async def collect(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [each async for each in stream]


async def test_framed_payloads_are_read_back_without_empty_ones():
    framed = Framed([b"first"], Source(b"", b"a", b"", b"b"))
    assert await collect(opened(framed)) == [b"first", b"a", b"b"]
    assert await collect(opened(Framed())) == []


async def test_closing_an_unread_framed_source_closes_its_rest():
    source = Source(b"a")
    framed = Framed((), source)
    await framed.aclose()
    assert source.closed
    assert await collect(framed) == []


async def test_failed_source_is_not_taken_for_complete():
    async def cut() -> AsyncIterator[bytes]:
        yield whole([b"a", b"b"])[:-1]

    with pytest.raises(Error):
        await collect(opened(cut()))
