"""Whether a server's cluster has gone on without it: led in a later epoch, or with it taken out.

Pure but for `look`, which gathers what is seen at one moment. A server that was taken for dead may
come back: one that autopilot removed, or that was away when it was removed. What a server does
about it is the seat's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.members.queries import leader_of_region
from bellcow.cluster.peers.changes import FORCED, REMOVE
from bellcow.model.hello import Cluster
from bellcow.model.raft import AUTOPILOT, RaftConfiguration, RemovedServer
from bellcow.state.tables import RAFT

if TYPE_CHECKING:
    from bellcow.cluster.members.roster import Roster
    from bellcow.state.tables import Tables

TAKE_OVER_S = 3.0  # within which another leads, after this server did


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a server sees of its leader, and what it remembers itself."""

    me: str
    now: float
    leader: str = ""  # "" while nobody is known to lead
    is_other: bool = False  # whether the leader is another server that is known
    leader_epoch: int = 0
    leader_index: int | None = None  # None while the leader does not answer
    cluster: Cluster | None = None  # ours
    index: int = 0  # of our memory, which may be late, like the configuration in it
    configuration: RaftConfiguration | None = None


class RemovalWatch(msgspec.Struct, frozen=True):
    """Away is who does not hear the leader, until memory has caught up with it again."""

    away: bool = True  # after a start nobody knows
    led: float | None = None  # when this server led last
    answered_ns: int = 0  # the time of the removal after which it was admitted again

    def over(self, answered_ns: int = 0) -> RemovalWatch:
        """The leader knows of this server, as it has just shown; a removal may be answered by it.

        Times of removals are wall times, in nanoseconds.
        """
        return RemovalWatch(away=False, led=self.led, answered_ns=answered_ns or self.answered_ns)


def look(roster: Roster, tables: Tables, cluster: Cluster | None, now: float) -> Inputs:
    """The view at this moment."""
    table, contacts = roster.table, roster.contacts()
    leader = leader_of_region(table, now)
    raft = contacts[leader][1].raft if leader in contacts else None
    return Inputs(
        me=roster.itself.server_id,
        now=now,
        leader=leader,
        is_other=leader in table.known,
        leader_epoch=table.leader.epoch if table.leader else 0,
        leader_index=raft.index if raft else None,
        cluster=cluster,
        index=tables.index,
        configuration=tables.one(RAFT),
    )


def seen(absence: RemovalWatch, view: Inputs) -> RemovalWatch:
    """The absence after another look. Who has led is not away while another takes over."""
    away, led = absence.away, absence.led
    if view.leader == view.me:
        return RemovalWatch(away=False, led=view.now, answered_ns=absence.answered_ns)
    if not view.leader:
        away = away or led is None or view.now - led > TAKE_OVER_S
    elif view.leader_index is not None:
        away = away and not (_has_caught_up(view) and not is_taken_out(view))
    return RemovalWatch(away, led, absence.answered_ns)


def _has_caught_up(view: Inputs) -> bool:
    return view.leader_index is not None and view.index >= view.leader_index


def was_taken_for_dead(absence: RemovalWatch, view: Inputs) -> bool:
    """Whether this server was removed because it seemed dead, and is not admitted again yet."""
    if not is_taken_out(view):
        return False
    removal = removal_of(view)
    by_autopilot = removal is not None and removal.by == AUTOPILOT
    answered = removal is not None and removal.removed_ns == absence.answered_ns
    return absence.away or (by_autopilot and not answered and _has_caught_up(view))


def is_led_ahead(view: Inputs) -> bool:
    """Whether our cluster has a leader of a later epoch, which can admit us."""
    return view.cluster is not None and view.is_other and view.leader_epoch > view.cluster.epoch


def is_taken_out(view: Inputs) -> bool:
    """Whether the leader, who speaks to us, has us no more in the configuration."""
    return view.configuration is not None and view.is_other and not is_configured(view)


def is_going(view: Inputs) -> bool:
    """Whether we know that we are being taken out, or were, and not because we seem dead."""
    removal = removal_of(view)
    if removal is not None:
        return removal.by != AUTOPILOT
    change = view.configuration.change if view.configuration else None
    if change is None or change.server_id != view.me or change.by == AUTOPILOT:
        return False
    return change.kind in {REMOVE, FORCED}


def removal_of(view: Inputs) -> RemovedServer | None:
    """The record of our own removal, by our memory."""
    removed = view.configuration.removed if view.configuration else ()
    return next((server for server in removed if server.id == view.me), None)


def is_configured(view: Inputs) -> bool:
    """By our memory."""
    servers = view.configuration.servers if view.configuration else ()
    return any(server.id == view.me for server in servers)
