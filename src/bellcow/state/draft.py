"""What a command sees and writes: memory, and over it what this batch has changed so far.

A command is a plain function of a `Draft`. It reads, it writes, it returns its answer or raises
Error; time and randomness come to it as arguments. A command that raises leaves nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from bellcow.state.tables import DELETIONS, ONLY, Deletion, Table, Tables, with_indexes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

T = TypeVar("T")

RowKey: TypeAlias = "tuple[Table[Any], str]"


class Draft:
    """Tables plus the changes of one batch.

    `index` is the one the running command takes if it writes.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._batch: dict[RowKey, Any] = {}
        self._command: dict[RowKey, Any] = {}
        self._takes_index = False
        self.index = tables.index + 1

    def get(self, table: Table[T], row_id: str) -> T | None:
        key = (table, row_id)
        for changes in (self._command, self._batch):
            if key in changes:
                row: T | None = changes[key]
                return row
        return self._tables.get(table, row_id)

    def one(self, table: Table[T]) -> T | None:
        return self.get(table, ONLY)

    def ids(self, table: Table[Any]) -> Iterator[str]:
        """The ids of all rows as the batch leaves them."""
        changed = {**self._batch, **self._command}
        ours = {row_id: row for (other, row_id), row in changed.items() if other is table}
        yield from (row_id for row_id in self._tables.all(table) if row_id not in ours)
        yield from (row_id for row_id, row in ours.items() if row is not None)

    def find(self, table: Table[T], value: Hashable) -> T | None:
        """The row whose `lookup` gives `value`, as the batch leaves it."""
        assert table.lookup is not None  # noqa: S101  a table without one is a slip of ours
        row = self._tables.find(table, value)
        if row is not None and not any(
            key[0] is table and self._tables.get(table, key[1]) is row
            for key in (*self._batch, *self._command)
        ):
            return row
        for (other, _), changed in {**self._batch, **self._command}.items():
            if other is table and changed is not None and table.lookup(changed) == value:
                found: T = changed
                return found
        return None

    def put(self, table: Table[T], row_id: str, row: T) -> T:
        """Write a row; its indexes are set here. Returns it as it will be stored."""
        old: Any = self.get(table, row_id)
        created = self.index if old is None else old.create_index
        stored = with_indexes(row, created, self.index)
        self._command[table, row_id] = stored
        return stored

    def put_one(self, table: Table[T], row: T) -> T:
        return self.put(table, ONLY, row)

    def delete(self, table: Table[Any], row_id: str) -> None:
        """Delete a row, there or not; the table's index moves either way."""
        self._command[table, row_id] = None
        self.put(DELETIONS, table.name, Deletion())

    def take_index(self) -> None:
        """Nomad: a compare-and-set that does not match takes an index though it changes nothing."""
        self._takes_index = True

    def run(self, command: Callable[[Draft], T]) -> T:
        """Run one command. What it changed is in `fresh` until `keep` or `forget` is called."""
        self.forget()
        try:
            return command(self)
        except BaseException:
            self.forget()
            raise

    @property
    def fresh(self) -> dict[RowKey, Any]:
        """What the command that ran last has changed."""
        return self._command

    def keep(self) -> None:
        """Take what the last command changed into the batch; it has its index for good."""
        if self._command or self._takes_index:
            self._batch.update(self._command)
            self.index += 1
        self.forget()

    def forget(self) -> None:
        """Drop what the last command changed and the index it would have taken."""
        self._command = {}
        self._takes_index = False

    @property
    def changes(self) -> dict[RowKey, Any]:
        """The last write of each row that the batch changed."""
        return self._batch

    @property
    def last_index(self) -> int:
        """The index of the last command that took one; memory's own when none did."""
        return self.index - 1
