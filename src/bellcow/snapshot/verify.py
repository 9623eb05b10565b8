"""Check the records of an archive one by one, before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from bellcow.errors import invalid
from bellcow.gocompat.quote import go_quote, printable
from bellcow.snapshot import archive, row_rules
from bellcow.state.tables import ACL_TOKENS, DELETIONS, ONLY, REGISTRY, decode
from bellcow.store.protocol import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.state.tables import Table

ID_CHARS = 64  # of an id in a refusal
REASON_CHARS = 200  # of the reason in a refusal


class Verifier:
    """Checks the records of one archive."""

    def __init__(self, index: int, object_bytes: int = Limits().object_bytes) -> None:
        """`index` is the archive's; `object_bytes` is the store's limit for one object."""
        self._index = index
        self._object_bytes = object_bytes
        self._ids: dict[str, set[str]] = {name: set() for name in REGISTRY}
        self._secrets: set[str] = set()

    def check(self, record: archive.Record) -> None:
        """Check the next record. Records of unknown tables pass.

        Raises:
            invalid: a value is wrong, or an id occurs twice; the text names the row.
        """
        name, row_id, value = record
        table = REGISTRY.get(name)
        if table is None:
            return
        if len(value) > self._object_bytes:
            _refuse(
                record, f"it has {len(value)} bytes, and at most {self._object_bytes} are possible"
            )
        row = _decoded(record)
        reason = _id_problem(table, row_id, row) or "; ".join(row_rules.problems(row, self._index))
        if reason:
            _refuse(record, reason)
        self._check_unique(record, row)

    def _check_unique(self, record: archive.Record, row: Any) -> None:
        name, row_id, _ = record
        if row_id in self._ids[name]:
            _refuse(record, "the id occurs twice")
        self._ids[name].add(row_id)
        if name != ACL_TOKENS.name:
            return
        if row.secret_id in self._secrets:
            _refuse(record, "another token has the same secret")
        self._secrets.add(row.secret_id)


def for_archive(meta: archive.Meta) -> Callable[[archive.Record], None]:
    """The check of each record of an archive with this `meta.json`."""
    return Verifier(meta.index).check


def _decoded(record: archive.Record) -> Any:
    name, row_id, value = record
    try:
        return decode((name, row_id), value)[1]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _refuse(record, f"it cannot be decoded: {error}")


def _id_problem(table: Table[Any], row_id: str, row: Any) -> str:
    if table is DELETIONS:
        return "" if row_id in REGISTRY else "there is no table of that name"
    own = getattr(row, table.key) if table.key else ONLY
    return "" if row_id == own else f"its id should be {go_quote(own, ID_CHARS)}"


def _refuse(record: archive.Record, reason: str) -> NoReturn:
    name, row_id, _ = record
    shown = f"{name} {go_quote(row_id, ID_CHARS)}: {printable(reason, REASON_CHARS)}"
    raise invalid(f"{archive.RAFT}{shown}")
