"""Small reads of memory that parts of a server give to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.clock import FixedClock
from tests.sim.net import itself

from bellcow.agent.cluster_views import index_of_leader, voters_of
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Contact, Known, Leader, Table
from bellcow.model.hello import RaftView, Record

if TYPE_CHECKING:
    from bellcow.model.hello import Role, Status


def record(name: str, status: Status = "alive") -> Record:
    return Record(itself=itself(name), start_ns=1, status=status, status_seq=1)


def roster(roles: dict[str, Role], failed: str = "", leader_index: int | None = None) -> Roster:
    """The roster of s1, which hears of these servers."""
    out = Roster(itself("s1"), FixedClock())
    out.table = Table(
        me=record("s1"),
        known={
            f"id-{name}": Known(record(name, "failed" if name == failed else "alive"), 0.0)
            for name in roles
        },
        contacts={
            f"id-{name}": Contact(
                answered=0.0, raft=RaftView(role=role, term=1, index=1, commit="", works=True)
            )
            for name, role in roles.items()
        },
        leader=None
        if leader_index is None
        else Leader(server_id="id-s2", epoch=1, term=1, heard=0.0, index=leader_index),
    )
    return out


def test_the_leader_is_the_last_voter_to_copy_from() -> None:
    found = voters_of(roster({"s2": "leader", "s3": "follower", "s4": "follower"}))
    assert [target.server_id for target in found] == ["id-s3", "id-s4", "id-s2"]


def test_only_live_voters_are_copied_from() -> None:
    found = voters_of(roster({"s2": "none", "s3": "follower", "s4": "follower"}, failed="s4"))
    assert [target.server_id for target in found] == ["id-s3"]


def test_index_of_the_leader_is_that_of_its_latest_hello() -> None:
    assert index_of_leader(roster({"s2": "leader"}, leader_index=7)) == 7
    assert index_of_leader(roster({})) == 0
