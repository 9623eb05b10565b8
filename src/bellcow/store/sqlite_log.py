"""Decides whether SQLite's write-ahead log is damaged, or ends because writing stopped.

SQLite ends the log at the first frame that does not match its checksum, and opens the state before
it without a warning. That is right after a write that was cut off. But a log is synced to disk
before the next transaction is added. So where frames of a later transaction follow, the frame was
whole once and has changed since. Nothing is written here.

The layout is that of https://sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_HEADER_BYTES = 32
_HEADER_SUMMED = 24
_FRAME_HEADER_BYTES = 24
_FRAME_SUMMED = 8  # of the header; the page follows
_MAGIC = 0x377F0682  # the lowest bit says in which order the words are summed
_WORD = 0xFFFFFFFF
_PAGE_SIZES = {512 << power for power in range(8)}
_PAGE_SIZE_AT = 16  # in the first page of the database, two bytes, 1 for 65,536

_Sum: TypeAlias = tuple[int, int]
_Order: TypeAlias = Literal["<", ">"]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a log ends: after `frames` whole ones.

    `broken` says what is wrong with the next one, if there is one. `damaged`: it was whole once.
    """

    frames: int = 0
    broken: str = ""
    damaged: bool = False


class _Frame(msgspec.Struct, frozen=True):
    commits: bool
    salts: bytes
    stored: _Sum
    content: bytes  # what is summed

    def sum_after(self, before: _Sum, order: _Order) -> _Sum:
        return _summed(self.content, before, order)


def look(path: Path) -> End:
    """Read the log beside the database in `path`.

    Raises:
        OSError: it cannot be read.
    """
    try:
        file = path.with_name(f"{path.name}-wal").open("rb")
    except FileNotFoundError:
        return End()
    with file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return End()  # the header is synced before the first frame is written
        if not _is_whole(header):
            return _end_without_header(file, header, path)
        page_size = int.from_bytes(header[8:12], "big")
        return _end(_frames(file, page_size), header, _order_of(header))


def _end(frames: Iterator[_Frame], header: bytes, order: _Order) -> End:
    """Follow the chain of checksums to the first frame that breaks it, and check what follows."""
    salts, total = header[16:24], _sum_in(header[24:])
    count = 0
    for frame in frames:
        found = frame.sum_after(total, order)
        if frame.salts == salts and frame.stored == found:
            total = found
            count += 1
            continue
        if frame.salts != salts and frame.stored != found:
            return End(frames=count)  # left over from an earlier round of the log
        later = _later_transaction(frames, salts, order, frame, found)
        what = f"frame {count + 1} does not match its checksum"
        return End(frames=count, broken=what, damaged=later)
    return End(frames=count)


def _later_transaction(
    frames: Iterator[_Frame], salts: bytes, order: _Order, broken: _Frame, found: _Sum
) -> bool:
    """Whether whole frames follow the broken one without a gap, past the end of its transaction.

    The checksum of the next one continues the stored checksum of the broken one, or the right one.
    """
    ended = broken.commits
    befores = {broken.stored, found}
    for frame in frames:
        if frame.salts != salts:
            return False
        if all(frame.sum_after(before, order) != frame.stored for before in befores):
            return False
        if ended:
            return True
        ended = frame.commits
        befores = {frame.stored}
    return False


def _end_without_header(file: BinaryIO, header: bytes, path: Path) -> End:
    """SQLite reads nothing after a broken header; a first frame that matches means damage.

    The damage may be in the page size or byte order, so every combination is tried.
    """
    sizes = {int.from_bytes(header[8:12], "big"), _page_size(path), 4096} & _PAGE_SIZES
    orders: tuple[_Order, _Order] = ("<", ">")
    what = "its header does not match its checksum"
    for size in sizes:
        file.seek(_HEADER_BYTES)
        first = next(_frames(file, size), None)
        for order in orders:
            befores = {_sum_in(header[24:]), _summed(header[:_HEADER_SUMMED], (0, 0), order)}
            if first and any(first.sum_after(each, order) == first.stored for each in befores):
                return End(broken=what, damaged=True)
    return End(broken=what)


def _frames(file: BinaryIO, page_size: int) -> Iterator[_Frame]:
    """Each whole frame, from the current position in the file."""
    size = _FRAME_HEADER_BYTES + page_size
    while len(raw := file.read(size)) == size:
        yield _Frame(
            commits=raw[4:8] != b"\0\0\0\0",
            salts=raw[8:16],
            stored=_sum_in(raw[16:24]),
            content=raw[:_FRAME_SUMMED] + raw[_FRAME_HEADER_BYTES:],
        )


def _is_whole(header: bytes) -> bool:
    if int.from_bytes(header[:4], "big") & ~1 != _MAGIC:
        return False
    if int.from_bytes(header[8:12], "big") not in _PAGE_SIZES:
        return False
    return _summed(header[:_HEADER_SUMMED], (0, 0), _order_of(header)) == _sum_in(header[24:])


def _order_of(header: bytes) -> _Order:
    return ">" if header[3] & 1 else "<"


def _page_size(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(_PAGE_SIZE_AT + 2)
    size = int.from_bytes(start[_PAGE_SIZE_AT:], "big")
    return 1 << 16 if size == 1 else size


def _sum_in(raw: bytes) -> _Sum:
    return int.from_bytes(raw[:4], "big"), int.from_bytes(raw[4:8], "big")


def _summed(content: bytes, before: _Sum, order: _Order) -> _Sum:
    """The running sum after `content`, which is a multiple of eight bytes."""
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    one, two = before
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & _WORD
        two = (two + second + one) & _WORD
    return one, two
