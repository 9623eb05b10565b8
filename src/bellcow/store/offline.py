"""Read the file of an embedded store from another process, whether its server runs or not.

SQLite's write-ahead log shows a reader one whole commit beside a writer, so nothing is locked or
changed. Checksums, log and mark are checked as the server does.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from bellcow.store import sqlite_log
from bellcow.store.protocol import NO_HEAD, Corrupt, Head, Unavailable
from bellcow.store.sqlite_format import (
    BEFORE_TOTALS,
    FORMAT,
    Damaged,
    Totals,
    check_totals,
    has_tables,
    read_records,
    read_rows,
)
from bellcow.store.sqlite_mark import older_than, remembered_beside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bellcow.store.protocol import Key


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Head, Iterator[tuple[Key, bytes]]]]:
    """The head and the objects of its generation, of one commit.

    Raises:
        Corrupt: the file is damaged or not ours.
        Unavailable: it cannot be read.
    """
    remembered = _look_beside(path)
    with _refusals(path), contextlib.closing(_connect(path)) as connection:
        connection.execute("BEGIN")
        head = _head(connection, path, remembered)
        yield head, _objects(connection, head.gen)


def _look_beside(path: Path) -> Totals:
    """Refuse a log that SQLite would read as an older state; returns the totals in the mark.

    This comes before the state is read, because a server may be writing both. A server that starts
    a new log meanwhile looks like damage, but only once.

    Raises:
        Corrupt: the log is damaged.
        Unavailable: a file cannot be read.
    """  # noqa: DOC501  made by `_damaged` too
    try:
        if path.exists():
            end = sqlite_log.look(path)
            if end.damaged and sqlite_log.look(path) == end:
                raise _damaged(path, f"its write-ahead log {path.name}-wal: {end.broken}")
        return remembered_beside(path)
    except OSError as error:
        raise Unavailable(f"{error.filename or path}: {error.strerror}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only connection that leaves no files behind and needs no right to write any.

    Without a log no process has the file open, and one that opens it writes a log first.
    """
    log = path.with_name(f"{path.name}-wal")
    mode = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    name = f"{path.absolute().as_uri()}?{mode}"
    connection = sqlite3.connect(name, isolation_level=None, uri=True)
    connection.text_factory = bytes  # damage may break text
    return connection


def _head(connection: sqlite3.Connection, path: Path, remembered: Totals) -> Head:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not has_tables(connection):
        return NO_HEAD
    if version not in {BEFORE_TOTALS, FORMAT}:
        raise Unavailable(f"{path} has format {version} and this program knows {FORMAT}")
    records = read_records(connection)
    if older := older_than(check_totals(connection, records, version), remembered):
        raise Damaged(older)
    raw = records.get("head")
    return msgspec.msgpack.decode(raw, type=Head) if raw is not None else NO_HEAD


def _objects(connection: sqlite3.Connection, gen: int) -> Iterator[tuple[Key, bytes]]:
    for row_gen, table, name, value in read_rows(connection):
        if row_gen == gen:
            yield (table.decode(), name.decode()), value


def _damaged(path: Path, what: str) -> Corrupt:
    return Corrupt(f"{path} is damaged, or was never a store: {what}. Nothing was changed.")


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Translate the errors of SQLite.

    Raises:
        Corrupt: the file is damaged or not ours.
        Unavailable: it cannot be read.
    """  # noqa: DOC501  made by `_damaged` too
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
        if code == sqlite3.SQLITE_ERROR:  # tables that are not ours
            raise _damaged(path, str(error)) from error
        raise Unavailable(f"{path}: {error}") from error
    # Damage may break a value's type as well as its content.
    except (sqlite3.Error, msgspec.DecodeError, UnicodeDecodeError, Damaged) as error:
        raise _damaged(path, str(error)) from error
