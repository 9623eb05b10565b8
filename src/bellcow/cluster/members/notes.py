"""Events for the log: changes of the table of members, and settings that disagree. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import conflicting_expectations
from bellcow.cluster.members.table import GONE, Inputs, Note, has_moved
from bellcow.model.agent import ALIVE, FAILED, LEAVING, LEFT
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table
    from bellcow.model.hello import Itself, Record

ACL_HINT = "write acl { enabled = true } into the file of every server and restart it"


def disagreements(table: Table, sender: Record, inputs: Inputs) -> tuple[Note, ...]:
    """The sender's conflicts with other servers: name, bootstrap_expect, ACLs. All `lasting`."""
    itself, notes = sender.itself, []
    fields: dict[str, object] = {"name": itself.member_name, "server": sender.server_id}
    namesakes = _namesakes(table, itself)
    if namesakes and sender.status == ALIVE:
        notes.append(Note("name_conflict", {**_named(itself), **_by(namesakes[0])}, lasting=True))
    if inputs.cluster is None and sender in conflicting_expectations(table):
        mine = table.me.itself.bootstrap_expect
        expected = {**fields, "theirs": itself.bootstrap_expect, "ours": mine}
        notes.append(Note("expect_differs", expected, lasting=True))
    if _differ_in_acl(table.me.itself, itself) and sender.status == ALIVE:
        settings = {"theirs": itself.acl, "ours": table.me.itself.acl, "hint": ACL_HINT}
        notes.append(Note("acl_differs", {**fields, **settings}, lasting=True))
    return tuple(notes)


def _differ_in_acl(mine: Itself, theirs: Itself) -> bool:
    return mine.region == theirs.region and {mine.acl, theirs.acl} == {True, False}


def _by(other: Itself) -> dict[str, object]:
    hint = "give one of them another name, by -node or in its file, and restart it"
    return {"by": other.server_id, "by_address": _named(other)["address"], "hint": hint}


def _namesakes(table: Table, itself: Itself) -> list[Itself]:
    """Other live servers of the same name and region."""
    records = [table.me, *(known.record for known in table.known.values())]
    return [
        record.itself
        for record in records
        if record.itself.name == itself.name
        and record.itself.region == itself.region
        and record.server_id != itself.server_id
        and record.status not in GONE
    ]


def changes(before: Table, after: Table) -> tuple[Note, ...]:
    """One note for each member whose status or address differs between the tables."""
    notes = []
    if before.ahead != after.ahead and after.ahead is not None:
        ahead = {"cluster": after.ahead.id, "epoch": after.ahead.epoch}
        notes.append(Note("recovery_missed", ahead))
    if before.known is after.known:
        return tuple(notes)
    for server_id, known in after.known.items():
        old = before.known.get(server_id)
        notes.extend(_change(old.record if old else None, known.record))
    forgotten = (known for key, known in before.known.items() if key not in after.known)
    notes.extend(Note("member_forgotten", _named(known.record.itself)) for known in forgotten)
    return tuple(notes)


_EVENT_OF = {
    ALIVE: "member_alive",
    FAILED: "member_failed",
    LEAVING: "member_leaving",
    LEFT: "member_left",
}


def _change(old: Record | None, new: Record) -> list[Note]:
    fields, notes = _named(new.itself), []
    if old is None:
        return [Note("member_alive", fields)] if new.status == ALIVE else []
    if old.status != new.status:
        notes.append(Note(_EVENT_OF[new.status], fields))
    if has_moved(old.itself, new.itself):
        moved = {"name": new.itself.member_name, "address": new.itself.rpc_address}
        notes.append(Note("address_changed", moved))
    return notes


def _named(itself: Itself) -> dict[str, object]:
    address = join_host_port(itself.serf)
    return {"name": itself.member_name, "server": itself.server_id, "address": address}
