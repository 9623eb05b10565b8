"""Rules for silent members: when one fails, when it is removed from the table, and force-leave.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.members.notes import changes
from bellcow.cluster.members.table import (
    FAILED_AFTER_S,
    GONE,
    Inputs,
    Leader,
    Outcome,
    is_silent,
    put,
    replace,
    silence_s,
    with_status,
    without,
    without_doubt,
)
from bellcow.model.agent import ALIVE, FAILED, LEFT

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table
    from bellcow.model.hello import Record, Status

REAPED_AFTER_S = {FAILED: 72 * 3600.0, LEFT: 24 * 3600.0}
UNHEARD_REAPED_S = 60.0  # after its failure, for a server that never answered


def missed(table: Table, server_id: str) -> Table:
    """Count a hello to this server that had no answer."""
    contact = table.contacts.get(server_id)
    if contact is None:
        return table
    contact = msgspec.structs.replace(contact, missed=contact.missed + 1)
    return replace(table, contacts={**table.contacts, server_id: contact})


def judge(table: Table, inputs: Inputs, now: float) -> Outcome:
    """Mark silent servers as failed, and remove those that were dead for long.

    In our region the leader decides which have failed; without a leader each server decides alone.
    """
    before = table
    table = _with_own_claim(table, inputs, now)
    table = _with_doubts_settled(table, now)
    decides = _decides(table, now)
    for known in table.known.values():
        record = known.record
        ours = decides or record.itself.region != table.me.itself.region
        if record.status not in GONE and ours and is_silent(table, record, now):
            status: Status = "failed" if record.status == ALIVE else "left"
            table = put(table, with_status(record, status), now)
        elif record.status in GONE and now - known.since >= _reaped_after_s(table, record, ours):
            table = without(table, [record.server_id])
    return Outcome(table, changes(before, table))


def _with_doubts_settled(table: Table, now: float) -> Table:
    """Accept the claims about servers that did not answer the call that was to verify them."""
    for server_id, doubt in table.doubts.items():
        if table.contacts[server_id].missed > doubt.missed:
            if doubt.claimed is not None:
                table = put(table, doubt.claimed, now)
            table = without_doubt(table, server_id)
    return table


def _reaped_after_s(table: Table, record: Record, ours: bool) -> float:
    """Seconds until a dead server is removed from the table; `ours` if this server decides."""
    if ours and not table.contacts[record.server_id].heard:
        return UNHEARD_REAPED_S
    return REAPED_AFTER_S[record.status]


def _with_own_claim(table: Table, inputs: Inputs, now: float) -> Table:
    me, leader = table.me.server_id, table.leader
    if inputs.leads:
        mine = Leader(server_id=me, epoch=inputs.epoch, term=inputs.raft.term, heard=now)
        other = leader if leader is not None and leader.server_id != me else None
        speaks = other is not None and now - other.heard < FAILED_AFTER_S
        if other and speaks and (other.epoch, other.term) > (mine.epoch, mine.term):
            return table
        return replace(table, leader=mine)
    if leader is not None and leader.server_id == me:
        return replace(table, leader=None)
    return table


def _decides(table: Table, now: float) -> bool:
    leader = table.leader
    if leader is None or leader.server_id == table.me.server_id:
        return True
    return now - leader.heard >= FAILED_AFTER_S


def next_verdict(table: Table, now: float) -> float:
    """Seconds until `judge` may find another result than now."""
    waits, decides = [60.0], _decides(table, now)
    for server_id, known in table.known.items():
        if known.record.status in GONE:
            ours = decides or known.record.itself.region != table.me.itself.region
            waits.append(known.since + _reaped_after_s(table, known.record, ours) - now)
        else:
            contact = table.contacts[server_id]
            left = contact.answered + silence_s(table, known.record) - now
            waits.append(left if left > 0 else 0.5)
    return max(0.001, min(waits))


def force_leave(table: Table, member_name: str, now: float, *, prune: bool) -> Outcome:
    """Mark a failed member as left, or with `prune` remove it from the table.

    Nomad: a live server is not affected, and an unknown name is no error.
    """
    before = table
    for server_id, known in before.known.items():
        if known.record.itself.member_name != member_name or known.record.status not in GONE:
            continue
        if prune:
            table = without(table, [server_id])
        elif known.record.status == FAILED:
            table = put(table, with_status(known.record, "left"), now)
    return Outcome(table, changes(before, table))
