"""Connections to a store's file, and the rights of that file and of those beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from bellcow.store.protocol import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

BUSY_MS = 5_000  # how long SQLite waits for another connection, except where nothing may wait
WAL_KEPT_BYTES = 16 << 20  # what remains of the write-ahead log after a burst


class Reader:
    """A connection that reads the state of one moment.

    Its last user closes it. The receiver of the objects may never take the first one, and a
    generator that has not begun runs no clean-up.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and begin to read.

        Raises:
            sqlite3.Error: the file cannot be opened.
        """
        self.connection = connect(_read_only(path))
        try:
            self.connection.execute("BEGIN")
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was not opened
            self.close()

    def close(self) -> None:
        self.connection.close()


def connect(name: str, *, alone: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions.

    Text is returned as bytes, since damage may break its encoding. `alone` locks all others out.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(
        name, isolation_level=None, check_same_thread=False, uri=name.startswith("file:")
    )
    connection.text_factory = bytes
    try:
        if "?mode=ro" in name:
            connection.execute("PRAGMA cache_size = -64")  # pages are read once, so none are kept
            return connection
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_unshared(path: Path) -> sqlite3.Connection:
    """A read-only connection before anybody writes. Without a log it creates no file at all.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    has_log = has_bytes(beside(path, "-wal"))
    return connect(_read_only(path) if has_log else f"{_read_only(path)}&immutable=1")


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def beside(path: Path, suffix: str) -> Path:
    """A file whose name is that of `path` and a suffix."""
    return path.with_name(path.name + suffix)


def has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def restrict(path: Path) -> tuple[Path, ...]:
    """Make the directory of `path`, and remove the rights of other users to it and to the files.

    Returns the paths that others had rights to.

    Raises:
        Unavailable: the rights cannot be removed, or a file is a symbolic link, which SQLite would
            follow.
        OSError: the directory cannot be made, or a file's mode cannot be read.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = [path, *(beside(path, end) for end in ("-wal", "-shm", ".mark"))]
    for each in files:
        if each.is_symlink():
            raise Unavailable(f"{each} is a symbolic link: put the file itself in its place")
    ours = [path.parent, *files]
    wide = [each for each in ours if each.exists() and each.stat().st_mode & 0o077]
    for each in wide:
        try:
            each.chmod(each.stat().st_mode & 0o700)
        except OSError as error:
            raise Unavailable(
                f"{each} can be read by other users, and that cannot be changed"
                f" ({error.strerror}): run `chmod go= {each}` as its owner"
            ) from error
    return tuple(wide)
