"""Objects of the state for people to read: by table, decoded, without secrets.

Used by every command that prints a state offline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.cli.shell.errors import CommandError
from bellcow.wire import UNDECODABLE, undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HIDDEN = "<redacted>"
_DELETIONS = "deletions"
# Table to the field of its objects that is secret.
_SECRETS = {"acl_tokens": "SecretID", "license": "Blob"}


def _everything(_value: Any) -> bool:
    return True


def by_table(
    records: Iterable[tuple[str, str, bytes]],
    *,
    secrets: bool,
    wanted: Callable[[Any], bool] = _everything,
) -> dict[str, Any]:
    """The wanted objects of (table, id, value), by table; tables without any are left out.

    Raises:
        CommandError: an object cannot be decoded.
    """
    tables: dict[str, Any] = {}
    for table, name, packed in records:
        try:
            value = msgspec.msgpack.decode(packed)
        except UNDECODABLE as error:
            raise CommandError(
                f"Object {name!r} of {table!r} cannot be read: {undecodable(error)}"
            ) from error
        if table == _DELETIONS and isinstance(value, dict):
            value = {"Table": name, **value}  # the one kind of object without its name inside
        if wanted(value):
            shown = value if secrets else _without_secret(table, value)
            tables.setdefault(table, []).append(shown)
    return tables


def _without_secret(table: str, value: Any) -> Any:
    field = _SECRETS.get(table)
    return {**value, field: HIDDEN} if field and isinstance(value, dict) else value


def to_text(value: Any) -> str:
    """JSON, sorted, indented by two spaces."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode()
