"""Composes the hello that this server sends, from its table of members. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import leader_of_region, since_leader
from bellcow.cluster.members.table import Inputs, replace, with_status
from bellcow.model.hello import Hello, Status

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table


def with_own_status(table: Table, status: Status) -> Table:
    """The table with this server's own status, as a version that replaces the last one."""
    return replace(table, me=with_status(table.me, status))


def compose(table: Table, inputs: Inputs, now: float, *, abroad: bool, echo_ms: int = 0) -> Hello:
    """This server's hello. To another region (`abroad`) it omits the cluster and the consensus.

    `echo_ms` is the `at_ms` of the receiver's last hello to us, by the receiver's clock.
    """
    since = since_leader(table, now)
    return Hello(
        region=table.me.itself.region,
        cluster=None if abroad else inputs.cluster,
        sender=table.me,
        others=tuple(known.record for known in table.known.values()),
        leader=leader_of_region(table, now),
        raft=None if abroad else inputs.raft,
        since_leader_ms=None if abroad or since is None else round(since * 1000),
        recovery=None if abroad else table.recovery,
        at_ms=int(now * 1_000),
        echo_ms=echo_ms,
    )
