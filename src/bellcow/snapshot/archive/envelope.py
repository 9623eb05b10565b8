"""The envelope, verified and unpacked: a gzip of a tar of three files.

The texts of its refusals are those of Nomad and of Go's packages, which clients show and match.
Python's `tarfile` would accept archives that Nomad refuses, and could unpack to paths that an
archive names: here only three names are accepted, and nothing is written but the spool.
"""

from __future__ import annotations

import hashlib
import re
from typing import BinaryIO

import msgspec

from bellcow.gocompat.quote import go_quote
from bellcow.model.bounds import ARCHIVE_INDEX_MAX
from bellcow.snapshot.archive.gunzip import BadStreamError, Gunzip
from bellcow.snapshot.archive.model import (
    BLOCK_BYTES,
    META_NAME,
    PIECE_BYTES,
    READ_VERSIONS,
    STATE_NAME,
    SUMS_NAME,
    UNREADABLE,
    Limit,
    Meta,
)
from bellcow.snapshot.archive.refusals import RAFT, broken, refuse

_SMALL_BYTES = 1 << 20  # limit of meta.json and of SHA256SUMS
_UNREAD = "failed to read snapshot file: "
_UNSOUND = f"{_UNREAD}failed checking integrity of snapshot: "


def unpack(source: BinaryIO, spool: BinaryIO, limit: Limit) -> Meta:
    """Verify the whole envelope and write the state to `spool`.

    Raises:
        refused: the envelope is malformed, or its checksums do not match.
        invalid: the index is one that no server can have.
        Error: TOO_LARGE, unpacked it is over the limit.
    """
    stream = _opened(source, limit)
    members = _Members()
    while (member := _next_member(stream)) is not None:
        members.take(stream, spool, *member)
    _check_sums(members.sums, members.digests)
    if (meta := members.meta) is None:
        refuse(f"{_UNREAD}failed to decode snapshot metadata: unexpected end of JSON input")
    _check_end(stream)
    if meta.version not in READ_VERSIONS:
        refuse(f"{RAFT}unsupported snapshot version {meta.version}")
    if meta.index > ARCHIVE_INDEX_MAX:
        broken(f"meta.json: the index {meta.index} is above {ARCHIVE_INDEX_MAX}, as none is")
    if meta.size != members.state_size:
        refuse(
            f"{RAFT}failed to write snapshot, size didn't match"
            f" ({members.state_size} != {meta.size})"
        )
    return meta


def _opened(source: BinaryIO, limit: Limit) -> Gunzip:
    try:
        return Gunzip(source, limit.unpacked_bytes)
    except BadStreamError as error:
        refuse(f"failed to decompress snapshot: {error}")


class _Members:
    """The three members, as far as they have been read."""

    def __init__(self) -> None:
        nothing = hashlib.sha256().hexdigest()
        self.digests = {META_NAME: nothing, STATE_NAME: nothing}
        self.meta: Meta | None = None
        self.sums = b""
        self.state_size = 0
        self._seen: set[str] = set()

    def take(self, stream: Gunzip, spool: BinaryIO, name: str, size: int) -> None:
        if name in self._seen:
            refuse(f'{_UNSOUND}hash check failed for "{name}"')
        self._seen.add(name)
        if name == STATE_NAME:
            stream.check_limit(size)
            self.state_size = size
            self.digests[STATE_NAME] = _copy(stream, spool, size)
        elif name == META_NAME:
            raw = _small(stream, name, size, "failed to read snapshot metadata")
            self.digests[META_NAME] = hashlib.sha256(raw).hexdigest()
            self.meta = _decode_meta(raw)
        else:
            self.sums = _small(stream, name, size, "failed to read snapshot hashes")
        _exactly(stream, -size % BLOCK_BYTES, "failed reading snapshot")


def _exactly(stream: Gunzip, size: int, context: str) -> bytes:
    try:
        data = stream.read(size)
    except BadStreamError as error:
        refuse(f"{_UNREAD}{context}: {error}")
    if len(data) < size:
        refuse(f"{_UNREAD}{context}: unexpected EOF")
    return data


def _small(stream: Gunzip, name: str, size: int, context: str) -> bytes:
    if size > _SMALL_BYTES:
        refuse(f"{_UNREAD}{context}: {name} is larger than {_SMALL_BYTES} bytes")
    return _exactly(stream, size, context)


def _copy(stream: Gunzip, spool: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size:
        piece = _exactly(stream, min(size, PIECE_BYTES), "failed to read or write snapshot data")
        digest.update(piece)
        spool.write(piece)
        size -= len(piece)
    return digest.hexdigest()


def _decode_meta(raw: bytes) -> Meta:
    try:
        return msgspec.json.decode(raw, type=Meta)
    except UNREADABLE as error:
        refuse(f"{_UNREAD}failed to decode snapshot metadata: {error}")


def _next_member(stream: Gunzip) -> tuple[str, int] | None:
    """Name and size of the next member; None at the end, with or without zero blocks."""
    zero = bytes(BLOCK_BYTES)
    block = _header_block(stream)
    if block == zero:
        block = _header_block(stream)
        if block == zero:
            return None
        if block is not None:
            refuse(f"{_UNREAD}failed reading snapshot: archive/tar: invalid tar header")
    return None if block is None else _parse_header(block)


def _header_block(stream: Gunzip) -> bytes | None:
    try:
        block = stream.read(BLOCK_BYTES)
    except BadStreamError as error:
        refuse(f"{_UNREAD}failed reading snapshot: {error}")
    if block and len(block) < BLOCK_BYTES:
        refuse(f"{_UNREAD}failed reading snapshot: unexpected EOF")
    return block or None


def _parse_header(block: bytes) -> tuple[str, int]:
    size, written_sum = _octal(block[124:136]), _octal(block[148:156])
    if size is None or written_sum != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
        refuse(f"{_UNREAD}failed reading snapshot: archive/tar: invalid tar header")
    name = block[:100].rstrip(b"\0")
    folder = block[345:500].rstrip(b"\0") if block[257:263] == b"ustar\0" else b""
    text = b"/".join(filter(None, (folder, name))).decode("utf-8", "replace")
    if text not in {META_NAME, STATE_NAME, SUMS_NAME}:
        refuse(f"{_UNREAD}unexpected file {go_quote(text)} in snapshot")
    if block[156:157] not in {b"0", b"\0"}:
        refuse(f'{_UNREAD}failed reading snapshot: "{text}" is not a regular file')
    return text, size


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if re.fullmatch(rb"[0-7]*", digits) else None


def _check_sums(sums: bytes, digests: dict[str, str]) -> None:
    listed = set()
    for raw in sums.decode("utf-8", "replace").splitlines():
        match = re.match(r"([0-9a-fA-F]+) +(\S+)", raw)
        if match is None:
            refuse(_UNSOUND + ("no hex data for %x string" if raw.strip() else "EOF"))
        digest, name = match.groups()
        if name not in digests:
            refuse(f"{_UNSOUND}list missing hash for {go_quote(name, 100)}")
        if digest.lower() != digests[name]:
            refuse(f'{_UNSOUND}hash check failed for "{name}"')
        listed.add(name)
    for name in digests:
        if name not in listed:
            refuse(f'{_UNSOUND}file missing for "{name}"')


def _check_end(stream: Gunzip) -> None:
    """Refuse anything after the tar but the zeros that many tar writers add."""
    count = 0
    clean = True
    try:
        while rest := stream.read(PIECE_BYTES):
            count += len(rest)
            clean = clean and not rest.strip(b"\0")
        if not clean:
            refuse(f"{count} unread uncompressed bytes remain")
        stream.finish()
    except BadStreamError as error:
        refuse(str(error))
