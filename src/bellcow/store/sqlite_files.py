"""The file of an embedded store: one SQLite database, the lock and mark beside it.

Every row has a checksum over its key and value, the table `head` has a count and a sum over all
rows, and the mark remembers what was on disk. So damage is refused, and never read as an older
state or as an empty store. All calls block.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from bellcow.gocompat.time import rfc3339_seconds
from bellcow.store import sqlite_check
from bellcow.store.protocol import NO_HEAD, Change, Fenced, Head, NoSpace, Unavailable, Unknown
from bellcow.store.sqlite_connection import BUSY_MS, Reader, connect, has_bytes, restrict
from bellcow.store.sqlite_errors import NO_SPACE_CODES, Refusals
from bellcow.store.sqlite_format import (
    FORMAT,
    TABLES,
    TOTALS,
    Totals,
    counted,
    has_tables,
    read_records,
    read_rows,
    totals_in,
)
from bellcow.store.sqlite_mark import Mark
from bellcow.store.sqlite_transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.store.protocol import Key

DROP_OBJECTS = 1_000  # objects that one call of drop deletes

ADVICE = (
    "Nothing was changed."
    " Put back a copy of the file with its -wal and .mark files; or move all of them away,"
    " start, and restore a snapshot with `bellcow operator snapshot restore FILE`."
)


class Files:
    """The connection that writes, the mark, and what is read from them.

    All methods run on the store's own thread. Only the objects of `load` may be taken on another
    one, and end with Unavailable when the store is closed. Every method raises StoreError.
    """

    def __init__(self, path: Path | None, clock: Clock, advice: str = ADVICE) -> None:
        """`advice` is what a person reads when the file is damaged; None keeps all in memory."""
        self._path = path
        self._clock = clock
        self._refusals = Refusals(path, advice)
        self._mark: Mark | None = None
        self._totals = Totals()  # after the last transaction
        self._settled = -1  # number of writes at the last call of `settle`
        self._log_stays = False
        self._alone = False
        self._inode = 0
        self._released = False
        self.tightened: tuple[Path, ...] = ()
        try:
            with self._refusals.translated():
                self._open()
        except BaseException:
            self._release()
            raise

    def _open(self) -> None:
        if self._path is None:
            self._writer = connect(":memory:")
        else:
            self._lock(self._path)
            self._writer = self._open_writer(str(self._path))
        if not has_tables(self._writer):
            self._writer.executescript(TABLES)
        records = self._records(self._writer)
        self.head = self._head_in(records)
        self._totals = self._totals_in(records)
        self.starts = self._count_start(records)
        if self.head is not NO_HEAD:
            self._write_mark()

    def _lock(self, path: Path) -> None:
        """Keep other processes and users out, and check the file."""
        self.tightened = restrict(path)
        self._mark = Mark(path)
        sqlite_check.check_present(path, self._mark, self._refusals)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._inode = path.stat().st_ino
        if has_bytes(path):
            sqlite_check.check_content(path, self._mark, self._refusals)

    def _open_writer(self, name: str) -> sqlite3.Connection:
        """The connection that writes. On a full disk it is the only one, which needs no space.

        Connections share the index of the log in a file that SQLite makes at each start.

        Raises:
            sqlite3.Error: the file cannot be opened.
        """
        try:
            return connect(name)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) not in NO_SPACE_CODES:
                raise
            self._alone = True
            return connect(name, alone=True)

    def _count_start(self, records: dict[str, bytes]) -> int:
        """Count this start. On a full disk the count is not stored, since reads must go on."""
        before = records.get("starts")
        starts = (msgspec.msgpack.decode(before, type=int) if before is not None else 0) + 1
        with (
            contextlib.suppress(NoSpace),
            self._refusals.translated(),
            self._transaction(self.head) as transaction,
        ):
            transaction.put_record("starts", msgspec.msgpack.encode(starts))
        return starts

    def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        with self._refusals.translated():
            if self._path is None or self._alone:  # one connection: the rows are taken at once
                head = self._read_head(self._writer)
                return head, iter(list(self._rows(self._writer, head.gen)))
            reader = Reader(self._path)
            head = self._read_head(reader.connection)
            return head, self._stream(reader, head.gen)

    def read_head(self) -> Head:
        """The head in the file."""
        with self._refusals.translated():
            return self._read_head(self._writer)

    def note(self, name: str) -> bytes | None:
        """The note that `commit` stored under this name."""
        with self._refusals.translated():
            return self._records(self._writer).get(name)

    def generations(self) -> frozenset[int]:
        """The lowest and the highest generation that objects belong to; empty without objects."""
        ends = "SELECT (SELECT min(gen) FROM objects), (SELECT max(gen) FROM objects)"
        with self._refusals.translated():
            return frozenset(self._writer.execute(ends).fetchone()) - {None}

    def commit(self, known: Head, *changes: Change, **notes: bytes) -> None:
        """Write commits that follow one another, and `notes` beside the last head, all or none."""
        with self._refusals.translated(), self._transaction(known) as transaction:
            for change in changes:
                transaction.apply(change)
            transaction.put_record("head", msgspec.msgpack.encode(changes[-1].head))
            for name, value in notes.items():
                transaction.put_record(name, value)
        self._write_mark()

    def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        with self._refusals.translated(), self._transaction(known) as transaction:
            for key, value in items:
                transaction.put(gen, key, value)

    def drop(self, known: Head, gen: int) -> bool:
        some = "SELECT tbl, id FROM objects WHERE gen = ? LIMIT ?"
        with self._refusals.translated(), self._transaction(known) as transaction:
            keys = self._writer.execute(some, (gen, DROP_OBJECTS)).fetchall()
            for table, name in keys:
                transaction.delete(gen, (table.decode(), name.decode()))
            return len(keys) < DROP_OBJECTS

    def settle(self) -> bool:
        """Remember what is on disk, and empty the log if nothing was written since the last call.

        An empty log cannot be damaged, and the totals cover the database. False when another call
        is needed, about a second later.
        """
        if self._mark is None:
            return True
        self._mark.remember(self._totals)
        rested = self._totals.writes == self._settled
        self._settled = self._totals.writes
        return rested and (self._log_stays or self._empty_log())

    def _empty_log(self) -> bool:
        try:
            with self._refusals.translated():
                self._writer.execute("PRAGMA busy_timeout = 0")
                ((busy, _, _),) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return not busy  # a reader needs the log
        except Unknown:
            # The kernel forgets pages that it could not write, so a second try could succeed and
            # empty the log though the database lacks them.
            self._log_stays = True
            raise
        finally:
            self._writer.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def close(self) -> None:
        with self._refusals.translated():
            if self._mark is not None:
                self._mark.remember(self._totals)
            self._release()

    def _release(self) -> None:
        self._released = True  # readers check it, and close their own connections
        writer: sqlite3.Connection | None = getattr(self, "_writer", None)
        if writer is not None:
            writer.close()
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    @contextlib.contextmanager
    def _transaction(self, known: Head) -> Iterator[Transaction]:
        """One SQLite transaction in which `known` is the head. It writes the totals at its end.

        Raises:
            Fenced: another head is stored.
        """
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self.check_not_replaced()
            records = self._compared(known)
            if TOTALS not in records:
                self._writer.execute(f"PRAGMA user_version = {FORMAT}")
            transaction = Transaction(self._writer, self._totals_in(records))
            yield transaction
            totals = transaction.totals()
            transaction.put_record(TOTALS, msgspec.msgpack.encode(totals))
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self._totals = totals

    def check_not_replaced(self) -> None:
        """Check that the open file is still the one in the directory: a restart would lose the
        writes.

        Raises:
            Corrupt: it was deleted or replaced.
        """
        if self._path is None:
            return
        try:
            found = self._path.stat().st_ino
        except FileNotFoundError:
            found = 0
        if found != self._inode:
            raise self._refusals.corrupt(
                "it was deleted or replaced while this program had it open"
            )

    def _compared(self, known: Head) -> dict[str, bytes]:
        records = self._records(self._writer)
        if self._head_in(records) != known:
            raise Fenced("the store holds another head")
        return records

    def _stream(self, reader: Reader, gen: int) -> Iterator[tuple[Key, bytes]]:
        try:
            with self._refusals.translated():
                yield from self._rows(reader.connection, gen)
        finally:
            reader.close()

    def _rows(self, connection: sqlite3.Connection, gen: int) -> Iterator[tuple[Key, bytes]]:
        tables: dict[bytes, str] = {}
        with self._refusals.damage_named():
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
            raise self._refusals.corrupt(f"its head cannot be read ({error})") from error

    def _totals_in(self, records: dict[str, bytes]) -> Totals:
        """The written totals; those of the rows in a file of an earlier version."""
        with self._refusals.damage_named():
            return totals_in(records) or counted(self._writer)

    def _records(self, connection: sqlite3.Connection) -> dict[str, bytes]:
        """The head, the count of starts, the totals and the notes."""
        with self._refusals.damage_named():
            return read_records(connection)

    def _write_mark(self) -> None:
        """Record, before the first commit is acknowledged, that something is stored."""
        if self._mark is not None and not self._mark.written:
            self._mark.begin(rfc3339_seconds(self._clock.wall_ns()))
