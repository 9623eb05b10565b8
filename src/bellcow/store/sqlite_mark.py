"""The mark beside a store's file: whether something is stored, and which write was on disk.

SQLite opens a file with a broken log, or an older copy, without an error. The mark has the last
write that was on disk, so an older state is found. It is also the lock that excludes a second
process. Readers beside a running server read it too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow import files
from bellcow.store.protocol import Unavailable
from bellcow.store.sqlite_format import Totals

if TYPE_CHECKING:
    from pathlib import Path

# A line of text, then two lines of totals: a write that is cut off breaks only one of them.
_LINE_BYTES = 128
_LINES = (1, 2)

_Remembered: TypeAlias = "dict[int, Totals]"


class _Line(msgspec.Struct, frozen=True):
    writes: int
    rows: int
    sum: int
    check: int


class Mark:
    """The locked file beside the store in `path`.

    `written`: something was stored. `remembered`: totals that were certainly on disk.
    """

    def __init__(self, path: Path) -> None:
        """Open the mark and lock it, which locks the store.

        Raises:
            Unavailable: another process has the store.
            OSError: the mark cannot be opened.
        """
        self._path = mark_of(path)
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW
        self._handle = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = os.pread(self._handle, _LINE_BYTES * 4, 0)
        except BlockingIOError as error:
            os.close(self._handle)
            raise Unavailable(f"{path} is in use by another process") from error
        except BaseException:
            os.close(self._handle)
            raise
        self.written = bool(content)
        lines = _lines_in(content)
        self.remembered = _newest(lines)
        self._next = min(_LINES, key=lambda line: lines.get(line, Totals()).writes)

    def begin(self, since: str) -> None:
        """Record, before the first commit is acknowledged, that something is stored."""
        text = f"The store beside this file holds data since {since}."
        # The commit is done, so a full disk must not make it fail here. The next commit retries.
        with contextlib.suppress(OSError):
            self._write(0, text)
            files.sync_directory(self._path.parent)
            self.written = True

    def remember(self, totals: Totals) -> None:
        """Record the totals on disk. On a full disk the next call retries."""
        if not self.written or totals == self.remembered:
            return
        check = _check(totals)
        line = _Line(totals.writes, totals.rows, totals.sum, check)
        with contextlib.suppress(OSError):
            self._write(self._next, msgspec.json.encode(line).decode())
            self.remembered = totals
            self._next = sum(_LINES) - self._next

    def close(self) -> None:
        os.close(self._handle)

    def _write(self, line: int, text: str) -> None:
        """Write one line at its fixed position."""
        padded = text.encode().ljust(_LINE_BYTES - 1) + b"\n"
        if line and os.fstat(self._handle).st_size < _LINE_BYTES:  # of an earlier version
            first = os.pread(self._handle, _LINE_BYTES, 0).rstrip()
            os.pwrite(self._handle, first.ljust(_LINE_BYTES - 1) + b"\n", 0)
        os.pwrite(self._handle, padded, line * _LINE_BYTES)
        os.fsync(self._handle)


def mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.mark")


def remembered_beside(path: Path) -> Totals:
    """The totals in the mark of the store in `path`; zero without a mark.

    Raises:
        OSError: the mark cannot be read.
    """
    try:
        return _newest(_lines_in(mark_of(path).read_bytes()))
    except FileNotFoundError:
        return Totals()


def older_than(totals: Totals, remembered: Totals) -> str:
    """What is wrong with a file of these totals; "" if nothing is."""
    if totals.writes < remembered.writes:
        return (
            f"it ends at write {totals.writes}, and write {remembered.writes} was on disk:"
            " it is an older copy, or has lost what was written last"
        )
    if 0 < totals.writes == remembered.writes and totals != remembered:
        return f"its rows are not those that were on disk after write {totals.writes}"
    return ""


def _lines_in(content: bytes) -> _Remembered:
    found = {}
    for line in _LINES:
        raw = content[line * _LINE_BYTES : (line + 1) * _LINE_BYTES].strip(b" \n\0")
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            read = msgspec.json.decode(raw, type=_Line)
            totals = Totals(read.writes, read.rows, read.sum)
            if _check(totals) == read.check:
                found[line] = totals
    return found


def _newest(lines: _Remembered) -> Totals:
    return max(lines.values(), key=lambda totals: totals.writes, default=Totals())


def _check(totals: Totals) -> int:
    return zlib.crc32(msgspec.msgpack.encode(totals))
