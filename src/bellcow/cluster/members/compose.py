"""The hello that this server sends, from its table of members. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import leader_of_region, since_leader
from bellcow.cluster.members.table import Inputs, replace, with_status
from bellcow.model.hello import Hello, Status

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table


def with_own_status(table: Table, status: Status) -> Table:
    """This server says that it leaves, or has left."""
    return replace(table, me=with_status(table.me, status))


def compose(table: Table, inputs: Inputs, now: float, *, abroad: bool, echo_ms: int = 0) -> Hello:
    """Our hello. Across regions it holds servers and leader, and nothing of the cluster.

    `echo_ms` is what the other one's clock showed when it last spoke to us.
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
