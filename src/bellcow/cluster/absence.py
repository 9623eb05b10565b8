"""Whether a server's cluster has gone on without it: led in a later epoch, or with it taken out.

Pure but for `look`, which gathers what is seen at one moment. Who was away when it was taken out
was taken for dead and may come back; what a server does about it is the seat's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.changes import REMOVE
from bellcow.cluster.members import leader_of_region
from bellcow.model.hello import Cluster
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import RAFT

if TYPE_CHECKING:
    from bellcow.cluster.roster import Roster
    from bellcow.state.tables import Tables

TAKE_OVER_S = 3.0  # within which another leads, after this server did


class View(msgspec.Struct, frozen=True, kw_only=True):
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


class Absence(msgspec.Struct, frozen=True):
    """Away is who does not hear the leader, until memory has caught up with it again."""

    away: bool = True  # after a start nobody knows
    led: float | None = None  # when this server led last

    def over(self) -> Absence:
        """The leader knows of this server, as it has just shown."""
        return Absence(away=False, led=self.led)


def look(roster: Roster, tables: Tables, cluster: Cluster | None, now: float) -> View:
    """The view at this moment."""
    table, contacts = roster.table, roster.contacts()
    leader = leader_of_region(table, now)
    raft = contacts[leader][1].raft if leader in contacts else None
    return View(
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


def seen(absence: Absence, view: View) -> Absence:
    """The absence after another look. Who has led is not away while another takes over."""
    away, led = absence.away, absence.led
    if view.leader == view.me:
        return Absence(away=False, led=view.now)
    if not view.leader:
        return Absence(away or led is None or view.now - led > TAKE_OVER_S, led)
    if view.leader_index is None:
        return absence
    caught_up = view.index >= view.leader_index
    return Absence(away and not (caught_up and not is_taken_out(view)), led)


def is_led_ahead(view: View) -> bool:
    """Whether our cluster has a leader of a later epoch, which can admit us."""
    return view.cluster is not None and view.is_other and view.leader_epoch > view.cluster.epoch


def is_taken_out(view: View) -> bool:
    """Whether the leader, who speaks to us, has us no more in the configuration."""
    return view.configuration is not None and view.is_other and not is_configured(view)


def is_going(view: View) -> bool:
    """Whether we know ourselves that we are being taken out."""
    change = view.configuration.change if view.configuration else None
    return change is not None and (change.kind, change.server_id) == (REMOVE, view.me)


def is_configured(view: View) -> bool:
    """By our memory."""
    servers = view.configuration.servers if view.configuration else ()
    return any(server.id == view.me for server in servers)
