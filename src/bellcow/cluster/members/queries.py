"""Queries of the table of members: the leader, the clusters seen, the servers that may form one.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.table import FAILED_AFTER_S
from bellcow.model.agent import ALIVE

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table
    from bellcow.model.hello import Cluster, Itself, Record


def leader_of_region(table: Table, now: float) -> str:
    """The id of our region's leader; "" if none was heard within `FAILED_AFTER_S`."""
    leader = table.leader
    if leader is None or (since_leader(table, now) or 0.0) >= FAILED_AFTER_S:
        return ""
    return leader.server_id


def since_leader(table: Table, now: float) -> float | None:
    """Seconds since the leader's last hello; 0 on the leader, None without one."""
    leader = table.leader
    if leader is None:
        return None
    return 0.0 if leader.server_id == table.me.server_id else max(0.0, now - leader.heard)


def conflicting_expectations(table: Table) -> tuple[Record, ...]:
    """Live servers of our region whose `bootstrap_expect` differs from ours."""
    mine = table.me.itself
    if not mine.bootstrap_expect:
        return ()
    return tuple(
        known.record
        for known in table.known.values()
        if known.record.status == ALIVE
        and known.record.itself.region == mine.region
        and known.record.itself.bootstrap_expect not in {0, mine.bootstrap_expect}
    )


def clusters_here(table: Table) -> frozenset[Cluster]:
    """Clusters that live servers of our region report."""
    region = table.me.itself.region
    return frozenset(
        contact.cluster
        for server_id, contact in table.contacts.items()
        if contact.cluster is not None
        and table.known[server_id].record.itself.region == region
        and table.known[server_id].record.status == ALIVE
    )


def willing(table: Table) -> list[Itself]:
    """Possible first voters with our `bootstrap_expect`, this server among them."""
    me = table.me.itself
    others = (
        known.record.itself
        for server_id, known in table.known.items()
        if known.record.status == ALIVE
        and table.contacts[server_id].raft is not None
        and known.record.itself.region == me.region
    )
    return [
        itself
        for itself in (me, *others)
        if itself.bootstrap_expect == me.bootstrap_expect and not itself.non_voting
    ]
