"""One SQLite file as a store's place: who may open it, what is believed of it, what is written.

Every row carries a checksum over its key and value, and a mark beside the file remembers that there
was something to lose, so damage is refused and never read as an empty store. The mark is also the
lock that keeps a second process out. All calls block; what an object means is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from bellcow import wire
from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Corrupt,
    Fenced,
    Head,
    NoSpace,
    StoreError,
    Unavailable,
    Unknown,
)
from bellcow.store.sqlite_format import FORMAT, TABLES, has_tables, object_sum, record_sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.store.protocol import Key

DROP_OBJECTS = 1_000  # one slice of drop
WAL_KEPT_BYTES = 16 << 20  # what stays of the write-ahead log after a burst

ADVICE = (
    "Nothing was changed."
    " Put back a copy of the file with its -wal and .mark files; or move all of them away,"
    " start, and restore a snapshot with `bellcow operator snapshot restore FILE`."
)

_DROP = """
DELETE FROM objects WHERE (gen, tbl, id) IN (SELECT gen, tbl, id FROM objects WHERE gen = ? LIMIT ?)
"""

_NO_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,  # a quota and a file size limit come as this
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
_SYNC_FAILED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_DAMAGED = {
    sqlite3.SQLITE_ERROR,  # our statements are fixed: only tables that are not ours refuse them
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


class Files:
    """The connection, the mark and what is read from them. Lives on the store's own thread, but for
    the objects of `load`, which may be taken on any one thread and end when the store is closed.

    `advice` is what a person reads when the file is damaged.
    """

    def __init__(self, path: Path | None, clock: Clock, advice: str = ADVICE) -> None:
        self._path = path
        self._clock = clock
        self._advice = advice
        self._mark: int | None = None
        self._written = False
        self._inode = 0
        self._released = False
        self.tightened: tuple[Path, ...] = ()
        try:
            with self._translated():
                self._open()
        except BaseException:
            self._release()
            raise

    def _open(self) -> None:
        if self._path is None:
            self._writer = _connect(":memory:")
        else:
            self._take_place(self._path)
            if _has_bytes(self._path):
                # Read only, so that a refusal leaves the damaged file and its log as they are.
                with contextlib.closing(_connect(_read_only(self._path))) as reader:
                    self._check(reader)
            self._writer = _connect(str(self._path))
        if not has_tables(self._writer):
            self._writer.executescript(TABLES)
        self.head = self._read_head(self._writer)
        self.starts = self._count_start()
        if self.head is not NO_HEAD:
            self._write_mark()

    def _take_place(self, path: Path) -> None:
        """Lock the place of the file, and see that it is there if it should be."""
        self.tightened = _prepare(path)
        self._mark, self._written = _take_mark(path)
        if not _has_bytes(path) and self._written:
            raise self._corrupt("it is missing or empty, and something was stored in it")
        if not _has_bytes(path) and _has_bytes(_beside(path, "-wal")):
            raise self._corrupt("it is missing or empty, but its write-ahead log is there")
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._inode = path.stat().st_ino

    def _check(self, reader: sqlite3.Connection) -> None:
        """Refuse a file that is damaged, of another format, or less than the mark remembers."""
        findings = [row[0].decode() for row in reader.execute("PRAGMA quick_check(1)")]
        if findings != ["ok"]:
            raise self._corrupt("; ".join(findings))
        (version,) = reader.execute("PRAGMA user_version").fetchone()
        filled = has_tables(reader)
        if filled and version != FORMAT:
            raise Unavailable(
                f"{self._path} has format {version} and this program knows {FORMAT}:"
                " start the version that wrote it"
            )
        if self._written and not (filled and self._records(reader).get("head")):
            raise self._corrupt("it holds no head, and something was stored in it")

    def _count_start(self) -> int:
        before = self._records(self._writer).get("starts")
        starts = (msgspec.msgpack.decode(before, type=int) if before is not None else 0) + 1
        self._write(self._writer, "starts", msgspec.msgpack.encode(starts))
        return starts

    # What the store does.

    def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        with self._translated():
            if self._path is None:  # one connection only: the rows are taken at once
                head = self._read_head(self._writer)
                return head, iter(list(self._rows(self._writer, head.gen)))
            reader = _connect(_read_only(self._path))
            reader.execute("BEGIN")
            head = self._read_head(reader)
            return head, self._stream(reader, head.gen)

    def read_head(self) -> Head:
        """The head as it stands in the file."""
        with self._translated():
            return self._read_head(self._writer)

    def note(self, name: str) -> bytes | None:
        """What `commit` was given under this name."""
        with self._translated():
            return self._records(self._writer).get(name)

    def generations(self) -> frozenset[int]:
        """The lowest and the highest generation that objects belong to; empty without objects."""
        ends = "SELECT (SELECT min(gen) FROM objects), (SELECT max(gen) FROM objects)"
        with self._translated():
            return frozenset(self._writer.execute(ends).fetchone()) - {None}

    def commit(self, known: Head, *changes: Change, **notes: bytes) -> None:
        """Write commits that follow one another, and `notes` beside the last head, all or none."""
        with self._translated(), self._transaction(known):
            for change in changes:
                self._apply(change)
            self._write(self._writer, "head", msgspec.msgpack.encode(changes[-1].head))
            for name, value in notes.items():
                self._write(self._writer, name, value)
        self._write_mark()

    def _apply(self, change: Change) -> None:
        gen = change.head.gen
        self._put(gen, ((key, value) for key, value in change.changes.items() if value is not None))
        self._writer.executemany(
            "DELETE FROM objects WHERE gen = ? AND tbl = ? AND id = ?",
            ((gen, *key) for key, value in change.changes.items() if value is None),
        )

    def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        with self._translated(), self._transaction(known):
            self._put(gen, items)

    def drop(self, known: Head, gen: int) -> bool:
        with self._translated(), self._transaction(known):
            self._writer.execute(_DROP, (gen, DROP_OBJECTS))
            left = self._writer.execute("SELECT 1 FROM objects WHERE gen = ? LIMIT 1", (gen,))
            return left.fetchone() is None

    def close(self) -> None:
        with self._translated():
            self._release()

    def _release(self) -> None:
        self._released = True  # who reads sees it: a connection in use is not closed from here
        writer: sqlite3.Connection | None = getattr(self, "_writer", None)
        if writer is not None:
            writer.close()
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None

    # How it does it.

    @contextlib.contextmanager
    def _transaction(self, known: Head) -> Iterator[None]:
        """One transaction in which `known` is the head."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self.check_place()
            self._compare(known)
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def check_place(self) -> None:
        """Nothing is acknowledged into a file that was deleted: a restart would not find it."""
        if self._path is None:
            return
        try:
            found = self._path.stat().st_ino
        except FileNotFoundError:
            found = 0
        if found != self._inode:
            raise self._corrupt("it was deleted or replaced while this program had it open")

    def _compare(self, known: Head) -> None:
        if self._read_head(self._writer) != known:
            raise Fenced("another head is the truth")

    def _put(self, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        self._writer.executemany(
            "REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
            (
                (gen, table, name, value, object_sum(gen, table.encode(), name.encode(), value))
                for (table, name), value in items
            ),
        )

    def _stream(self, reader: sqlite3.Connection, gen: int) -> Iterator[tuple[Key, bytes]]:
        try:
            with self._translated():
                yield from self._rows(reader, gen)
        finally:
            reader.close()

    def _rows(self, connection: sqlite3.Connection, gen: int) -> Iterator[tuple[Key, bytes]]:
        tables: dict[bytes, str] = {}
        # All generations are read: a search for one ends early at a row whose number is damaged.
        rows = connection.execute("SELECT gen, tbl, id, value, sum FROM objects")
        try:
            for row_gen, table, name, value, total in rows:
                if self._released:
                    raise Unavailable("the store is closed")
                if object_sum(row_gen, table, name, value) != total:
                    raise self._corrupt(f"checksum of an object in {table!r} does not match")
                if row_gen != gen:
                    continue
                if table not in tables:
                    tables[table] = table.decode()
                yield (tables[table], name.decode()), value
        except (TypeError, ValueError) as error:
            raise self._corrupt(f"a row is not what was written ({error})") from error

    def _read_head(self, connection: sqlite3.Connection) -> Head:
        raw = self._records(connection).get("head")
        if raw is None:
            return NO_HEAD
        try:
            return msgspec.msgpack.decode(raw, type=Head)
        except msgspec.DecodeError as error:
            raise self._corrupt(f"its head cannot be read ({error})") from error

    def _records(self, connection: sqlite3.Connection) -> dict[str, bytes]:
        """The head and the count of starts, read whole: a search can miss beside a damaged name."""
        found = {}
        for name, value, total in connection.execute("SELECT name, value, sum FROM head"):
            if not isinstance(name, bytes) or not isinstance(value, bytes):
                raise self._corrupt("its head is not what was written")
            if record_sum(name, value) != total:
                raise self._corrupt("checksum of its head does not match")
            found[name.decode()] = value
        return found

    def _write(self, connection: sqlite3.Connection, name: str, value: bytes) -> None:
        total = record_sum(name.encode(), value)
        connection.execute("REPLACE INTO head VALUES (?, ?, ?)", (name, value, total))

    def _write_mark(self) -> None:
        """Remember, before the first commit is acknowledged, that there is something to lose."""
        if self._path is None or self._mark is None or self._written:
            return
        since = wire.rfc3339_seconds(self._clock.wall_ns())
        text = f"The store beside this file holds data since {since}.\n"
        # The commit is done. A disk too full for this line must not make it look undone: the next
        # commit tries again.
        with contextlib.suppress(OSError):
            os.pwrite(self._mark, text.encode(), 0)
            os.fsync(self._mark)
            _sync_directory(self._path.parent)
            self._written = True

    def _corrupt(self, what: str) -> Corrupt:
        return Corrupt(f"{self._path or 'the store in memory'} is damaged: {what}. {self._advice}")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        except UnicodeDecodeError as error:  # SQLite quotes damaged bytes in the text of its error
            raise self._corrupt(str(error)) from error
        except OSError as error:
            kind = NoSpace if error.errno in {errno.ENOSPC, errno.EDQUOT} else Unavailable
            raise kind(f"{error.filename or self._path}: {error.strerror}") from error

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
        text = f"{self._path}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
        if code in _NO_ROOM:
            return NoSpace(f"{text}: the disk or a quota is full")
        if code in _SYNC_FAILED:
            return Unknown(text)
        if code in _DAMAGED or code & 0xFF == sqlite3.SQLITE_CORRUPT:
            return self._corrupt(str(error))
        return Unavailable(text)


def _connect(name: str) -> sqlite3.Connection:
    """A connection without implicit transactions; text comes as bytes, as damage may break it."""
    connection = sqlite3.connect(
        name, isolation_level=None, check_same_thread=False, uri=name.startswith("file:")
    )
    connection.text_factory = bytes
    if name.endswith("?mode=ro"):
        connection.execute("PRAGMA cache_size = -64")  # pages are read once, so none are kept
        return connection
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prepare(path: Path) -> tuple[Path, ...]:
    """Make the directory, and take away the rights of other users; returns what had too many."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ours = [path.parent, path, *(_beside(path, end) for end in ("-wal", "-shm", ".mark"))]
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


def _take_mark(path: Path) -> tuple[int, bool]:
    """The locked file beside the store, and whether it says that something was stored."""
    mark = _beside(path, ".mark")
    descriptor = os.open(mark, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Unavailable(f"{path} is in use by another process") from error
    return descriptor, os.fstat(descriptor).st_size > 0
