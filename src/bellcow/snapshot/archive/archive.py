"""The snapshot archive: a gzip of a tar of `meta.json`, `state.bin` and `SHA256SUMS`.

The envelope and the words of its refusals are Nomad's; what stands in `state.bin` is ours. File
objects in, file objects out: where they live, what an object means and who may restore one is not
known here. Nothing is ever unpacked to a path that the archive names.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import itertools
import re
import tarfile
import tempfile
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, NoReturn, TypeAlias

import msgspec

import bellcow
from bellcow import wire
from bellcow.errors import Code, Error
from bellcow.gocompat.quote import go_quote
from bellcow.model.bounds import ARCHIVE_INDEX_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    Check: TypeAlias = Callable[["Record"], None]

PREFIX: Final = "failed to restore from snapshot: "
"""Stands before every refusal of `read` and of the records of what it returns, not of `inspect`."""

RAFT: Final = "Raft error when restoring snapshot: "
"""Stands before every refusal of a state in a sound envelope."""

Record: TypeAlias = tuple[str, str, bytes]
"""Table, id and value of one object; the value is its MessagePack."""

MAGIC: Final = (
    b"\xc1bellcow\n"  # no MessagePack begins with C1, so Nomad cannot take it for its own
)
FORMAT: Final = 1  # of state.bin
META_VERSION: Final = 1_000
"""Of `meta.json`, as long as `state.bin` is in our own form.

Nomad: it takes the versions 0 and 1, refuses any other in words, and ends when the state in an
archive of version 1 is not its own. 1,000 is far from the next versions that it may come to read.
Archives in Nomad's own form will be version 1 again, with our own data under `Bellcow` in it.
"""
READ_VERSIONS: Final = frozenset({0, 1, META_VERSION})  # 1: earlier archives of ours
LARGEST: Final = 10

_META, _STATE, _SUMS = "meta.json", "state.bin", "SHA256SUMS"
_BLOCK = tarfile.BLOCKSIZE
_PIECE_BYTES = 256 << 10  # what is in memory at a time
_SMALL_BYTES = 1 << 20  # the most that meta.json or SHA256SUMS may hold
_FRAME_OBJECTS = 64  # in one frame: at the store's limit for an object these are 32 MiB
_FRAME_BYTES_MAX = 64 << 20
_END = bytes(4)  # an empty frame, before the trailer
_UNREAD = "failed to read snapshot file: "
_UNSOUND = f"{_UNREAD}failed checking integrity of snapshot: "

_Index = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Peer(wire.Wire, frozen=True, kw_only=True):
    """One server of the configuration at the time of the save."""

    suffrage: int = 0  # 0 voter, 1 non-voter, 2 on its way to voter
    id: str = ""
    address: str = ""


class Peers(wire.Wire, frozen=True, kw_only=True):
    """The configuration at the time of the save."""

    servers: tuple[Peer, ...] = ()


class Meta(wire.Wire, frozen=True, kw_only=True):
    """`meta.json`, in the order in which it is written."""

    version: _Index = META_VERSION
    id: str = ""  # TERM-INDEX-UNIXMILLISECONDS
    index: _Index = 0
    term: _Index = 0
    peers: str = ""  # Nomad: an old form of the list of voters, which its reader still expects
    configuration: Peers = Peers()
    configuration_index: _Index = 0
    size: _Index = 0  # of state.bin


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive says about where and when it was taken."""

    index: int
    term: int
    wall_ns: int
    cluster_id: str = ""
    region: str = ""
    servers: tuple[Peer, ...] = ()
    configuration_index: int = 0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of state.bin. An archive of Nomad has none."""

    format: int
    version: str = ""  # of the bellcow that wrote it
    cluster_id: str = ""
    region: str = ""
    index: _Index = 0
    wall_ns: int = 0
    counts: dict[str, int] = {}


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """The last frame of state.bin: an end that was meant."""

    counts: dict[str, int]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The archive that was written: its size and digest as a file."""

    size: int
    sha256: bytes


class Limit(msgspec.Struct, frozen=True):
    """What may be unpacked from one archive."""

    unpacked_bytes: int


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An archive whose envelope is sound. The records are checked while they are read."""

    meta: Meta
    header: Header
    skipped: frozenset[str]  # tables that are left out because nobody knows them
    spool: Any  # the file that holds state.bin

    def records(self) -> Iterator[Record]:
        """Every object, from the first again on each call; Error where the state is broken."""
        try:
            for chunk in _chunks(self.spool, self.header):
                yield from (record for record in chunk if record[0] not in self.skipped)
        except Error as error:
            raise Error(error.code, PREFIX + error.message) from None


def origin_of(archive: Archive) -> Origin:
    """Where and when an archive was taken, to write another of the same moment."""
    return Origin(
        index=archive.meta.index,
        term=archive.meta.term,
        wall_ns=archive.header.wall_ns,
        cluster_id=archive.header.cluster_id,
        region=archive.header.region,
        servers=archive.meta.configuration.servers,
        configuration_index=archive.meta.configuration_index,
    )


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds, for people."""

    id: str
    size: int
    index: int
    term: int
    version: int
    created_ns: int  # 0 when the id does not say
    writer: str  # bellcow's version; "" for an archive of Nomad, whose state is not looked into
    cluster_id: str
    region: str
    stats: tuple[tuple[str, int, int], ...]  # table, objects, bytes; the largest first
    largest: tuple[tuple[str, str, int], ...]  # table, id, bytes


def limit_for(upload_bytes: int, free_bytes: int) -> Limit:
    """The limit for an upload of this size onto a disk with this much room."""
    return Limit(min(max(20 * upload_bytes, 64 << 20), free_bytes * 9 // 10))


# Writing.


def write(out: BinaryIO, origin: Origin, records: Iterable[Record], spool: BinaryIO) -> Written:
    """Write an archive. `spool` is an empty file for the records: their size stands before them."""
    counts = _spool_records(records, spool)
    header = Header(
        format=FORMAT,
        version=bellcow.__version__,
        cluster_id=origin.cluster_id,
        region=origin.region,
        index=origin.index,
        wall_ns=origin.wall_ns,
        counts=counts,
    )
    start = MAGIC + _frame(header)
    end = _END + _frame(Trailer(counts=counts))
    size = len(start) + spool.tell() + len(end)
    spool.seek(0)
    tar = _TarGzip(out, origin.wall_ns // wire.NS_PER_S)
    meta = wire.to_json(_meta(origin, size)) + b"\n"
    sums = {
        _META: tar.add(_META, len(meta), [meta]),
        _STATE: tar.add(_STATE, size, _joined(start, spool, end)),
    }
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    tar.add(_SUMS, len(lines), [lines])
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


def _spool_records(records: Iterable[Record], spool: BinaryIO) -> dict[str, int]:
    """Write the records in frames; returns how many there are of each table."""
    counts: Counter[str] = Counter()
    left = iter(records)
    while chunk := list(itertools.islice(left, _FRAME_OBJECTS)):
        counts.update([table for table, _, _ in chunk])
        spool.write(_frame(chunk))
    return dict(counts)


_encoder = msgspec.msgpack.Encoder()


def _frame(content: object) -> bytes:
    body = _encoder.encode(content)
    return len(body).to_bytes(4, "big") + body


def _joined(start: bytes, middle: BinaryIO, end: bytes) -> Iterator[bytes]:
    yield start
    while piece := middle.read(_PIECE_BYTES):
        yield piece
    yield end


class _TarGzip:
    """Tar members into gzip into a file, with the digest of that file."""

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
        self._put(self._deflate.compress(bytes(-size % _BLOCK)))
        return digest.hexdigest()

    def finish(self) -> Written:
        # Nomad: exactly two closing blocks; its reader refuses the padding that tar writers add.
        self._put(self._deflate.compress(bytes(2 * _BLOCK)) + self._deflate.flush())
        return Written(size=self._size, sha256=self._digest.digest())

    def _put(self, packed: bytes) -> None:
        self._digest.update(packed)
        self._size += len(packed)
        self._out.write(packed)


def _compressor() -> Any:
    """Level 1, with a gzip header that holds neither name nor time; isal is six times as fast."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(level=1, wbits=31)
    return isal_zlib.compressobj(level=1, wbits=31)


# Reading.


def read(
    source: BinaryIO,
    spool: BinaryIO,
    limit: Limit,
    known: Collection[str] | None = None,
    *,
    skip_unknown: bool = False,
) -> Archive:
    """Verify an archive and unpack its state into `spool`, an empty file.

    `known` are the tables of this program; others are refused, or left out with `skip_unknown`.
    Raises Error with REFUSED for a bad envelope, INVALID for a bad state in a sound one, TOO_LARGE.
    """
    try:
        meta = _unpack(source, spool, limit)
        header = _read_header(spool)
        unknown = frozenset(header.counts) - frozenset(header.counts if known is None else known)
        if unknown and not skip_unknown:
            _broken(
                f"bellcow {_cut(header.version)} wrote it, and bellcow {bellcow.__version__} does"
                f" not know these types of object in it: {_listed(unknown)}"
            )
    except Error as error:
        raise Error(error.code, PREFIX + error.message) from None
    return Archive(meta=meta, header=header, skipped=unknown, spool=spool)


def inspect(source: BinaryIO, check: Callable[[Meta], Check] | None = None) -> Info:
    """Verify a seekable archive to its last object and count. Errors come without `PREFIX`.

    `check` gives what looks at each record, and raises where a restore would be refused.
    """
    size = source.seek(0, 2)
    source.seek(0)
    with tempfile.SpooledTemporaryFile(max_size=16 << 20) as file:
        spool: Any = file
        meta = _unpack(source, spool, Limit(max(20 * size, 64 << 20)))
        spool.seek(0)
        # Nomad: its own program inspects any sound envelope, so an archive of Nomad is shown too.
        header = Header(format=0) if spool.read(len(MAGIC)) != MAGIC else _read_header(spool)
        chunks = _chunks(spool, header) if header.format else iter(())
        stats, largest = _count(_looked_at(chunks, check(meta)) if check else chunks)
    created_ms = meta.id.rpartition("-")[2]
    return Info(
        id=meta.id,
        size=meta.size,
        index=meta.index,
        term=meta.term,
        version=meta.version,
        created_ns=int(created_ms) * 1_000_000 if re.fullmatch(r"[0-9]{1,15}", created_ms) else 0,
        writer=header.version,
        cluster_id=header.cluster_id,
        region=header.region,
        stats=stats,
        largest=largest,
    )


def _looked_at(chunks: Iterable[_Chunk], check: Check) -> Iterator[_Chunk]:
    for chunk in chunks:
        for record in chunk:
            check(record)
        yield chunk


def _count(
    chunks: Iterable[_Chunk],
) -> tuple[tuple[tuple[str, int, int], ...], tuple[tuple[str, str, int], ...]]:
    """Objects and bytes of each table, and the largest objects; by falling size."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    largest: list[tuple[int, str, str]] = []
    for chunk in chunks:
        sizes = [(len(value), table, name) for table, name, value in chunk]
        for size, table, _ in sizes:
            counts[table] += 1
            totals[table] += size
        largest = heapq.nlargest(LARGEST, [*largest, *sizes])
    stats = tuple((table, counts[table], size) for table, size in totals.most_common())
    return stats, tuple((table, name, size) for size, table, name in largest)


# The state.


def _broken(reason: str) -> NoReturn:
    raise Error(Code.INVALID, RAFT + reason)


def _cut(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "..."


def _listed(names: Collection[str]) -> str:
    shown = [_cut(name) for name in sorted(names)[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _take_frame(spool: BinaryIO) -> bytes | None:
    """The next frame, or None for the empty one that stands before the trailer."""
    prefix = spool.read(4)
    size = int.from_bytes(prefix, "big")
    if len(prefix) == 4 and size == 0:
        return None
    if size > _FRAME_BYTES_MAX:
        _broken(f"the state holds a frame of {size} bytes, at most {_FRAME_BYTES_MAX} are possible")
    body = spool.read(size)
    if len(prefix) < 4 or len(body) < size:
        _broken("the state ends early")
    return body


_Chunk: TypeAlias = list[Record]
_headers = msgspec.msgpack.Decoder(Header)
_trailers = msgspec.msgpack.Decoder(Trailer)
_chunk_decoder = msgspec.msgpack.Decoder(_Chunk)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _read_header(spool: BinaryIO) -> Header:
    spool.seek(0)
    if spool.read(len(MAGIC)) != MAGIC:
        _broken(
            "the state is not one of bellcow; a snapshot of Nomad itself cannot be restored, only"
            " one that bellcow saved"
        )
    try:
        header = _headers.decode(_take_frame(spool) or b"")
    except _UNREADABLE as error:
        _broken(f"the header of the state cannot be read: {error}")
    if not 0 < header.format <= FORMAT:
        _broken(
            f"bellcow {_cut(header.version)} wrote it in format {header.format}, and bellcow"
            f" {bellcow.__version__} knows formats up to {FORMAT}: restore it with that version"
        )
    return header


def _chunks(spool: BinaryIO, header: Header) -> Iterator[_Chunk]:
    """The frames of objects. Ends only where the writer ended."""
    spool.seek(len(MAGIC))
    _take_frame(spool)
    counts = Counter(dict.fromkeys(header.counts, 0))
    while (frame := _take_frame(spool)) is not None:
        try:
            chunk = _chunk_decoder.decode(frame)
        except _UNREADABLE as error:
            _broken(f"an object cannot be read: {error}")
        counts.update([table for table, _, _ in chunk])
        if len(counts) > len(header.counts):
            strange = _listed(counts.keys() - header.counts.keys())
            _broken(f"the state holds objects of a type that its header does not name: {strange}")
        yield chunk
    try:
        trailer = _trailers.decode(_take_frame(spool) or b"")
    except _UNREADABLE as error:
        _broken(f"the end of the state cannot be read: {error}")
    for table, count in counts.items():
        if not count == header.counts[table] == trailer.counts.get(table):
            _broken(
                f"the state holds {count} objects of type {_cut(table)!r}, and"
                f" {header.counts[table]} were written"
            )
    if spool.read(1):
        _broken("something follows the end of the state")


# The envelope. The texts are those of Nomad and of Go's packages, which clients show and match.


def _refuse(text: str) -> NoReturn:
    raise Error(Code.REFUSED, text)


def _unpack(source: BinaryIO, spool: BinaryIO, limit: Limit) -> Meta:
    """Verify the whole envelope; the state is in `spool` afterwards."""
    stream = _Gunzip(source, limit.unpacked_bytes)
    members = _Members()
    while (member := _next_member(stream)) is not None:
        members.take(stream, spool, *member)
    _check_sums(members.sums, members.digests)
    if (meta := members.meta) is None:
        _refuse(f"{_UNREAD}failed to decode snapshot metadata: unexpected end of JSON input")
    _check_end(stream)
    if meta.version not in READ_VERSIONS:
        _refuse(f"{RAFT}unsupported snapshot version {meta.version}")
    if meta.index > ARCHIVE_INDEX_MAX:
        _broken(f"meta.json: the index {meta.index} is above {ARCHIVE_INDEX_MAX}, as none is")
    if meta.size != members.state_size:
        _refuse(
            f"{RAFT}failed to write snapshot, size didn't match"
            f" ({members.state_size} != {meta.size})"
        )
    return meta


class _BadStreamError(Exception):
    """The compressed stream is cut or damaged; the text is Go's, the context is the caller's."""


class _Gunzip:
    """The unpacked bytes of the one gzip member that a file may hold."""

    def __init__(self, source: BinaryIO, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        try:
            self._skip_header()
        except _BadStreamError as error:
            _refuse(f"failed to decompress snapshot: {error}")

    def _skip_header(self) -> None:
        start = self._source.read(10)
        if not start:
            raise _BadStreamError("EOF")
        if len(start) < 10:
            raise _BadStreamError("unexpected EOF")
        if start[:3] != b"\x1f\x8b\x08":
            hint = ": the body must be the archive itself, not a form" if start[:2] == b"--" else ""
            raise _BadStreamError(f"gzip: invalid header{hint}")
        flags = start[3]
        if flags & 4:
            self._exactly(int.from_bytes(self._exactly(2), "little"))
        for text in (8, 16):  # a name, a comment
            if flags & text:
                self._skip_text()
        if flags & 2:
            self._exactly(2)

    def _skip_text(self) -> None:
        for _ in range(4_096):
            if self._exactly(1) == b"\0":
                return
        raise _BadStreamError("gzip: invalid header")

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise _BadStreamError("unexpected EOF")
        return data

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the clean end of the compressed data."""
        parts = []
        while size > 0 and (piece := self._piece(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def _piece(self, size: int) -> bytes:
        if self._inflate.eof:  # what is given to it now, it would take for bytes behind the end
            return b""
        piece = self._step(self._inflate.unconsumed_tail, size)
        while not piece and not self._inflate.eof:
            packed = self._source.read(_PIECE_BYTES)
            if not packed:
                raise _BadStreamError("unexpected EOF")
            piece = self._step(packed, size)
        self._size += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        self.check_room(0)
        return piece

    def _step(self, packed: bytes, size: int) -> bytes:
        try:
            return self._inflate.decompress(packed, size)
        except zlib.error as error:
            raise _BadStreamError("flate: corrupt input") from error

    def check_room(self, more_bytes: int) -> None:
        """Raises when `more_bytes` cannot come without breaking the limit."""
        if self._size + more_bytes > self._limit_bytes:
            raise Error(
                Code.TOO_LARGE, f"unpacked it is larger than the limit of {self._limit_bytes} bytes"
            )

    def finish(self) -> None:
        """Check the trailer, and that nothing follows it."""
        rest = self._inflate.unused_data
        rest += self._source.read(max(18 - len(rest), 0))
        if len(rest) < 8:
            raise _BadStreamError("unexpected EOF")
        expected = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        if rest[:8] != expected:
            raise _BadStreamError("gzip: invalid checksum")
        junk = rest[8:18]
        if junk:
            # Nomad: it looks for a second gzip member there, and so says what that lacks.
            raise _BadStreamError("unexpected EOF" if len(junk) < 10 else "gzip: invalid header")


class _Members:
    """What has been read of the three members."""

    def __init__(self) -> None:
        nothing = hashlib.sha256().hexdigest()
        self.digests = {_META: nothing, _STATE: nothing}
        self.meta: Meta | None = None
        self.sums = b""
        self.state_size = 0
        self._seen: set[str] = set()

    def take(self, stream: _Gunzip, spool: BinaryIO, name: str, size: int) -> None:
        if name in self._seen:
            _refuse(f'{_UNSOUND}hash check failed for "{name}"')
        self._seen.add(name)
        if name == _STATE:
            stream.check_room(size)
            self.state_size = size
            self.digests[_STATE] = _copy(stream, spool, size)
        elif name == _META:
            raw = _small(stream, name, size, "failed to read snapshot metadata")
            self.digests[_META] = hashlib.sha256(raw).hexdigest()
            self.meta = _decode_meta(raw)
        else:
            self.sums = _small(stream, name, size, "failed to read snapshot hashes")
        _exactly(stream, -size % _BLOCK, "failed reading snapshot")


def _exactly(stream: _Gunzip, size: int, context: str) -> bytes:
    try:
        data = stream.read(size)
    except _BadStreamError as error:
        _refuse(f"{_UNREAD}{context}: {error}")
    if len(data) < size:
        _refuse(f"{_UNREAD}{context}: unexpected EOF")
    return data


def _small(stream: _Gunzip, name: str, size: int, context: str) -> bytes:
    if size > _SMALL_BYTES:
        _refuse(f"{_UNREAD}{context}: {name} is larger than {_SMALL_BYTES} bytes")
    return _exactly(stream, size, context)


def _copy(stream: _Gunzip, spool: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size:
        piece = _exactly(stream, min(size, _PIECE_BYTES), "failed to read or write snapshot data")
        digest.update(piece)
        spool.write(piece)
        size -= len(piece)
    return digest.hexdigest()


def _decode_meta(raw: bytes) -> Meta:
    try:
        return msgspec.json.decode(raw, type=Meta)
    except _UNREADABLE as error:
        _refuse(f"{_UNREAD}failed to decode snapshot metadata: {error}")


def _next_member(stream: _Gunzip) -> tuple[str, int] | None:
    """Name and size of the next member; None at the end, with or without closing blocks."""
    zero = bytes(_BLOCK)
    block = _header_block(stream)
    if block == zero:
        block = _header_block(stream)
        if block == zero:
            return None
        if block is not None:
            _refuse(f"{_UNREAD}failed reading snapshot: archive/tar: invalid tar header")
    return None if block is None else _parse_header(block)


def _header_block(stream: _Gunzip) -> bytes | None:
    try:
        block = stream.read(_BLOCK)
    except _BadStreamError as error:
        _refuse(f"{_UNREAD}failed reading snapshot: {error}")
    if block and len(block) < _BLOCK:
        _refuse(f"{_UNREAD}failed reading snapshot: unexpected EOF")
    return block or None


def _parse_header(block: bytes) -> tuple[str, int]:
    size, written_sum = _octal(block[124:136]), _octal(block[148:156])
    if size is None or written_sum != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
        _refuse(f"{_UNREAD}failed reading snapshot: archive/tar: invalid tar header")
    name = block[:100].rstrip(b"\0")
    folder = block[345:500].rstrip(b"\0") if block[257:263] == b"ustar\0" else b""
    text = b"/".join(filter(None, (folder, name))).decode("utf-8", "replace")
    if text not in {_META, _STATE, _SUMS}:
        _refuse(f"{_UNREAD}unexpected file {go_quote(text)} in snapshot")
    if block[156:157] not in {b"0", b"\0"}:
        _refuse(f'{_UNREAD}failed reading snapshot: "{text}" is not a regular file')
    return text, size


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if re.fullmatch(rb"[0-7]*", digits) else None


def _check_sums(sums: bytes, digests: dict[str, str]) -> None:
    listed = set()
    for raw in sums.decode("utf-8", "replace").splitlines():
        match = re.match(r"([0-9a-fA-F]+) +(\S+)", raw)
        if match is None:
            _refuse(_UNSOUND + ("no hex data for %x string" if raw.strip() else "EOF"))
        digest, name = match.groups()
        if name not in digests:
            _refuse(f"{_UNSOUND}list missing hash for {go_quote(name, 100)}")
        if digest.lower() != digests[name]:
            _refuse(f'{_UNSOUND}hash check failed for "{name}"')
        listed.add(name)
    for name in digests:
        if name not in listed:
            _refuse(f'{_UNSOUND}file missing for "{name}"')


def _check_end(stream: _Gunzip) -> None:
    """Behind the tar's end only zeros may follow, which many tar writers add; then nothing."""
    count = 0
    clean = True
    try:
        while rest := stream.read(_PIECE_BYTES):
            count += len(rest)
            clean = clean and not rest.strip(b"\0")
        if not clean:
            _refuse(f"{count} unread uncompressed bytes remain")
        stream.finish()
    except _BadStreamError as error:
        _refuse(str(error))
