"""Small reads of memory that one part of a server passes to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.autopilot.rules import Contact, Silence
from bellcow.cluster.members.schedule import Target, target_of
from bellcow.cluster.members.table import Inputs
from bellcow.gocompat.duration import Duration
from bellcow.model.agent import FAILED, Member
from bellcow.model.hello import RaftView, Role
from bellcow.state.tables import RAFT, Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.clock import Clock
    from bellcow.cluster.leadership import Leadership
    from bellcow.cluster.lifecycle.protocol import Lifecycle
    from bellcow.cluster.members.roster import Roster

NOBODY: frozenset[str] = frozenset()


def here_of(lifecycle: Lifecycle, leadership: Leadership, tables: Tables, clock: Clock) -> Inputs:
    """This server's cluster, consensus and configuration: for its hellos, and to judge others'."""
    cluster, head, configuration = lifecycle.cluster, tables.head, tables.one(RAFT)
    role: Role = "follower" if lifecycle.has_member else "none"
    return Inputs(
        cluster=cluster,
        raft=RaftView(
            role="leader" if leadership.is_leader else role,
            term=head.term,
            index=head.index,
            commit=head.commit,
            works=leadership.member_answers,
        ),
        claimant=head.leader,
        member_term=leadership.member_term if lifecycle.has_member else 0,
        servers=frozenset(each.id for each in configuration.servers) if configuration else NOBODY,
        voters=tuple(e for e in configuration.servers if e.voter) if configuration else (),
        removed=frozenset(e.id for e in configuration.removed) if configuration else NOBODY,
        wall_ns=clock.wall_ns(),
    )


def configured_addresses(tables: Tables) -> dict[str, str]:
    """Addresses of the raft configuration by server id; none while it is not known."""
    configuration = tables.one(RAFT)
    return {each.id: each.address for each in configuration.servers} if configuration else {}


def voters_of(roster: Roster) -> list[Target]:
    """Live voters, the leader last because it has the most load.

    They are not ordered by their last answer: a non-voter hears from each only once a second.
    """
    table, alive = roster.table, roster.alive()
    voters = [
        (contact.raft.role == "leader", target_of(table.known[server_id].record))
        for server_id, contact in table.contacts.items()
        if contact.raft is not None and contact.raft.role != "none" and server_id in alive
    ]
    return [target for _, target in sorted(voters, key=lambda voter: voter[0])]


def founding_of(lifecycle: Lifecycle) -> str:
    """The founding of this server's cluster; "" for one that was never recovered."""
    return lifecycle.cluster.founding if lifecycle.cluster else ""


def index_of_leader(roster: Roster) -> int:
    """The leader's index in its latest hello; 0 on the leader itself, or without a leader."""
    leader = roster.table.leader
    return leader.index if leader is not None else 0


class Contacts:
    """Autopilot's view of the servers: others by their hellos, this one always in contact."""

    def __init__(self, roster: Roster, tables: Tables, clock: Clock) -> None:
        self._roster = roster
        self._tables = tables
        self._clock = clock

    def members_by_id(self) -> Mapping[str, Member]:
        return {member.tags["id"]: member for member in self._roster.members()}

    def silences(self) -> Mapping[str, Silence]:
        now, table = self._clock.monotonic(), self._roster.table
        return {
            server_id: Silence(now - known.since, now - table.contacts[server_id].answered)
            for server_id, known in table.known.items()
            if known.record.status == FAILED
        }

    async def contacts(self, server_ids: tuple[str, ...]) -> Mapping[str, Contact]:
        head = self._tables.head
        found = {
            server_id: Contact(
                last_contact=Duration.seconds(age_s),
                last_term=answered.raft.term,
                last_index=answered.raft.index,
            )
            for server_id, (age_s, answered) in self._roster.contacts().items()
            if answered.raft is not None
        }
        found[self._roster.itself.server_id] = Contact(
            last_contact=Duration(0), last_term=head.term, last_index=head.index
        )
        return {server_id: found[server_id] for server_id in server_ids if server_id in found}
