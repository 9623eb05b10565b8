"""What a command reads and writes: the tables, overlaid with the changes of its batch so far.

A command is a plain function of a `Draft`. It reads, it writes, it returns its answer or raises
Error; time and randomness are arguments. A command that raises changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bellcow.state.tables import DELETIONS, ONLY, Deletion, Table, Tables, with_indexes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from bellcow.state.tables import RowKey

T = TypeVar("T")


class _Overlay:
    """Changed rows, and an index of them by `lookup`, so that `find` scans nothing."""

    __slots__ = ("owners", "rows")

    def __init__(self) -> None:
        self.rows: dict[RowKey, Any] = {}  # None: deleted
        self.owners: dict[tuple[Table[Any], Hashable], str | None] = {}  # None: no row has it

    def update(self, later: _Overlay) -> None:
        self.rows.update(later.rows)
        self.owners.update(later.owners)


class Draft:
    """Tables plus the changes of one batch.

    `index` is the one that the running command takes if it writes.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._batch = _Overlay()
        self._command = _Overlay()
        self._takes_index = False
        self.index = tables.index + 1

    def get(self, table: Table[T], row_id: str) -> T | None:
        key = (table, row_id)
        for overlay in (self._command, self._batch):
            if key in overlay.rows:
                row: T | None = overlay.rows[key]
                return row
        return self._tables.get(table, row_id)

    def one(self, table: Table[T]) -> T | None:
        return self.get(table, ONLY)

    def ids(self, table: Table[Any]) -> Iterator[str]:
        """The ids of all rows as the batch leaves them. It visits every row of the table."""
        changed = {**self._batch.rows, **self._command.rows}
        ours = {row_id: row for (other, row_id), row in changed.items() if other is table}
        yield from (row_id for row_id in self._tables.all(table) if row_id not in ours)
        yield from (row_id for row_id, row in ours.items() if row is not None)

    def find(self, table: Table[T], value: Hashable) -> T | None:
        """The row whose `lookup` gives `value`, as the batch leaves it.

        Where several rows give the same value, it is the last one that was written.
        """
        assert table.lookup is not None  # noqa: S101  a table without one is a slip of ours
        key = (table, value)
        for overlay in (self._command, self._batch):
            if key in overlay.owners:
                owner = overlay.owners[key]
                return None if owner is None else self.get(table, owner)
        return self._tables.find(table, value)

    def put(self, table: Table[T], row_id: str, row: T) -> T:
        """Write a row; its indexes are set here. Returns it as it will be stored."""
        old: Any = self.get(table, row_id)
        created = self.index if old is None else old.create_index
        stored = with_indexes(row, created, self.index)
        self._write(table, row_id, old, stored)
        return stored

    def put_one(self, table: Table[T], row: T) -> T:
        return self.put(table, ONLY, row)

    def delete(self, table: Table[Any], row_id: str) -> None:
        """Delete a row, whether it exists or not; the table's index grows either way."""
        self._write(table, row_id, self.get(table, row_id), None)
        self.put(DELETIONS, table.name, Deletion())

    def _write(self, table: Table[Any], row_id: str, old: Any, new: Any) -> None:
        if table.lookup is not None:
            if old is not None and self.find(table, released := table.lookup(old)) is old:
                self._command.owners[table, released] = None
            if new is not None:
                self._command.owners[table, table.lookup(new)] = row_id
        self._command.rows[table, row_id] = new

    def take_index(self) -> None:
        """Nomad: a compare-and-set that does not match takes an index though it changes nothing."""
        self._takes_index = True

    def run(self, command: Callable[[Draft], T]) -> T:
        """Run one command and return its answer. Exceptions of the command pass through.

        Its changes are in `fresh` until `keep` or `forget` is called.
        """
        self.forget()
        try:
            return command(self)
        except BaseException:
            self.forget()
            raise

    @property
    def fresh(self) -> dict[RowKey, Any]:
        """The changes of the command that ran last."""
        return self._command.rows

    def keep(self) -> None:
        """Add the changes of the last command to the batch. Its index is final."""
        if self._command.rows or self._takes_index:
            self._batch.update(self._command)
            self.index += 1
        self.forget()

    def forget(self) -> None:
        """Drop the changes of the last command and the index it would have taken."""
        self._command = _Overlay()
        self._takes_index = False

    @property
    def changes(self) -> dict[RowKey, Any]:
        """The last write of each row that the batch changed; None for a deleted one."""
        return self._batch.rows

    @property
    def last_index(self) -> int:
        """The index of the last command that took one; that of the tables when none did."""
        return self.index - 1
