"""The format of the embedded store's file: tables, checksums, totals, and how they are read.

Every row has a checksum (CRC-32). The record `totals` has the count of the rows of `objects` and
the sum of their checksums, so a row that is missing, or older than the others, is found too.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

FORMAT = 2  # stored in SQLite's user_version
BEFORE_TOTALS = 1  # the same tables; the first write adds the record `totals`
TOTALS = "totals"

TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE head (
  name TEXT PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE objects (
  gen INTEGER NOT NULL, tbl TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL,
  sum INTEGER NOT NULL, PRIMARY KEY (gen, tbl, id)
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class Damaged(Exception):
    """The content of a file is damaged; the message says how."""


class Totals(msgspec.Struct, frozen=True):
    """All rows of `objects` after a transaction.

    `writes` counts the transactions of this file and so tells an older state from a newer one;
    `sum` is the sum of the rows' checksums.
    """

    writes: int = 0
    rows: int = 0
    sum: int = 0


def has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def object_sum(gen: int, table: bytes, name: bytes, value: bytes) -> int:
    """The checksum of an object's row. It covers the key: a value under another key is damage."""
    return zlib.crc32(value, zlib.crc32(b"%d\0%b\0%b\0" % (gen, table, name)))


def record_sum(name: bytes, value: bytes) -> int:
    """The checksum of a row of the table `head`."""
    return object_sum(0, b"", name, value)


def read_records(connection: sqlite3.Connection) -> dict[str, bytes]:
    """The whole table `head`: a search could miss a row whose name is damaged.

    Raises:
        Damaged: a record is not what was written.
    """
    found = {}
    for name, value, total in connection.execute("SELECT name, value, sum FROM head"):
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise Damaged("its head is not what was written")
        if record_sum(name, value) != total:
            raise Damaged("checksum of its head does not match")
        found[name.decode()] = value
    return found


def read_rows(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Generation, table, id and value of all objects.

    All generations are read: a search for one ends early at a row whose number is damaged.

    Raises:
        Damaged: a row is not what was written; rows before it may have been returned.
    """
    rows = connection.execute("SELECT gen, tbl, id, value, sum FROM objects")
    try:
        for gen, table, name, value, total in rows:
            if object_sum(gen, table, name, value) != total:
                raise Damaged(f"checksum of an object in {table!r} does not match (id {name!r})")
            yield gen, table, name, value
    except (TypeError, ValueError) as error:
        raise Damaged(f"a row is not what was written ({error})") from error


def totals_in(records: dict[str, bytes]) -> Totals | None:
    """The totals written with the last transaction; None if there are none.

    Raises:
        Damaged: they cannot be decoded.
    """
    raw = records.get(TOTALS)
    if raw is None:
        return None
    try:
        return msgspec.msgpack.decode(raw, type=Totals)
    except msgspec.DecodeError as error:
        raise Damaged(f"its totals cannot be read ({error})") from error


def counted(connection: sqlite3.Connection, writes: int = 0) -> Totals:
    """The totals of the present rows."""
    statement = "SELECT count(*), coalesce(sum(sum), 0) FROM objects"
    rows, total = connection.execute(statement).fetchone()
    return Totals(writes, rows, total)


def check_totals(connection: sqlite3.Connection, records: dict[str, bytes], version: int) -> Totals:
    """The written totals, compared with the rows.

    Raises:
        Damaged: the totals are missing, or are not those of the rows.
    """
    written = totals_in(records)
    if written is None:
        found = counted(connection)
        if version != BEFORE_TOTALS and (records or found.rows):
            raise Damaged("its totals are missing")
        return found
    found = counted(connection, written.writes)
    if found != written:
        raise Damaged(
            f"it has {found.rows} rows whose checksums add up to {found.sum}, and {written.rows}"
            f" rows with {written.sum} were written: pages are missing or older than the rest"
        )
    return written
