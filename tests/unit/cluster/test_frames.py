"""Frames: what was sent comes out whole and in order, and nothing else ever does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.cluster.frames import (
    FRAME_BYTES,
    QUESTION_BYTES,
    Decoder,
    Encoder,
    Sealed,
    opened,
    pieces,
    whole,
)
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

KEY, OTHER = b"k" * 32, b"o" * 32

payloads = st.lists(st.binary(min_size=1, max_size=60), max_size=6)
keys = st.sampled_from([b"", KEY])


def read(data: bytes, keys: tuple[bytes, ...] = (), step: int = 0) -> list[bytes]:
    decoder = Decoder(keys)
    out: list[bytes] = []
    for start in range(0, len(data), step or max(1, len(data))):
        out += decoder.feed(data[start : start + step] if step else data)
    decoder.finish()
    return out


@given(payloads, keys, st.integers(1, 50))
def test_what_goes_in_comes_out_however_it_is_cut_up(sent, key, step):
    assert read(whole(key, sent), (key,), step) == sent


@given(payloads, keys, st.data())
def test_stream_that_is_cut_anywhere_is_never_whole(sent, key, data):
    stream = whole(key, sent)
    short = stream[: data.draw(st.integers(0, len(stream) - 1))]
    decoder = Decoder((key,))
    out = list(decoder.feed(short))
    assert out == sent[: len(out)]
    with pytest.raises(Error) as caught:
        decoder.finish()
    assert caught.value.code is Code.UNKNOWN_OUTCOME


def take(decoder: Decoder, data: bytes, out: list[bytes]) -> None:
    """Read to the end, leaving in `out` what came before a refusal."""
    for payload in decoder.feed(data):
        out += [payload]
    decoder.finish()


@given(payloads, st.data())
def test_sealed_stream_with_one_bit_changed_is_refused(sent, data):
    stream = bytearray(whole(KEY, sent))
    bit = data.draw(st.integers(0, 8 * len(stream) - 1))
    stream[bit // 8] ^= 1 << bit % 8
    decoder = Decoder((KEY,))
    out: list[bytes] = []
    with pytest.raises(Error):
        take(decoder, bytes(stream), out)
    assert out == sent[: len(out)]


def frames(key: bytes, sent: Iterable[bytes]) -> list[bytes]:
    encoder = Encoder(key)
    return [*map(encoder.frame, sent), encoder.end()]


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5), st.data())
def test_frames_in_another_order_doubled_or_dropped_are_refused(sent, data):
    parts = frames(KEY, sent)
    where = data.draw(st.integers(0, len(parts) - 1))
    other = data.draw(st.integers(0, len(parts) - 1))
    changed = {
        "dropped": parts[:where] + parts[where + 1 :],
        "doubled": parts[: where + 1] + parts[where:],
        "swapped": [parts[{where: other, other: where}.get(at, at)] for at in range(len(parts))],
    }[data.draw(st.sampled_from(["dropped", "doubled", "swapped"]))]
    if changed == parts:
        return
    with pytest.raises(Error):
        read(b"".join(changed), (KEY,))


def test_stream_sealed_with_another_key_is_refused():
    for keys in ((OTHER,), (OTHER, b"x" * 32)):
        with pytest.raises(Error, match="not sealed with our key") as caught:
            read(whole(KEY, [b"a"]), keys)
        assert caught.value.code is Code.DENIED


def test_any_of_several_keys_opens_a_stream_and_one_key_all_of_it():
    assert read(whole(KEY, [b"a", b"b"]), (OTHER, KEY)) == [b"a", b"b"]
    mixed = frames(KEY, [b"a", b"b"])[:1] + frames(OTHER, [b"a", b"b"])[1:]
    with pytest.raises(Error):
        read(b"".join(mixed), (OTHER, KEY))


def test_bytes_after_the_end_are_refused():
    for key in (b"", KEY):
        with pytest.raises(Error, match="follows the end"):
            read(whole(key, [b"a"]) + b"x", (key,))


def test_length_above_the_limit_is_refused_before_its_payload_comes():
    with pytest.raises(Error, match="at most"):
        read((FRAME_BYTES + 1).to_bytes(4, "big"))


def test_frame_of_a_caller_is_bounded_more_narrowly():
    async def test() -> None:
        async def chunks():
            yield (QUESTION_BYTES + 1).to_bytes(4, "big")

        with pytest.raises(Error, match="a frame holds at most 1048576 bytes"):
            [_ async for _ in opened(chunks(), (), QUESTION_BYTES)]

    asyncio.run(test())


def test_payload_that_no_frame_holds_is_an_error_of_ours():
    for payload in (b"", bytes(FRAME_BYTES + 1)):
        with pytest.raises(ValueError, match="a frame holds"):
            Encoder().frame(payload)


def test_long_run_of_bytes_is_cut_into_pieces():
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


def test_sealed_source_can_be_opened_again_empty_payloads_left_out():
    async def test() -> None:
        sealed = Sealed(KEY, [b"first"], Source(b"", b"a", b"", b"b"))
        assert await collect(opened(sealed, (KEY,))) == [b"first", b"a", b"b"]
        assert await collect(opened(Sealed(b""), ())) == []

    asyncio.run(test())


def test_closing_a_sealed_source_that_never_began_closes_what_is_behind_it():
    async def test() -> None:
        source = Source(b"a")
        sealed = Sealed(b"", (), source)
        await sealed.aclose()
        assert source.closed
        assert await collect(sealed) == []

    asyncio.run(test())


def test_source_that_ends_early_is_not_taken_for_whole():
    async def test() -> None:
        async def cut() -> AsyncIterator[bytes]:
            yield whole(KEY, [b"a", b"b"])[:-1]

        with pytest.raises(Error):
            await collect(opened(cut(), (KEY,)))

    asyncio.run(test())
