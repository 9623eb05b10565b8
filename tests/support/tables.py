"""Tables of members and hellos for tests of their rules."""

from __future__ import annotations

import pytest
from tests.sim.net import itself

from bellcow.cluster.members.failure import missed
from bellcow.cluster.members.hearing import (
    hear,
)
from bellcow.cluster.members.table import Inputs, Table
from bellcow.errors import Code, Error
from bellcow.model.hello import (
    Cluster,
    Hello,
    RaftView,
    Record,
)

HOUR = 3600.0


US = Cluster("x", 0)


def view(role: str = "follower", term: int = 0) -> RaftView:
    return RaftView(role=role, term=term, index=0, commit="")


FOLLOWING = Inputs(cluster=US, raft=view())


NEW = Inputs(cluster=None, raft=view())


def leading(term: int = 1, epoch: int = 0) -> Inputs:
    return Inputs(cluster=Cluster("x", epoch), raft=view("leader", term))


def record(name: str, status: str = "alive", start: int = 1, seq: int = 0, **fields) -> Record:
    return Record(itself=itself(name, **fields), start_ns=start, status=status, status_seq=seq)


def hello(sender: Record, *others: Record, inputs: Inputs = FOLLOWING, leader: str = "") -> Hello:
    return Hello(
        region=sender.itself.region,
        cluster=inputs.cluster,
        sender=sender,
        others=others,
        leader=leader,
        raft=inputs.raft,
        since_leader_ms=None,
    )


def empty(**fields) -> Table:
    return Table(me=record("me", **fields))


def told(table: Table, *hellos: Hello, inputs: Inputs = FOLLOWING, now: float = 0.0, answer=None):
    """The table after some hellos; by default those of leaders are answers."""
    for each in hellos:
        answers = each.raft.role == "leader" if answer is None and each.raft else bool(answer)
        table = hear(table, each, inputs, now, answer=answers).table
    return table


def knowing(*records: Record, now: float = 0.0) -> Table:
    """A table in which each of these servers has answered once."""
    return told(empty(), *(hello(each) for each in records), now=now, answer=True)


def silent(table: Table, *names: str) -> Table:
    for name in names:
        for _ in range(5):
            table = missed(table, f"id-{name}")
    return table


def status(table: Table, name: str) -> str | None:
    known = table.known.get(f"id-{name}")
    return known.record.status if known else None


def refusal(table: Table, message: Hello, inputs: Inputs = FOLLOWING, now: float = 0.0) -> str:
    with pytest.raises(Error) as caught:
        hear(table, message, inputs, now, answer=False)
    assert caught.value.code is Code.CONFLICT
    return caught.value.message


def events(outcome) -> list[str]:
    return [note.event for note in outcome.notes]
