"""What the leader sees of the servers of its region at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.members.schedule import Target, target_of
from bellcow.model.agent import ALIVE

if TYPE_CHECKING:
    from bellcow.cluster.members.roster import Roster
    from bellcow.model.hello import Record


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """All by server id, this server included.

    A server that dies stops `answering` at once and counts as `alive` for some seconds more. A
    leaving server is alive until it has left, for its vote counts until then.
    """

    alive: frozenset[str]
    answering: frozenset[str]
    names: Mapping[str, str] = {}
    addresses: Mapping[str, str] = {}  # of the peer port, of servers alive
    roles: Mapping[str, str] = {}  # in the consensus, of servers answering
    idle: frozenset[str] = frozenset()  # those whose member does not work now
    clusters: Mapping[str, str] = {}  # cluster id that each said last, dead servers too
    leaving: frozenset[str] = frozenset()  # those answering that said so themselves
    targets: Mapping[str, Target] = {}  # to call them; without this server

    @property
    def taking_part(self) -> frozenset[str]:
        """Servers that answer and whose member works, as far as hello shows."""
        return frozenset(
            each for each in self.answering - self.idle if self.roles.get(each) != "none"
        )


def see(roster: Roster) -> ClusterView:
    """The view that a roster gives."""
    me, alive, contacts = roster.itself, roster.alive() | roster.leaving(), roster.contacts()
    records: dict[str, Record] = {
        known.record.server_id: known.record
        for known in roster.table.known.values()
        if known.record.itself.region == me.region
    }
    addresses = {each: records[each].itself.rpc_address for each in alive if each in records}
    return ClusterView(
        alive=alive,
        answering=frozenset(alive & contacts.keys()) | {me.server_id},
        names=roster.names(),
        addresses={**addresses, me.server_id: me.rpc_address},
        roles={
            server_id: contact.raft.role
            for server_id, (_, contact) in contacts.items()
            if contact.raft is not None
        },
        idle=frozenset(
            server_id
            for server_id, (_, contact) in contacts.items()
            if contact.raft is not None and not contact.raft.works
        ),
        clusters={
            server_id: contact.cluster.id
            for server_id, contact in roster.table.contacts.items()
            if contact.cluster is not None
        },
        leaving=frozenset(
            server_id for server_id, (_, contact) in contacts.items() if contact.status != ALIVE
        ),
        targets={server_id: target_of(record) for server_id, record in records.items()},
    )
