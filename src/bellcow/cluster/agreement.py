"""How the first servers of a cluster agree on who they are: the N lowest ids, asked by the lowest.

Pure: takes the table of members, what was promised and the time. A server promises one list at a
time, so no two lists can both get all their answers, and each list has a cluster id of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members import conflicting_expectations
from bellcow.errors import refused
from bellcow.model.agent import ALIVE

if TYPE_CHECKING:
    from bellcow.cluster.members import Table
    from bellcow.cluster.place import Promise
    from bellcow.model.between import BootstrapRequest
    from bellcow.model.hello import Cluster, Itself

ROUND_S = 5.0  # within which all must have said yes
FRESH_S = 10.0  # a promise this old was followed by a founding, or never will be
GIVEN_UP_S = 60.0  # a proposer that cannot be reached for so long is waited for no more
NS = 1_000_000_000


def clusters_here(table: Table) -> frozenset[Cluster]:
    """Clusters that live servers of our region say they belong to."""
    region = table.me.itself.region
    return frozenset(
        contact.cluster
        for server_id, contact in table.contacts.items()
        if contact.cluster is not None
        and table.known[server_id].record.itself.region == region
        and table.known[server_id].record.status == ALIVE
    )


def founders(table: Table) -> tuple[Itself, ...]:
    """The servers that shall found a cluster, lowest id first; () while it cannot be.

    All must have answered, be without a cluster, and expect the same number of servers as we do.
    """
    me = table.me.itself
    count = me.bootstrap_expect
    if not count or conflicting_expectations(table) or clusters_here(table):
        return ()
    others = (
        known.record.itself
        for server_id, known in table.known.items()
        if known.record.status == ALIVE
        and table.contacts[server_id].raft is not None
        and known.record.itself.region == me.region
    )
    willing = [
        itself
        for itself in (me, *others)
        if itself.bootstrap_expect == count and not itself.non_voting
    ]
    if len(willing) < count:
        return ()
    return tuple(sorted(willing, key=lambda itself: itself.server_id)[:count])


def pairs(servers: tuple[Itself, ...]) -> tuple[tuple[str, str], ...]:
    """Id and peer address of each, as a promise and etcd name them."""
    return tuple((itself.server_id, itself.rpc_address) for itself in servers)


def check_request(
    request: BootstrapRequest, table: Table, cluster: Cluster | None, held: Promise | None
) -> None:
    """Raise Error(REFUSED) unless this server may promise what is asked.

    `held` is a promise that still binds, see `binds`.
    """
    if cluster is not None:
        raise refused(f"this server belongs to cluster {cluster.id}")
    if clusters_here(table):
        raise refused("there is a cluster in this region already")
    mine = pairs(founders(table))
    if not mine:
        raise refused("this server does not see enough servers yet")
    if request.members != mine or request.proposer != mine[0][0]:
        raise refused("this server sees other servers with lower ids")
    if held is not None and held.proposer != request.proposer:
        raise refused(f"promised to server {held.proposer} already")


def binds(promise: Promise, table: Table, now: float, now_ns: int) -> bool:
    """Whether a promise still keeps its giver from another one.

    Its proposer has five seconds. If it says later that it is in no cluster, it has given up; if
    nobody hears of it for a minute, it is given up.
    """
    age_s = (now_ns - promise.time_ns) / NS
    if age_s < FRESH_S:
        return True
    contact = table.contacts.get(promise.proposer)
    if contact is None or contact.raft is None:
        return age_s < GIVEN_UP_S
    silent_s = now - contact.answered
    if silent_s < age_s - FRESH_S:  # it has answered since its time was over
        return contact.cluster is not None
    return silent_s < GIVEN_UP_S


def may_found(promise: Promise, cluster: Cluster, now_ns: int, *, led: bool) -> bool:
    """Whether the promise holds for `cluster`, which its proposer shows.

    Later, and once it has a leader, this server must join: it may have been taken out meanwhile.
    """
    if promise.cluster_id != cluster.id or cluster.epoch:
        return False
    return not led or (now_ns - promise.time_ns) / NS < FRESH_S
