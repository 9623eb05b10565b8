"""Why the cluster of this server has no leader, as an event for the log. Pure.

`no_cluster.py` covers servers that are in no cluster yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.members.queries import leader_of_region
from bellcow.cluster.members.table import FAILED_AFTER_S, Note
from bellcow.model.raft import RaftServer

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Inputs, Table

ANSWERED_S = 2.0  # two rounds of hello


class Missing(msgspec.Struct, frozen=True):
    """A voter that cannot vote: it is silent, or its address is now `now_at`."""

    server: RaftServer
    now_at: str = ""


def is_led(table: Table, inputs: Inputs, now: float) -> bool:
    """Whether our cluster has a leader; also true if this server knows of no voters."""
    if inputs.cluster is None or not inputs.voters:
        return True
    return inputs.leads or leader_of_region(table, now) != ""


def leaderless(table: Table, inputs: Inputs, lasts_s: float, now: float) -> tuple[Note, ...]:
    """Why our cluster has no leader, once that has lasted `FAILED_AFTER_S`; `lasts_s` so far."""
    if is_led(table, inputs, now) or lasts_s < FAILED_AFTER_S:
        return ()
    voters = sorted(inputs.voters, key=lambda each: each.name)  # stored in the order of their ids
    missing = [found for each in voters if (found := _missing(each, table, inputs, now))]
    out = {each.server.id for each in missing}
    needed = len(inputs.voters) // 2 + 1
    fields: dict[str, object] = {
        "voters": len(inputs.voters),
        "needed": needed,
        "answering": ", ".join(each.name for each in voters if each.id not in out),
        "silent": ", ".join(
            f"{each.server.name} at {each.server.address}" for each in missing if not each.now_at
        ),
    }
    if moved := [each for each in missing if each.now_at]:
        fields["moved"] = ", ".join(
            f"{each.server.name} from {each.server.address} to {each.now_at}" for each in moved
        )
    hint = _hint(table, inputs, missing, needed)
    return (Note("no_leader", {**fields, "hint": hint}, lasting=True),)


def _missing(server: RaftServer, table: Table, inputs: Inputs, now: float) -> Missing | None:
    if server.id == table.me.server_id:
        if inputs.raft.role == "none":
            return Missing(server)
        return _moved(server, table.me.itself.rpc_address)
    known, contact = table.known.get(server.id), table.contacts.get(server.id)
    if known is None or contact is None or contact.raft is None:
        return Missing(server)
    if contact.raft.role == "none" or now - contact.answered > ANSWERED_S:
        return Missing(server)
    return _moved(server, known.record.itself.rpc_address)


def _moved(server: RaftServer, address: str) -> Missing | None:
    return None if address == server.address else Missing(server, address)


def _hint(table: Table, inputs: Inputs, missing: list[Missing], needed: int) -> str:
    """What the operator can do."""
    silent = [each for each in missing if not each.now_at]
    answering = len(inputs.voters) - len(silent)
    if answering < needed:
        names = ", ".join(each.server.name for each in silent)
        return (
            f"start {names} until {needed} of {len(inputs.voters)} voters answer; if they are lost "
            "for good: bellcow operator raft recover -h"
        )
    if len(inputs.voters) - len(missing) < needed:
        new = {each.server.id: each.now_at for each in missing}
        out = {each.server.id for each in silent}
        addresses = ",".join(
            new.get(each.id) or each.address for each in inputs.voters if each.id not in out
        )
        return (
            "voters have new addresses, which they can only agree on with a leader: stop them all, "
            f"then on each: bellcow operator raft recover -servers={addresses} DATA_DIR"
        )
    _, port = table.me.itself.rpc
    return (
        "enough voters answer to elect a leader within seconds; if they elect none, check what "
        f"blocks their etcd on port {port}: a firewall, certificates; their logs have etcd_warning"
    )
