"""`state.bin`: the magic, then frames. Each is four bytes of size, big-endian, and MessagePack.

    header, objects ..., an empty frame, trailer

A frame of objects holds up to 64 of them. Header and trailer both count the objects of each table.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import msgspec

import bellcow
from bellcow.snapshot.archive.model import FORMAT, MAGIC, UNREADABLE, Header, Record, Trailer
from bellcow.snapshot.archive.refusals import broken, cut, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FRAME_OBJECTS = 64  # at the store's limit for an object these have 32 MiB
_FRAME_BYTES_MAX = 64 << 20
END = bytes(4)  # the empty frame before the trailer
Chunk: TypeAlias = list[Record]
_encoder = msgspec.msgpack.Encoder()
_headers = msgspec.msgpack.Decoder(Header)
_trailers = msgspec.msgpack.Decoder(Trailer)
_chunk_decoder = msgspec.msgpack.Decoder(Chunk)


def frame(content: object) -> bytes:
    body = _encoder.encode(content)
    return len(body).to_bytes(4, "big") + body


def spool_records(records: Iterable[Record], spool: BinaryIO) -> dict[str, int]:
    """Write the records in frames; returns the number of records of each table."""
    counts: Counter[str] = Counter()
    left = iter(records)
    while chunk := list(itertools.islice(left, _FRAME_OBJECTS)):
        counts.update([table for table, _, _ in chunk])
        spool.write(frame(chunk))
    return dict(counts)


def read_header(spool: BinaryIO) -> Header:
    """The header of the state in `spool`.

    Raises:
        invalid: it is malformed, or of a format that this version does not know.
    """
    spool.seek(0)
    if spool.read(len(MAGIC)) != MAGIC:
        broken(
            "the state is not one of bellcow; a snapshot of Nomad itself cannot be restored, only"
            " one that bellcow saved"
        )
    try:
        header = _headers.decode(_take_frame(spool) or b"")
    except UNREADABLE as error:
        broken(f"the header of the state cannot be read: {error}")
    if not 0 < header.format <= FORMAT:
        broken(
            f"bellcow {cut(header.version)} wrote it in format {header.format}, and bellcow"
            f" {bellcow.__version__} knows formats up to {FORMAT}: restore it with that version"
        )
    return header


def read_chunks(spool: BinaryIO, header: Header) -> Iterator[Chunk]:
    """The objects, a frame at a time.

    Raises:
        invalid: the state does not end where the writer ended it.
    """
    spool.seek(len(MAGIC))
    _take_frame(spool)
    counts = Counter(dict.fromkeys(header.counts, 0))
    while (body := _take_frame(spool)) is not None:
        try:
            chunk = _chunk_decoder.decode(body)
        except UNREADABLE as error:
            broken(f"an object cannot be read: {error}")
        counts.update([table for table, _, _ in chunk])
        if len(counts) > len(header.counts):
            strange = listed(counts.keys() - header.counts.keys())
            broken(f"the state holds objects of a type that its header does not name: {strange}")
        yield chunk
    try:
        trailer = _trailers.decode(_take_frame(spool) or b"")
    except UNREADABLE as error:
        broken(f"the end of the state cannot be read: {error}")
    for table, count in counts.items():
        if not count == header.counts[table] == trailer.counts.get(table):
            broken(
                f"the state holds {count} objects of type {cut(table)!r}, and"
                f" {header.counts[table]} were written"
            )
    if spool.read(1):
        broken("something follows the end of the state")


def _take_frame(spool: BinaryIO) -> bytes | None:
    """The next frame, or None for the empty one before the trailer.

    Raises:
        invalid: the state ends early, or the frame is too large.
    """
    prefix = spool.read(4)
    size = int.from_bytes(prefix, "big")
    if len(prefix) == 4 and size == 0:
        return None
    if size > _FRAME_BYTES_MAX:
        broken(f"the state holds a frame of {size} bytes, at most {_FRAME_BYTES_MAX} are possible")
    body = spool.read(size)
    if len(prefix) < 4 or len(body) < size:
        broken("the state ends early")
    return body
