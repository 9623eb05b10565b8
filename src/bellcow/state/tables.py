"""The tables in memory, and the registry that names them: one line a table.

Rows are frozen structs in plain dicts. Only the mirror changes a table, one whole commit at a time
and without an await. A row that a reader holds is never changed, only replaced.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec

from bellcow.model.acl import ACLBootstrap, ACLPolicy, ACLToken, secret_digest
from bellcow.model.agent import ClusterIdentity
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.license import StoredLicense, TemporaryLicense
from bellcow.model.namespace import Namespace
from bellcow.model.raft import RaftConfiguration
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.store.protocol import NO_HEAD, Head, Key
from bellcow.wire import Wire, msgpack_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

T = TypeVar("T")

ONLY = "-"
"""Id of the only row of a table that holds a single setting."""


class Deletion(Wire, frozen=True, kw_only=True):
    """The index of a table's last deletion, which no remaining row has."""

    create_index: int = 0
    modify_index: int = 0


class Table(Generic[T]):
    """A table's name, the type of its rows, and how a row is found other than by its id."""

    __slots__ = ("decoder", "key", "kind", "lookup", "name", "shared")

    def __init__(
        self,
        name: str,
        kind: type[T],
        lookup: Callable[[T], Hashable] | None = None,
        *,
        key: str = "",
        shared: tuple[str, ...] = (),
    ) -> None:
        """`lookup` gives a row's second key, unique in the table. `key` is the field with the id.

        `shared` are fields with few distinct values, which all rows then share.
        """
        self.name = name
        self.kind = kind
        self.lookup = lookup
        self.key = key
        self.shared = shared
        self.decoder = msgpack_decoder(kind)

    def __repr__(self) -> str:
        return f"Table({self.name})"


def _token_digest(token: ACLToken) -> bytes:
    return secret_digest(token.secret_id)


RowKey: TypeAlias = tuple[Table[Any], str]
"""A table and the id of a row in it."""

ACL_BOOTSTRAP = Table("acl_bootstrap", ACLBootstrap)
ACL_POLICIES = Table("acl_policies", ACLPolicy, key="name")
ACL_TOKENS = Table(
    "acl_tokens", ACLToken, _token_digest, key="accessor_id", shared=("type", "policies")
)
AUTOPILOT = Table("autopilot_configuration", AutopilotConfiguration)
CLUSTER = Table("cluster", ClusterIdentity)
DELETIONS = Table("deletions", Deletion)
LICENSE = Table("license", StoredLicense)
LICENSE_TEMPORARY = Table("license_temporary", TemporaryLicense)
NAMESPACES = Table("namespaces", Namespace, key="name")
RAFT = Table("raft_configuration", RaftConfiguration)
SCHEDULER = Table("scheduler_configuration", SchedulerConfiguration)

REGISTRY: dict[str, Table[Any]] = {
    table.name: table
    for table in (
        ACL_BOOTSTRAP,
        ACL_POLICIES,
        ACL_TOKENS,
        AUTOPILOT,
        CLUSTER,
        DELETIONS,
        LICENSE,
        LICENSE_TEMPORARY,
        NAMESPACES,
        RAFT,
        SCHEDULER,
    )
}


class UnknownTableError(Exception):
    """The store holds a table of another version of this program."""


class Rows:
    """The rows of one generation, and their indexes."""

    __slots__ = ("by_lookup", "index", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {name: {} for name in REGISTRY}
        self.by_lookup: dict[str, dict[Hashable, Any]] = {
            name: {} for name, table in REGISTRY.items() if table.lookup
        }
        self.index: dict[str, int] = dict.fromkeys(REGISTRY, 0)

    def put(self, table: Table[Any], row_id: str, row: Any) -> None:
        rows = self.rows[table.name]
        if table.key and (own := getattr(row, table.key)) == row_id:
            row_id = own  # one string instead of two
        for name in table.shared:
            msgspec.structs.force_setattr(row, name, _interned(getattr(row, name)))
        if table.lookup is not None:
            self._unindex(table, rows.get(row_id))
            self.by_lookup[table.name][table.lookup(row)] = row
        rows[row_id] = row
        self._touch(table.name if table is not DELETIONS else row_id, row.modify_index)

    def delete(self, table: Table[Any], row_id: str) -> None:
        self._unindex(table, self.rows[table.name].pop(row_id, None))

    def _unindex(self, table: Table[Any], old: Any) -> None:
        """Drop the second key of `old`, unless another row of the commit has taken it."""
        if old is not None and table.lookup is not None:
            found, value = self.by_lookup[table.name], table.lookup(old)
            if found.get(value) is old:
                del found[value]

    def drain(self) -> None:
        """Free every row, one at a time. For a worker thread.

        Freeing a whole table at once would hold the interpreter lock until all rows are freed.
        """
        tables: list[dict[Any, Any]] = [*self.by_lookup.values(), *self.rows.values()]
        for rows in tables:
            while rows:
                rows.popitem()

    def _touch(self, name: str, index: int) -> None:
        if index > self.index.get(name, 0):
            self.index[name] = index


def decode(key: Key, value: bytes) -> tuple[Table[Any], Any]:
    """A stored object as a row of its table.

    UNDECODABLE of `wire` passes through when the object is no such row.

    Raises:
        UnknownTableError: a newer version wrote the object.
    """
    table = REGISTRY.get(key[0])
    if table is None:
        raise UnknownTableError(
            f'the store holds objects of a kind "{key[0]}" that this version does not know; '
            "start the version that wrote them"
        )
    return table, table.decoder.decode(value)


@functools.lru_cache(maxsize=4_096)
def _interned(value: Any) -> Any:
    """One object for equal strings, or tuples of strings, however many rows hold it."""
    return tuple(map(sys.intern, value)) if isinstance(value, tuple) else value


def fill(items: Iterable[tuple[Key, bytes]]) -> Rows:
    """New rows from stored objects. Exceptions of `decode` pass through. For any thread."""
    rows = Rows()
    for key, value in items:
        table, row = decode(key, value)
        rows.put(table, key[1], row)
    return rows


class Tables:
    """The state that all readers read. `head` is the last commit applied."""

    def __init__(self) -> None:
        self.head: Head = NO_HEAD
        self._rows = Rows()
        self._applied = 0
        self._versions = dict.fromkeys(REGISTRY, 0)

    @property
    def index(self) -> int:
        """The index of the last commit applied."""
        return self.head.index

    def get(self, table: Table[T], row_id: str) -> T | None:
        row: T | None = self._rows.rows[table.name].get(row_id)
        return row

    def one(self, table: Table[T]) -> T | None:
        """The row of a table that holds a single setting."""
        return self.get(table, ONLY)

    def all(self, table: Table[T]) -> Mapping[str, T]:
        """All rows by id. A view: copy it before the next await."""
        return self._rows.rows[table.name]

    def find(self, table: Table[T], value: Hashable) -> T | None:
        """The row whose `lookup` gives `value`."""
        row: T | None = self._rows.by_lookup[table.name].get(value)
        return row

    def version(self, *tables: Table[Any]) -> int:
        """A number that changes with each commit to any of `tables`, whatever their rows' indexes.

        For caches. It counts the commits that this process applied: do not compare it elsewhere.
        """
        latest = 0
        versions = self._versions
        for table in tables:
            version = versions[table.name]
            if version > latest:  # noqa: PLR1730  as in `table_index`
                latest = version
        return latest

    def row_index(self, row: Any) -> int:
        """The index of the last write to a row, between the floor and the index of memory.

        Below the floor it would fall after a restore. Above the index of memory, a client that
        waits for a higher one would miss later writes.
        """
        return max(min(int(row.modify_index), self.head.index), self.head.floor)

    def table_index(self, *tables: Table[Any]) -> int:
        """The index of the last write to any of `tables`, within the same bounds as `row_index`."""
        highest = 0
        indexes = self._rows.index
        for table in tables:
            index = indexes[table.name]
            if index > highest:  # noqa: PLR1730  each request asks, and `max` costs twice as much
                highest = index
        return max(min(highest, self.head.index), self.head.floor)

    def apply(
        self,
        head: Head,
        changes: Mapping[Key, bytes | None],
        rows: Mapping[RowKey, Any] | None = None,
    ) -> set[str]:
        """Apply one whole commit. Called by the mirror only.

        `rows` are the rows that `changes` encode, None for deleted ones, where this process has
        them. Returns the names of the tables it changed. Exceptions of `decode` pass through, with
        nothing changed.
        """
        if rows is None:
            rows = _decoded_rows(changes)
        touched: set[str] = set()
        for (table, row_id), row in rows.items():
            if row is None:
                self._rows.delete(table, row_id)
            else:
                self._rows.put(table, row_id, row)
            touched.add(table.name if table is not DELETIONS else row_id)
        self.head = head
        self._advance(touched)
        return touched

    def replace(self, head: Head, rows: Rows) -> Rows:
        """Replace all rows, by another generation or a later load. Called by the mirror only.

        Returns the replaced rows.
        """
        old, self._rows = self._rows, rows
        self.head = head
        self._advance(REGISTRY)
        return old

    def _advance(self, names: Iterable[str]) -> None:
        self._applied += 1
        self._versions.update(dict.fromkeys(names, self._applied))


def _decoded_rows(changes: Mapping[Key, bytes | None]) -> dict[RowKey, Any]:
    """All rows of a commit, before any is applied: an unreadable one must not leave half of it."""
    rows: dict[RowKey, Any] = {}
    for (name, row_id), value in changes.items():
        if value is None:
            rows[REGISTRY[name], row_id] = None
        else:
            table, row = decode((name, row_id), value)
            rows[table, row_id] = row
    return rows


def with_indexes(row: T, create_index: int, modify_index: int) -> T:
    """A copy of the row with these indexes."""
    changed: T = msgspec.structs.replace(row, create_index=create_index, modify_index=modify_index)  # type: ignore[type-var]
    return changed
