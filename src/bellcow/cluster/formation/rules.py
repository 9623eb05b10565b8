"""How the first servers agree on their cluster: the N lowest ids form it, the lowest one proposes.

Pure: takes the table of members, the promises and the time. Each proposal has a list of servers and
a new cluster id. A server forms only the cluster it promised last, and promises another list only
when the earlier ones cannot succeed. So of two lists that share a server at most one succeeds.

The protocol and its times are bellcow's own. Nomad, nomad/serf.go, `maybeBootstrap`: each server
asks the others only whether they have peers, then bootstraps by its own list of members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import clusters_here, conflicting_expectations, willing
from bellcow.errors import refused
from bellcow.gocompat.duration import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cluster.datadir import Promise
    from bellcow.cluster.members.table import Table
    from bellcow.model.hello import Cluster, Itself
    from bellcow.model.membership_calls import BootstrapRequest

ROUND_S = 5.0  # chosen: within which all servers must promise
FRESH_S = 10.0  # twice ROUND_S: after which a proposal has succeeded or never will
GIVEN_UP_S = 60.0  # chosen: of silence, after which a proposer or a missing majority is given up


def founders(table: Table) -> tuple[Itself, ...]:
    """The servers that are to form a cluster, lowest id first; () while there are too few.

    All must have answered, be in no cluster, and expect the same number of servers as this one.
    """
    count = table.me.itself.bootstrap_expect
    if not count or conflicting_expectations(table) or clusters_here(table):
        return ()
    first = willing(table)
    if len(first) < count:
        return ()
    return tuple(sorted(first, key=lambda itself: itself.server_id)[:count])


def pairs(servers: tuple[Itself, ...]) -> tuple[tuple[str, str], ...]:
    """Server id and peer address of each, as promises and etcd use them."""
    return tuple((itself.server_id, itself.rpc_address) for itself in servers)


def check_request(
    request: BootstrapRequest,
    table: Table,
    cluster: Cluster | None,
    promises: tuple[Promise, ...],
    now: float,
    now_ns: int,
) -> None:
    """Check that this server may promise what is asked.

    `now` is monotonic, in seconds, and `now_ns` is wall time.

    Raises:
        refused: there is a cluster, this server sees other servers, or an earlier promise binds it.
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
    for held in promises:
        asked_anew = held.proposer == request.proposer and not held.given_up
        if not asked_anew and binds(held, request.members, table, now, now_ns):
            raise refused(f"already promised to form the cluster of server {held.proposer}")


def with_promise(promises: tuple[Promise, ...], promise: Promise) -> tuple[Promise, ...]:
    """The promises with a new one, which comes last: that is the one this server keeps.

    The others stay, for their clusters may still be formed without this server. A repeated
    proposal replaces the earlier one, which must have failed.
    """
    return (*(held for held in promises if not _alike(held, promise)), promise)


def _alike(one: Promise, other: Promise) -> bool:
    return one.proposer == other.proposer and one.members == other.members


def still_open(
    promises: tuple[Promise, ...], table: Table, now: float, now_ns: int
) -> tuple[Promise, ...]:
    """Those that may still succeed: their proposer has not said since that it is in no cluster."""
    return tuple(each for each in promises if not _has_failed(each, table, now, now_ns))


def _has_failed(promise: Promise, table: Table, now: float, now_ns: int) -> bool:
    age_s, silent_s = _ages(promise, table, now, now_ns)
    if age_s < FRESH_S or silent_s >= age_s - FRESH_S:
        return False  # the proposer has not answered since the round ended
    return table.contacts[promise.proposer].cluster is None


def _ages(promise: Promise, table: Table, now: float, now_ns: int) -> tuple[float, float]:
    """Seconds since the promise, and since the later of it and its proposer's last answer."""
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
    """Whether an open promise forbids a promise to form a cluster of these members.

    Its proposer has five seconds for its round. After a minute of silence the promise is given up
    if that allows no second cluster: the servers that only the old list has must not be a majority
    of it.
    """
    age_s, silent_s = _ages(promise, table, now, now_ns)
    if age_s < FRESH_S or silent_s < GIVEN_UP_S:
        return True
    earlier = {server_id for server_id, _ in promise.members}
    shared = sum(server_id in earlier for server_id, _ in members)
    return shared < len(earlier) - len(earlier) // 2


def may_form(promise: Promise, cluster: Cluster, now_ns: int, *, led: bool) -> bool:
    """Whether the promise still allows this server to start as a founder of `cluster`.

    Once the cluster has a leader and `FRESH_S` have passed, it must join instead: it may have been
    removed meanwhile.
    """
    if promise.cluster_id != cluster.id or cluster.epoch or promise.given_up:
        return False
    return not led or (now_ns - promise.time_ns) / NS_PER_S < FRESH_S


def is_abandoned(promise: Promise, me: str, answering: Mapping[str, Cluster | None]) -> bool:
    """Whether all others of the list answer and none of them is in its cluster.

    `answering` holds the servers that answer now, and the cluster of each.
    """
    others = (server_id for server_id, _ in promise.members if server_id != me)
    return all(
        server_id in answering and _is_elsewhere(answering[server_id], promise)
        for server_id in others
    )


def _is_elsewhere(cluster: Cluster | None, promise: Promise) -> bool:
    return cluster is None or cluster.id != promise.cluster_id
