"""Commands that write settings and namespaces: plain functions of a draft, made by handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.errors import refused
from bellcow.model.namespace import DEFAULT, Namespace
from bellcow.state.tables import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.state.draft import Draft
    from bellcow.state.tables import Table


class Written(msgspec.Struct, frozen=True):
    """The index that a write took, and whether it changed the state."""

    index: int
    updated: bool = True


def put_setting(
    table: Table[Any], setting: Any, cas: int | None = None
) -> Callable[[Draft], Written]:
    """Replace a single setting; with `cas` only if that is still its modify index."""

    def command(draft: Draft) -> Written:
        stored = draft.one(table)
        if cas is not None and (stored is None or stored.modify_index != cas):
            draft.take_index()
            return Written(draft.index, updated=False)
        draft.put_one(table, setting)
        return Written(draft.index)

    return command


def put_row(table: Table[Any], row_id: str, row: Any) -> Callable[[Draft], Written]:
    """Add a row, or replace the one with that id."""

    def command(draft: Draft) -> Written:
        draft.put(table, row_id, row)
        return Written(draft.index)

    return command


def put_namespace(namespace: Namespace) -> Callable[[Draft], Written]:
    return put_row(NAMESPACES, namespace.name, namespace)


def delete_namespace(name: str) -> Callable[[Draft], Written]:
    """Delete a namespace. Nomad: deleting an unknown one succeeds.

    The command raises `refused` for the default one.
    """

    def command(draft: Draft) -> Written:
        if name == DEFAULT:
            raise refused("can not delete default namespace")
        draft.delete(NAMESPACES, name)
        return Written(draft.index)

    return command
