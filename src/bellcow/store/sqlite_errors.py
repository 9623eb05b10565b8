"""What an error of SQLite or of the file system means for the caller of the store.

A failed sync is "not known": the kernel may have dropped the pages that it could not write.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING

from bellcow.store.protocol import Corrupt, NoSpace, StoreError, Unavailable, Unknown
from bellcow.store.sqlite_format import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = "the disk or a quota is full: writes are refused until there is room"
_UNUSABLE = "the store cannot be used now; the server's log says more"
_DAMAGED = "the store is damaged; the server's log says more"

NO_SPACE_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,  # a quota and a file size limit are reported as this
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
_SYNC_FAILED_CODES = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_DAMAGED_CODES = {
    sqlite3.SQLITE_ERROR,  # our statements are fixed: only foreign tables refuse them
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


class Refusals:
    """The errors that the store in `path` raises; None for one in memory.

    `advice` is what a person reads when the file is damaged.
    """

    def __init__(self, path: Path | None, advice: str) -> None:
        self._path = path
        self._advice = advice

    def corrupt(self, what: str) -> Corrupt:
        text = f"{self._path or 'the store in memory'} is damaged: {what}. {self._advice}"
        return Corrupt(text, _DAMAGED)

    @contextlib.contextmanager
    def damage_named(self) -> Iterator[None]:
        """Translate Damaged.

        Raises:
            Corrupt: the work raised it; the text has the path and the advice.
        """
        try:
            yield
        except Damaged as error:
            raise self.corrupt(str(error)) from error

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Translate the errors of SQLite and of the file system.

        Raises:
            NoSpace: the disk or a quota is full.
            Unavailable: the file cannot be used now.
            StoreError: Corrupt or Unknown, as `of` reads SQLite's code.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise self.of(error) from error
        except UnicodeDecodeError as error:  # SQLite quotes damaged bytes in the text of its error
            raise self.corrupt(str(error)) from error
        except OSError as error:
            text = f"{error.filename or self._path}: {error.strerror}"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NoSpace(text, _FULL) from error
            raise Unavailable(text, _UNUSABLE) from error

    def of(self, error: sqlite3.Error) -> StoreError:
        """The error to raise for one of SQLite."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
        text = f"{self._path}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
        if code in NO_SPACE_CODES:
            return NoSpace(f"{text}: the disk or a quota is full", _FULL)
        if code in _SYNC_FAILED_CODES:
            return Unknown(text, _UNUSABLE)
        if code in _DAMAGED_CODES or code & 0xFF == sqlite3.SQLITE_CORRUPT:
            return self.corrupt(str(error))
        return Unavailable(text, _UNUSABLE)
