"""Reads etcd's file without etcd: the keys as they were when etcd last wrote the file.

The file holds only committed changes, and is at most a tenth of a second old. It is a bbolt
database (go.etcd.io/bbolt: page.go, meta.go, bucket.go) with a bucket of revisions (etcd's
mvcc/revision.go). etcd may have it open: if etcd writes meanwhile, the file is read again. Nothing
here changes it.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from bellcow.etcd import etcd_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILE = "data/member/snap/db"  # below the directory of a member
TRIES = 5
PAGE_BYTES = (4_096, 8_192, 16_384, 65_536)  # etcd uses the machine's page size
MAGIC, VERSION = 0xED0CDAED, 2
BUCKET = b"key"
MEMBERS = b"members"
TOMBSTONE = b"t"
REVISION_BYTES = 17  # two numbers of eight bytes with "_" between; a tombstone has one more

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct("<IIIIQQQQQ")  # magic ... root, its sequence, freelist, high water, txid
_SUM = struct.Struct("<Q")
_BRANCH = struct.Struct("<IIQ")  # position, bytes of the key, page
_LEAF = struct.Struct("<IIII")  # flags, position, bytes of key and value
_ROOT = struct.Struct("<QQ")  # page, sequence
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 1, 2, 1
_DEPTH_MAX = 64


class UnreadableError(Exception):
    """Why the file cannot be read."""


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """One member. Its name is empty until it has started."""

    peer_urls: tuple[str, ...] = msgspec.field(name="peerURLs", default=())
    name: str = ""


T = TypeVar("T")


class _Meta(NamedTuple):
    page_bytes: int
    root: int
    transaction: int


def read_keys(path: Path) -> dict[bytes, tuple[bytes, int]]:
    """All keys with their values and the revisions that wrote them.

    For a worker thread: the whole file is read.

    Raises:
        UnreadableError: the file cannot be read, or is not a database of etcd.
    """
    return _read(path, lambda data, meta: _current(_in_bucket(data, meta, BUCKET)))


def read_members(path: Path) -> tuple[Listed, ...]:
    """The members in this member's own list.

    Raises:
        UnreadableError: the file cannot be read, or is not a database of etcd.
    """
    return _read(path, lambda data, meta: tuple(_members(_in_bucket(data, meta, MEMBERS))))


def _members(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[Listed]:
    for _, raw in pairs:
        yield msgspec.json.decode(raw, type=Listed)


def _read(path: Path, look: Callable[[mmap.mmap, _Meta], T]) -> T:
    reason = ""
    for _ in range(TRIES):
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                meta = _newest(data)
                found = look(data, meta)
                if _newest(data) == meta:
                    return found
            reason = "it is being written"
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from error
        except (struct.error, ValueError, DecodeError, msgspec.MsgspecError) as error:
            reason = str(error)
    raise UnreadableError(f"{path}: {reason}")


def _newest(data: mmap.mmap) -> _Meta:
    """The later of the two meta pages.

    Raises:
        ValueError: neither is valid.
    """
    found = [meta for size in PAGE_BYTES for at in (0, size) if (meta := _meta(data, at, size))]
    if not found:
        raise ValueError("it is not a database of etcd")
    return max(found, key=lambda meta: meta.transaction)


def _meta(data: mmap.mmap, at: int, size: int) -> _Meta | None:
    begin = at + _PAGE.size
    raw = data[begin : begin + _META.size]
    if len(raw) < _META.size:
        return None
    magic, version, page_bytes, _, root, _, _, _, transaction = _META.unpack(raw)
    if (magic, version, page_bytes) != (MAGIC, VERSION, size):
        return None
    if _SUM.unpack_from(data, begin + _META.size)[0] != _fnv(raw):
        return None
    return _Meta(page_bytes, root, transaction)


def _fnv(raw: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in raw:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def _in_bucket(data: mmap.mmap, meta: _Meta, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of a bucket, by their keys: revisions come oldest first."""
    for flags, key, value in _leaves(data, meta, meta.root * meta.page_bytes):
        if key == bucket and flags & _IS_BUCKET:
            root, _ = _ROOT.unpack_from(value)
            if root:
                pairs = _leaves(data, meta, root * meta.page_bytes)
            else:  # a small bucket is stored in the value itself
                pairs = _leaves(value, meta, _ROOT.size)
            yield from ((key, value) for _, key, value in pairs)


def _leaves(
    data: mmap.mmap | bytes, meta: _Meta, at: int, depth: int = 0
) -> Iterator[tuple[int, bytes, bytes]]:
    """Flags, key and value of each entry below the page that begins at this byte.

    Raises:
        ValueError: a page does not belong to a tree, or the tree is too deep.
    """
    _, flags, count, _ = _PAGE.unpack_from(data, at)
    if depth > _DEPTH_MAX or not flags & (_IS_BRANCH | _IS_LEAF):
        raise ValueError(f"there is no page at byte {at}")
    for number in range(count):
        if flags & _IS_LEAF:
            here = at + _PAGE.size + number * _LEAF.size
            kind, position, key_bytes, value_bytes = _LEAF.unpack_from(data, here)
            begin = here + position
            middle = begin + key_bytes
            yield kind, data[begin:middle], data[middle : middle + value_bytes]
        else:
            here = at + _PAGE.size + number * _BRANCH.size
            _, _, page = _BRANCH.unpack_from(data, here)
            yield from _leaves(data, meta, page * meta.page_bytes, depth + 1)


def _current(revisions: Iterator[tuple[bytes, bytes]]) -> dict[bytes, tuple[bytes, int]]:
    """The keys after all revisions."""
    keys: dict[bytes, tuple[bytes, int]] = {}
    for revision, raw in revisions:
        pair = pb.KeyValue.FromString(raw)
        if revision[REVISION_BYTES:] == TOMBSTONE:
            keys.pop(pair.key, None)
        else:
            keys[pair.key] = pair.value, pair.mod_revision
    return keys
