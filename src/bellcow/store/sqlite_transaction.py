"""The writes of one SQLite transaction. They keep the checksum of each row and the totals of all.

`sqlite_files.py` begins and ends the transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.store.sqlite_format import Totals, object_sum, record_sum

if TYPE_CHECKING:
    import sqlite3

    from bellcow.store.protocol import Change, Key

_PUT = "REPLACE INTO objects VALUES (?, ?, ?, ?, ?)"
_PUT_RECORD = "REPLACE INTO head VALUES (?, ?, ?)"
_DELETE = "DELETE FROM objects WHERE gen = ? AND tbl = ? AND id = ?"
_SUM_OF = "SELECT sum FROM objects WHERE gen = ? AND tbl = ? AND id = ?"


class Transaction:
    """Every method raises sqlite3.Error. `before` are the totals when the transaction began."""

    def __init__(self, connection: sqlite3.Connection, before: Totals) -> None:
        self._connection = connection
        self._writes = before.writes + 1
        self._rows = before.rows
        self._sum = before.sum

    def apply(self, change: Change) -> None:
        """Write the objects of a commit to its generation."""
        gen = change.head.gen
        for key, value in change.changes.items():
            if value is None:
                self.delete(gen, key)
            else:
                self.put(gen, key, value)

    def put(self, gen: int, key: Key, value: bytes) -> None:
        table, name = key
        total = object_sum(gen, table.encode(), name.encode(), value)
        self._subtract_row(gen, key)
        self._rows += 1
        self._sum += total
        self._connection.execute(_PUT, (gen, table, name, value, total))

    def delete(self, gen: int, key: Key) -> None:
        self._subtract_row(gen, key)
        self._connection.execute(_DELETE, (gen, *key))

    def put_record(self, name: str, value: bytes) -> None:
        """Write a row of the table `head`. The totals do not count these."""
        total = record_sum(name.encode(), value)
        self._connection.execute(_PUT_RECORD, (name, value, total))

    def totals(self) -> Totals:
        """The totals after the writes so far."""
        return Totals(self._writes, self._rows, self._sum)

    def _subtract_row(self, gen: int, key: Key) -> None:
        """Subtract the row that is replaced or deleted, if it exists."""
        replaced = self._connection.execute(_SUM_OF, (gen, *key)).fetchone()
        if replaced is not None:
            self._rows -= 1
            self._sum -= replaced[0]
