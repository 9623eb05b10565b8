"""Write an archive: the records into a spool first, since their size precedes them in the tar."""

from __future__ import annotations

import base64
import hashlib
import tarfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import bellcow
from bellcow import wire
from bellcow.gocompat.duration import NS_PER_S
from bellcow.snapshot.archive.model import (
    BLOCK_BYTES,
    FORMAT,
    MAGIC,
    META_NAME,
    PIECE_BYTES,
    STATE_NAME,
    SUMS_NAME,
    Header,
    Meta,
    Origin,
    Peers,
    Record,
    Trailer,
    Written,
)
from bellcow.snapshot.archive.state import END, frame, spool_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def write(out: BinaryIO, origin: Origin, records: Iterable[Record], spool: BinaryIO) -> Written:
    """Write an archive of `records` to `out`. `spool` is an empty file.

    Raises:
        OSError: a file cannot be written.
    """
    counts = spool_records(records, spool)
    header = Header(
        format=FORMAT,
        version=bellcow.__version__,
        cluster_id=origin.cluster_id,
        region=origin.region,
        index=origin.index,
        wall_ns=origin.wall_ns,
        counts=counts,
    )
    start = MAGIC + frame(header)
    end = END + frame(Trailer(counts=counts))
    size = len(start) + spool.tell() + len(end)
    spool.seek(0)
    tar = _TarGzip(out, origin.wall_ns // NS_PER_S)
    meta = wire.to_json(_meta(origin, size)) + b"\n"
    sums = {
        META_NAME: tar.add(META_NAME, len(meta), [meta]),
        STATE_NAME: tar.add(STATE_NAME, size, _joined(start, spool, end)),
    }
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    tar.add(SUMS_NAME, len(lines), [lines])
    return tar.finish()


def _meta(origin: Origin, size: int) -> Meta:
    voters = [peer.address for peer in origin.servers if peer.suffrage == 0]
    return Meta(
        id=f"{origin.term}-{origin.index}-{origin.wall_ns // 1_000_000}",
        index=origin.index,
        term=origin.term,
        peers=base64.b64encode(wire.to_msgpack(voters)).decode(),
        configuration=Peers(servers=origin.servers),
        configuration_index=origin.configuration_index,
        size=size,
    )


def _joined(start: bytes, middle: BinaryIO, end: bytes) -> Iterator[bytes]:
    yield start
    while piece := middle.read(PIECE_BYTES):
        yield piece
    yield end


class _TarGzip:
    """Writes tar members as gzip to a file, and digests that file."""

    def __init__(self, out: BinaryIO, time_s: int) -> None:
        self._out = out
        self._time_s = time_s
        self._deflate = _compressor()
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, name: str, size: int, pieces: Iterable[bytes]) -> str:
        """Write one member; returns its SHA-256 in hex."""
        member = tarfile.TarInfo(name)
        member.mode, member.size, member.mtime = 0o600, size, self._time_s
        self._put(self._deflate.compress(member.tobuf(tarfile.USTAR_FORMAT)))
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
            self._put(self._deflate.compress(piece))
        self._put(self._deflate.compress(bytes(-size % BLOCK_BYTES)))
        return digest.hexdigest()

    def finish(self) -> Written:
        # Nomad: exactly two closing blocks; its reader refuses the padding that tar writers add.
        self._put(self._deflate.compress(bytes(2 * BLOCK_BYTES)) + self._deflate.flush())
        return Written(size=self._size, sha256=self._digest.digest())

    def _put(self, packed: bytes) -> None:
        self._digest.update(packed)
        self._size += len(packed)
        self._out.write(packed)


def _compressor() -> Any:
    """Level 1, with a gzip header without name and time. isal is six times as fast as zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(level=1, wbits=31)
    return isal_zlib.compressobj(level=1, wbits=31)
