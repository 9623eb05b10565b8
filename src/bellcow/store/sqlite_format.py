"""The embedded store's file: its tables, the number of its format, and the checksum of a row.

What writes the file and what reads it beside a running server take these from here.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

FORMAT = 1  # of the tables below, kept in SQLite's user_version

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


def has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def object_sum(gen: int, table: bytes, name: bytes, value: bytes) -> int:
    """The checksum of an object's row, over its key as well: a value in a wrong place is damage."""
    return zlib.crc32(value, zlib.crc32(b"%d\0%b\0%b\0" % (gen, table, name)))


def record_sum(name: bytes, value: bytes) -> int:
    """The checksum of a row of the table `head`."""
    return object_sum(0, b"", name, value)
