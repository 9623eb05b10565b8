"""One SQLite file as a store's place: who may open it, what is believed of it, what is written.

Every row carries a checksum over its key and value, the head carries a count and a sum over all
rows, and a mark beside the file remembers what was on disk. So damage is refused, and never read
as an older state or as an empty store. All calls block; what an object means is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from bellcow import wire
from bellcow.store import sqlite_log
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
from bellcow.store.sqlite_format import (
    BEFORE_TOTALS,
    FORMAT,
    TABLES,
    TOTALS,
    Damaged,
    Totals,
    check_totals,
    counted,
    has_tables,
    object_sum,
    read_records,
    read_rows,
    record_sum,
    totals_in,
)
from bellcow.store.sqlite_mark import Mark, older_than

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

BUSY_MS = 5_000  # how long SQLite waits for another connection, but where nothing may wait

_FULL = "the disk or a quota is full: writes are refused until there is room"
_UNUSABLE = "the store cannot be used now; the server's log says more"

_DELETE = "DELETE FROM objects WHERE gen = ? AND tbl = ? AND id = ?"
_SUM_OF = "SELECT sum FROM objects WHERE gen = ? AND tbl = ? AND id = ?"

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


class _Reader:
    """A connection that reads the state of one moment.

    Whoever is given the objects may never take the first one. A generator that has not begun runs
    no clean-up, so the connection is closed with its last user.
    """

    def __init__(self, path: Path) -> None:
        self.connection = _connect(_read_only(path))
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


class Files:
    """The connection, the mark and what is read from them. Lives on the store's own thread, but for
    the objects of `load`, which may be taken on any one thread and end when the store is closed.

    `advice` is what a person reads when the file is damaged.
    """

    def __init__(self, path: Path | None, clock: Clock, advice: str = ADVICE) -> None:
        self._path = path
        self._clock = clock
        self._advice = advice
        self._mark: Mark | None = None
        self._log_end = sqlite_log.End()
        self._totals = Totals()  # after the last transaction
        self._settled = -1  # the write that `settle` met last
        self._log_stays = False
        self._alone = False
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
                self._check_log(self._path)
                # Read only, so that a refusal leaves the damaged file and its log as they are.
                with contextlib.closing(_connect(_unshared(self._path))) as reader:
                    self._check(reader)
            self._writer = self._open_writer(str(self._path))
        if not has_tables(self._writer):
            self._writer.executescript(TABLES)
        records = self._records(self._writer)
        self.head = self._head_in(records)
        self._totals = self._totals_in(records)
        self.starts = self._count_start(records)
        if self.head is not NO_HEAD:
            self._write_mark()

    def _open_writer(self, name: str) -> sqlite3.Connection:
        """The connection that writes; on a full disk it is the only one, as that needs no room.

        SQLite shares the index of its log in a file, which it makes at each start.
        """
        try:
            return _connect(name)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) not in _NO_ROOM:
                raise
            self._alone = True
            return _connect(name, alone=True)

    def _take_place(self, path: Path) -> None:
        """Lock the place of the file, and see that it is there if it should be."""
        self.tightened = _prepare(path)
        self._mark = Mark(path)
        if not _has_bytes(path) and self._mark.written:
            raise self._corrupt("it is missing or empty, and something was stored in it")
        if not _has_bytes(path) and _has_bytes(_beside(path, "-wal")):
            raise self._corrupt("it is missing or empty, but its write-ahead log is there")
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._inode = path.stat().st_ino

    def _check_log(self, path: Path) -> None:
        """Refuse a log that SQLite would open as an older state."""
        self._log_end = sqlite_log.look(path)
        if self._log_end.damaged:
            raise self._corrupt(
                f"its write-ahead log {path.name}-wal: {self._log_end.broken}, and what was"
                " written later follows it"
            )

    def _check(self, reader: sqlite3.Connection) -> None:
        """Refuse a file that is damaged, of another format, or less than the mark remembers."""
        findings = [row[0].decode() for row in reader.execute("PRAGMA quick_check(1)")]
        if findings != ["ok"]:
            raise self._corrupt("; ".join(findings))
        (version,) = reader.execute("PRAGMA user_version").fetchone()
        filled = has_tables(reader)
        if filled and version not in {BEFORE_TOTALS, FORMAT}:
            raise Unavailable(
                f"{self._path} has format {version} and this program knows {FORMAT}:"
                " start the version that wrote it"
            )
        records = self._records(reader) if filled else {}
        assert self._mark is not None  # noqa: S101  _take_place set it
        if self._mark.written and "head" not in records:
            raise self._corrupt(f"it holds no head, and something was stored in it{self._ending()}")
        with self._damage_named():
            totals = check_totals(reader, records, version) if filled else Totals()
        if older := older_than(totals, self._mark.remembered):
            raise self._corrupt(f"{older}{self._ending()}")

    def _ending(self) -> str:
        """Where the log breaks off, for a state that is less than it should be."""
        broken = self._log_end.broken
        return f"; its write-ahead log {self._name('-wal')}: {broken}" if broken else ""

    def _name(self, suffix: str) -> str:
        return f"{self._path.name if self._path else ''}{suffix}"

    def _count_start(self, records: dict[str, bytes]) -> int:
        """Count this start. On a full disk the count is not kept, for reads must go on."""
        before = records.get("starts")
        starts = (msgspec.msgpack.decode(before, type=int) if before is not None else 0) + 1
        with (
            contextlib.suppress(NoSpace),
            self._translated(),
            self._transaction(self.head),
        ):
            self._write("starts", msgspec.msgpack.encode(starts))
        return starts

    # What the store does.

    def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        with self._translated():
            if self._path is None or self._alone:  # one connection: the rows are taken at once
                head = self._read_head(self._writer)
                return head, iter(list(self._rows(self._writer, head.gen)))
            reader = _Reader(self._path)
            head = self._read_head(reader.connection)
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
        with self._translated(), self._transaction(known) as tally:
            for change in changes:
                self._apply(tally, change)
            self._write("head", msgspec.msgpack.encode(changes[-1].head))
            for name, value in notes.items():
                self._write(name, value)
        self._write_mark()

    def _apply(self, tally: _Tally, change: Change) -> None:
        gen = change.head.gen
        for key, value in change.changes.items():
            if value is None:
                self._delete(tally, gen, key)
            else:
                self._put(tally, gen, key, value)

    def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        with self._translated(), self._transaction(known) as tally:
            for key, value in items:
                self._put(tally, gen, key, value)

    def drop(self, known: Head, gen: int) -> bool:
        some = "SELECT tbl, id FROM objects WHERE gen = ? LIMIT ?"
        with self._translated(), self._transaction(known) as tally:
            keys = self._writer.execute(some, (gen, DROP_OBJECTS)).fetchall()
            for table, name in keys:
                self._delete(tally, gen, (table.decode(), name.decode()))
            return len(keys) < DROP_OBJECTS

    def settle(self) -> bool:
        """Remember what is on disk, and empty the log if nothing was written since the last call.

        A log that is empty cannot be damaged, and what is in the database is covered by the totals.
        False when another call is needed, about a second later.
        """
        if self._mark is None:
            return True
        self._mark.remember(self._totals)
        rested = self._totals.writes == self._settled
        self._settled = self._totals.writes
        return rested and (self._log_stays or self._empty_log())

    def _empty_log(self) -> bool:
        try:
            with self._translated():
                self._writer.execute("PRAGMA busy_timeout = 0")
                ((busy, _, _),) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return not busy  # somebody reads an earlier state
        except Unknown:
            # The kernel forgets pages that it could not write, so a second try could succeed and
            # empty the log though the database lacks them.
            self._log_stays = True
            raise
        finally:
            self._writer.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def close(self) -> None:
        with self._translated():
            if self._mark is not None:
                self._mark.remember(self._totals)
            self._release()

    def _release(self) -> None:
        self._released = True  # who reads sees it: a connection in use is not closed from here
        writer: sqlite3.Connection | None = getattr(self, "_writer", None)
        if writer is not None:
            writer.close()
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    # How it does it.

    @contextlib.contextmanager
    def _transaction(self, known: Head) -> Iterator[_Tally]:
        """One transaction in which `known` is the head, and which keeps the totals."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self.check_place()
            records = self._compared(known)
            if TOTALS not in records:
                self._writer.execute(f"PRAGMA user_version = {FORMAT}")
            tally = _Tally(self._totals_in(records))
            yield tally
            totals = tally.totals()
            self._write(TOTALS, msgspec.msgpack.encode(totals))
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self._totals = totals

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

    def _compared(self, known: Head) -> dict[str, bytes]:
        records = self._records(self._writer)
        if self._head_in(records) != known:
            raise Fenced("another head is the truth")
        return records

    def _put(self, tally: _Tally, gen: int, key: Key, value: bytes) -> None:
        table, name = key
        total = object_sum(gen, table.encode(), name.encode(), value)
        tally.without(self._writer.execute(_SUM_OF, (gen, table, name)).fetchone())
        tally.with_row(total)
        row = (gen, table, name, value, total)
        self._writer.execute("REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", row)

    def _delete(self, tally: _Tally, gen: int, key: Key) -> None:
        tally.without(self._writer.execute(_SUM_OF, (gen, *key)).fetchone())
        self._writer.execute(_DELETE, (gen, *key))

    def _stream(self, reader: _Reader, gen: int) -> Iterator[tuple[Key, bytes]]:
        try:
            with self._translated():
                yield from self._rows(reader.connection, gen)
        finally:
            reader.close()

    def _rows(self, connection: sqlite3.Connection, gen: int) -> Iterator[tuple[Key, bytes]]:
        tables: dict[bytes, str] = {}
        with self._damage_named():
            for row_gen, table, name, value in read_rows(connection):
                if self._released:
                    raise Unavailable("the store is closed")
                if row_gen != gen:
                    continue
                if table not in tables:
                    tables[table] = table.decode()
                yield (tables[table], name.decode()), value

    def _read_head(self, connection: sqlite3.Connection) -> Head:
        return self._head_in(self._records(connection))

    def _head_in(self, records: dict[str, bytes]) -> Head:
        raw = records.get("head")
        if raw is None:
            return NO_HEAD
        try:
            return msgspec.msgpack.decode(raw, type=Head)
        except msgspec.DecodeError as error:
            raise self._corrupt(f"its head cannot be read ({error})") from error

    def _totals_in(self, records: dict[str, bytes]) -> Totals:
        """The totals as written down; of a file of an earlier version, as they are."""
        with self._damage_named():
            return totals_in(records) or counted(self._writer)

    def _records(self, connection: sqlite3.Connection) -> dict[str, bytes]:
        """The head, the count of starts, the totals and the notes."""
        with self._damage_named():
            return read_records(connection)

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            raise self._corrupt(str(error)) from error

    def _write(self, name: str, value: bytes) -> None:
        total = record_sum(name.encode(), value)
        self._writer.execute("REPLACE INTO head VALUES (?, ?, ?)", (name, value, total))

    def _write_mark(self) -> None:
        """Remember, before the first commit is acknowledged, that there is something to lose."""
        if self._mark is not None and not self._mark.written:
            self._mark.begin(wire.rfc3339_seconds(self._clock.wall_ns()))

    def _corrupt(self, what: str) -> Corrupt:
        text = f"{self._path or 'the store in memory'} is damaged: {what}. {self._advice}"
        return Corrupt(text, "the store is damaged; the server's log says more")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        except UnicodeDecodeError as error:  # SQLite quotes damaged bytes in the text of its error
            raise self._corrupt(str(error)) from error
        except OSError as error:
            text = f"{error.filename or self._path}: {error.strerror}"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NoSpace(text, _FULL) from error
            raise Unavailable(text, _UNUSABLE) from error

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
        text = f"{self._path}: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
        if code in _NO_ROOM:
            return NoSpace(f"{text}: the disk or a quota is full", _FULL)
        if code in _SYNC_FAILED:
            return Unknown(text, _UNUSABLE)
        if code in _DAMAGED or code & 0xFF == sqlite3.SQLITE_CORRUPT:
            return self._corrupt(str(error))
        return Unavailable(text, _UNUSABLE)


class _Tally:
    """The totals while a transaction changes rows."""

    def __init__(self, before: Totals) -> None:
        self._writes = before.writes + 1
        self._rows = before.rows
        self._sum = before.sum

    def with_row(self, total: int) -> None:
        self._rows += 1
        self._sum += total

    def without(self, replaced: tuple[int] | None) -> None:
        """Take out the row that is replaced or deleted, if there is one."""
        if replaced is not None:
            self._rows -= 1
            self._sum -= replaced[0]

    def totals(self) -> Totals:
        return Totals(self._writes, self._rows, self._sum)


def _connect(name: str, *, alone: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions; text comes as bytes, as damage may break it.

    `alone` keeps all others out.
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


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _unshared(path: Path) -> str:
    """As `_read_only`, before anybody writes: where there is no log nothing at all is made."""
    has_log = _has_bytes(_beside(path, "-wal"))
    return _read_only(path) if has_log else f"{_read_only(path)}&immutable=1"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _prepare(path: Path) -> tuple[Path, ...]:
    """Make the directory, and take away the rights of other users; returns what had too many."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = [path, *(_beside(path, end) for end in ("-wal", "-shm", ".mark"))]
    for each in files:
        if each.is_symlink():  # SQLite would follow it
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
