"""How the first servers of a cluster agree on who they are: the N lowest ids, asked by the lowest.

Pure: takes the table of members, what was promised and the time. Each list has a cluster id of its
own, and a server founds only what it has promised last. It promises another list only when nothing
can come of the earlier ones, so of two lists that share a server at most one is founded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import clusters_here, conflicting_expectations, willing
from bellcow.errors import refused
from bellcow.wire import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cluster.datadir import Promise
    from bellcow.cluster.members.table import Table
    from bellcow.model.hello import Cluster, Itself
    from bellcow.model.membership_calls import BootstrapRequest

ROUND_S = 5.0  # within which all must have said yes
FRESH_S = 10.0  # a promise this old was followed by a founding, or never will be
GIVEN_UP_S = 60.0  # a proposer, or a majority, that does not show for so long is given up


def founders(table: Table) -> tuple[Itself, ...]:
    """The servers that shall found a cluster, lowest id first; () while it cannot be.

    All must have answered, be without a cluster, and expect the same number of servers as we do.
    """
    count = table.me.itself.bootstrap_expect
    if not count or conflicting_expectations(table) or clusters_here(table):
        return ()
    first = willing(table)
    if len(first) < count:
        return ()
    return tuple(sorted(first, key=lambda itself: itself.server_id)[:count])


def pairs(servers: tuple[Itself, ...]) -> tuple[tuple[str, str], ...]:
    """Id and peer address of each, as a promise and etcd name them."""
    return tuple((itself.server_id, itself.rpc_address) for itself in servers)


def check_request(
    request: BootstrapRequest,
    table: Table,
    cluster: Cluster | None,
    promises: tuple[Promise, ...],
    now: float,
    now_ns: int,
) -> None:
    """Raise Error(REFUSED) unless this server may promise what is asked."""
    if cluster is not None:
        raise refused(f"this server belongs to cluster {cluster.id}")
    if clusters_here(table):
        raise refused("there is a cluster in this region already")
    mine = pairs(founders(table))
    if not mine:
        raise refused("this server does not see enough servers yet")
    if request.members != mine or request.proposer != mine[0][0]:
        raise refused("this server sees other servers with lower ids")
    for held in promises:
        asked_anew = held.proposer == request.proposer and not held.given_up
        if not asked_anew and binds(held, request.members, table, now, now_ns):
            raise refused(f"promised to server {held.proposer} already")


def with_promise(promises: tuple[Promise, ...], promise: Promise) -> tuple[Promise, ...]:
    """The promises with a new one, which comes last: it is the one to be kept.

    The others stay, for what they promise may still come true without this server. Of several that
    are alike one is enough: a proposer who asks anew does so because the last time failed.
    """
    return (*(held for held in promises if not _alike(held, promise)), promise)


def _alike(one: Promise, other: Promise) -> bool:
    return one.proposer == other.proposer and one.members == other.members


def still_open(
    promises: tuple[Promise, ...], table: Table, now: float, now_ns: int
) -> tuple[Promise, ...]:
    """Those that may come true: their proposer has not said since that it is in no cluster."""
    return tuple(each for each in promises if not _came_to_nothing(each, table, now, now_ns))


def _came_to_nothing(promise: Promise, table: Table, now: float, now_ns: int) -> bool:
    age_s, silent_s = _ages(promise, table, now, now_ns)
    if age_s < FRESH_S or silent_s >= age_s - FRESH_S:
        return False  # its proposer has not answered since its time was over
    return table.contacts[promise.proposer].cluster is None


def _ages(promise: Promise, table: Table, now: float, now_ns: int) -> tuple[float, float]:
    """Seconds since the promise, and since its proposer answered, if it did so later."""
    age_s = (now_ns - promise.time_ns) / NS_PER_S
    contact = table.contacts.get(promise.proposer)
    if contact is None or contact.raft is None:
        return age_s, age_s
    return age_s, min(age_s, now - contact.answered)


def binds(
    promise: Promise,
    members: tuple[tuple[str, str], ...],
    table: Table,
    now: float,
    now_ns: int,
) -> bool:
    """Whether an open promise keeps its giver from one to found a cluster of these members.

    Its proposer has five seconds to tell everybody. If nobody hears of it for a minute, it is given
    up, but only where that makes no second cluster: so many of its servers are among the new ones
    that too few are left to found the old cluster, once all of the new ones have said yes.
    """
    age_s, silent_s = _ages(promise, table, now, now_ns)
    if age_s < FRESH_S or silent_s < GIVEN_UP_S:
        return True
    earlier = {server_id for server_id, _ in promise.members}
    shared = sum(server_id in earlier for server_id, _ in members)
    return shared < len(earlier) - len(earlier) // 2


def may_found(promise: Promise, cluster: Cluster, now_ns: int, *, led: bool) -> bool:
    """Whether the promise holds for `cluster`, which its proposer shows.

    Later, and once it has a leader, this server must join: it may have been taken out meanwhile.
    """
    if promise.cluster_id != cluster.id or cluster.epoch or promise.given_up:
        return False
    return not led or (now_ns - promise.time_ns) / NS_PER_S < FRESH_S


def is_forsaken(promise: Promise, me: str, answering: Mapping[str, Cluster | None]) -> bool:
    """Whether all others of the list answer and are elsewhere, so nobody will found it with us.

    `answering` holds the servers that answer now, and the cluster that each is in.
    """
    others = (server_id for server_id, _ in promise.members if server_id != me)
    return all(
        server_id in answering and _is_elsewhere(answering[server_id], promise)
        for server_id in others
    )


def _is_elsewhere(cluster: Cluster | None, promise: Promise) -> bool:
    return cluster is None or cluster.id != promise.cluster_id
