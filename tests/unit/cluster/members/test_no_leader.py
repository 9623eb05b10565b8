"""Why a cluster has no leader, as one of its servers reports."""

from __future__ import annotations

import msgspec
import pytest
from tests.sim.net import FOLLOWER, itself

from bellcow.cluster.members.no_leader import ANSWERED_S, leaderless
from bellcow.cluster.members.table import FAILED_AFTER_S, Contact, Inputs, Known, Leader, Table
from bellcow.model.hello import Cluster, Record
from bellcow.model.raft import RaftServer

NOW = 100.0
VOTERS = tuple(RaftServer(id=name, address=f"{name}:4647", name=f"{name}.global") for name in "abc")
HERE = Inputs(cluster=Cluster("ours", 0), raft=FOLLOWER, voters=VOTERS)


def record(name: str, **fields: object) -> Record:
    me = itself(name, **{"server_id": name, **fields})
    return Record(itself=me, start_ns=1, status="alive", status_seq=0)


def seen(*others: Record, answered: float = NOW, me: Record | None = None) -> Table:
    contact = Contact(answered=answered, raft=FOLLOWER)
    return Table(
        me=me or record("a"),
        known={each.server_id: Known(each, 0.0) for each in others},
        contacts={each.server_id: contact for each in others},
    )


def told(table: Table, inputs: Inputs = HERE) -> dict[str, object]:
    (note,) = leaderless(table, inputs, FAILED_AFTER_S, NOW)
    assert (note.event, note.lasting) == ("no_leader", True)
    return dict(note.fields)


@pytest.mark.parametrize("table", [seen(), seen(record("b"), answered=NOW - ANSWERED_S - 0.1)])
def test_silent_voters_are_named_with_how_many_are_needed(table):
    fields = told(table)
    assert (fields["voters"], fields["needed"], fields["answering"]) == (3, 2, "a.global")
    assert fields["silent"] == "b.global at b:4647, c.global at c:4647"
    assert str(fields["hint"]).startswith("start b.global, c.global until 2 of 3 voters answer")
    assert "moved" not in fields


def test_voters_are_named_in_the_order_of_their_names():
    stored = msgspec.structs.replace(HERE, voters=tuple(reversed(HERE.voters)))
    fields = told(seen(), stored)
    assert fields["silent"] == "b.global at b:4647, c.global at c:4647"
    assert str(fields["hint"]).startswith("start b.global, c.global until")


def test_hint_for_moved_voters_has_the_command_with_their_new_addresses():
    moved = [record(name, rpc=(f"{name}2", 4647)) for name in "abc"]
    fields = told(seen(*moved[1:], me=moved[0]))
    assert str(fields["moved"]).startswith("a.global from a:4647 to a2:4647, b.global from b:4647")
    assert "bellcow operator raft recover -servers=a2:4647,b2:4647,c2:4647" in str(fields["hint"])
    assert fields["silent"] == ""


def test_hint_leaves_out_a_silent_voter_beside_a_moved_one():
    fields = told(seen(record("b", rpc=("b2", 4647))))
    assert "recover -servers=a:4647,b2:4647 " in str(fields["hint"])
    assert fields["silent"] == "c.global at c:4647"


def test_hint_for_answering_voters_names_the_peer_port():
    hint = str(told(seen(record("b"), record("c")))["hint"])
    assert "etcd" in hint
    assert "4647" in hint


def test_server_whose_own_member_is_down_does_not_count_itself():
    down = msgspec.structs.replace(HERE.raft, role="none")
    fields = told(seen(record("b")), msgspec.structs.replace(HERE, raft=down))
    assert fields["answering"] == "b.global"
    assert "a.global" in str(fields["silent"])


@pytest.mark.parametrize(
    ("table", "inputs", "waited_s"),
    [
        (seen(), HERE, FAILED_AFTER_S - 0.1),
        (seen(), msgspec.structs.replace(HERE, cluster=None), 60),
        (seen(), msgspec.structs.replace(HERE, voters=()), 60),
        (
            seen(),
            msgspec.structs.replace(HERE, raft=msgspec.structs.replace(FOLLOWER, role="leader")),
            60,
        ),
        (
            msgspec.structs.replace(
                seen(record("b")), leader=Leader(server_id="b", epoch=0, term=1, heard=NOW)
            ),
            HERE,
            60,
        ),
    ],
    ids=["just started", "in no cluster", "knows of no voters", "leads", "another leads"],
)
def test_nothing_is_reported_while_a_leader_is_known_or_expected(table, inputs, waited_s):
    assert leaderless(table, inputs, waited_s, NOW) == ()
