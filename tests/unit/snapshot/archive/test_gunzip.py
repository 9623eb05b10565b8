"""The compressed stream: of other programs, damaged in every place, and too large."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib

import pytest
from tests.support.archive_parts import (
    RECORDS,
    UNREAD,
    flips,
    header,
    outcome,
    records_in,
    refusal,
    written,
)

from bellcow.errors import Code, Error
from bellcow.snapshot import archive
from bellcow.snapshot.archive import PREFIX, Limit


def test_damaged_compression_is_refused():
    packed = bytearray(written())
    packed[10] = 0x07  # a type of block that does not exist
    expected = UNREAD + "failed reading snapshot: flate: corrupt input"
    assert refusal(bytes(packed)) == (Code.REFUSED, expected)


def test_gzip_of_another_program_is_read():
    named = io.BytesIO()
    with gzip.GzipFile("snap.tar", "wb", 9, named, mtime=5) as out:
        out.write(gzip.decompress(written()))
    assert records_in(named.getvalue()) == RECORDS
    deflated = named.getvalue()[10 + len("snap.tar\0") :]
    full = b"\x1f\x8b\x08\x1f" + bytes(6) + b"\2\0xx" + b"name\0" + b"comment\0" + b"cc" + deflated
    assert records_in(full) == RECORDS
    for cut in range(len(full) - len(deflated)):
        assert refusal(full[:cut])[1].startswith("failed to decompress snapshot: ")


def test_archive_cut_at_every_byte_is_refused():
    packed = written()
    for cut in range(len(packed)):
        assert refusal(packed[:cut])[0] is Code.REFUSED


def unnoticed_among(packs):
    """How much damage was not noticed; all of that must be harmless."""
    whole = outcome(written())
    outcomes = [outcome(packed) for packed in packs]
    assert all(each in (Code.REFUSED, Code.TOO_LARGE, whole) for each in outcomes)
    return outcomes.count(whole)


def test_flipped_bit_anywhere_is_refused_or_harmless():
    packed = written()
    # Nobody reads the time and system in the gzip's header, and some codes that it never uses.
    assert 0 < unnoticed_among(flips(packed, 1)) < len(packed) * 8 // 50


def test_flipped_bit_in_the_tar_is_refused_or_harmless():
    raw = gzip.decompress(written())
    packs = [gzip.compress(damaged, 0) for damaged in flips(raw, 13)]
    assert unnoticed_among(packs) < len(packs)


def test_bomb_is_stopped_at_the_limit_and_takes_little_memory():
    deflate = zlib.compressobj(9, wbits=31)
    packed = deflate.compress(header("state.bin", 100 << 20))
    packed += b"".join(deflate.compress(bytes(1 << 20)) for _ in range(100)) + deflate.flush()
    assert len(packed) < 200_000
    spool = io.BytesIO()
    tracemalloc.start()
    with pytest.raises(Error) as caught:
        archive.read(io.BytesIO(packed), spool, Limit(20 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code is Code.TOO_LARGE
    assert caught.value.message == PREFIX + "unpacked it is larger than the limit of 20971520 bytes"
    assert peak < 2 << 20
    assert spool.tell() == 0


def test_zeros_behind_the_tar_count_towards_the_limit():
    packed = gzip.compress(gzip.decompress(written()) + bytes(30 << 20), 9)
    tracemalloc.start()
    assert refusal(packed, limit=Limit(20 << 20))[0] is Code.TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20
    assert records_in(packed, limit=Limit(40 << 20)) == RECORDS
