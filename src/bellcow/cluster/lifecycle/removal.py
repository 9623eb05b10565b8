"""Whether a server was removed while it was absent, or its cluster is led in a later epoch.

Pure except `look`, which gathers the inputs. A server that was removed because it seemed
dead may come back: autopilot removed it, or it was absent at the time.
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

TAKE_OVER_S = 3.0  # within which another server usually leads after this one did


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a server sees of its leader, and what its own memory holds."""

    me: str
    now: float
    leader: str = ""  # "" while no leader is known
    is_other: bool = False  # whether the leader is another server, and known by hello
    leader_epoch: int = 0
    leader_index: int | None = None  # None while the leader does not answer
    cluster: Cluster | None = None  # ours
    index: int = 0  # of our memory, which may be behind, and so may `configuration`
    configuration: RaftConfiguration | None = None


class RemovalWatch(msgspec.Struct, frozen=True):
    """A server is away from the loss of its leader until its memory has caught up with one."""

    away: bool = True  # also after a start
    led: float | None = None  # when this server led last, monotonic seconds
    answered_ns: int = 0  # wall time of the last removal that was undone by an admission

    def ended(self, answered_ns: int = 0) -> RemovalWatch:
        """Not away any more; `answered_ns` is the removal that an admission has undone."""
        return RemovalWatch(away=False, led=self.led, answered_ns=answered_ns or self.answered_ns)


def look(roster: Roster, tables: Tables, cluster: Cluster | None, now: float) -> Inputs:
    """What this server sees at `now`, in monotonic seconds."""
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


def seen(watch: RemovalWatch, view: Inputs) -> RemovalWatch:
    """The watch after another look. A former leader is away only after 3 s without a new one."""
    away, led = watch.away, watch.led
    if view.leader == view.me:
        return RemovalWatch(away=False, led=view.now, answered_ns=watch.answered_ns)
    if not view.leader:
        away = away or led is None or view.now - led > TAKE_OVER_S
    elif view.leader_index is not None:
        away = away and not (_has_caught_up(view) and not is_removed(view))
    return RemovalWatch(away, led, watch.answered_ns)


def _has_caught_up(view: Inputs) -> bool:
    return view.leader_index is not None and view.index >= view.leader_index


def was_taken_for_dead(watch: RemovalWatch, view: Inputs) -> bool:
    """Whether this server was removed because it seemed dead, and is not admitted again yet."""
    if not is_removed(view):
        return False
    removal = removal_of(view)
    by_autopilot = removal is not None and removal.by == AUTOPILOT
    answered = removal is not None and removal.removed_ns == watch.answered_ns
    return watch.away or (by_autopilot and not answered and _has_caught_up(view))


def is_led_ahead(view: Inputs) -> bool:
    """Whether our cluster has a leader of a later epoch, which can admit us."""
    return view.cluster is not None and view.is_other and view.leader_epoch > view.cluster.epoch


def is_removed(view: Inputs) -> bool:
    """Whether another server leads and our memory of its configuration does not list us."""
    return view.configuration is not None and view.is_other and not is_configured(view)


def is_removal_intended(view: Inputs) -> bool:
    """Whether memory shows that we were or are being removed on purpose, not as dead."""
    removal = removal_of(view)
    if removal is not None:
        return removal.by != AUTOPILOT
    change = view.configuration.change if view.configuration else None
    if change is None or change.server_id != view.me or change.by == AUTOPILOT:
        return False
    return change.kind in {REMOVE, FORCED}


def removal_of(view: Inputs) -> RemovedServer | None:
    """The record of our own removal in memory."""
    removed = view.configuration.removed if view.configuration else ()
    return next((server for server in removed if server.id == view.me), None)


def is_configured(view: Inputs) -> bool:
    """Whether the configuration in memory lists us."""
    servers = view.configuration.servers if view.configuration else ()
    return any(server.id == view.me for server in servers)
