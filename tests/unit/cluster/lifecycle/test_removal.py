"""Whether a server is away, and whether it was removed, case by case."""

from __future__ import annotations

import msgspec
import pytest
from tests.sim.clock import FixedClock
from tests.sim.net import itself

from bellcow.cluster.lifecycle.removal import (
    TAKE_OVER_S,
    Inputs,
    RemovalWatch,
    is_configured,
    is_led_ahead,
    is_removal_intended,
    is_removed,
    look,
    seen,
    was_taken_for_dead,
)
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Contact, Known, Leader, Table
from bellcow.cluster.peers.changes import FORCED, PROMOTE, REMOVE
from bellcow.model.hello import Cluster, RaftView, Record
from bellcow.model.raft import (
    AUTOPILOT,
    ITSELF,
    OPERATOR,
    MembershipChange,
    RaftConfiguration,
    RaftServer,
    RemovedServer,
)
from bellcow.state.tables import ONLY, RAFT, Tables
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack

OURS = Cluster("ours", 2)
WITH_US = RaftConfiguration(servers=(RaftServer(id="b", address="b:4647", name="b.global"),))
WITHOUT_US = RaftConfiguration(servers=(RaftServer(id="a", address="a:4647", name="a.global"),))
AWAY, HERE = RemovalWatch(away=True), RemovalWatch(away=False)


def view(**fields: object) -> Inputs:
    """Server b, which a leads, with a memory as new as a's."""
    usual: dict[str, object] = {
        "me": "b",
        "now": 100.0,
        "leader": "a",
        "is_other": True,
        "leader_epoch": 2,
        "leader_index": 9,
        "cluster": OURS,
        "index": 9,
        "configuration": WITH_US,
    }
    return Inputs(**{**usual, **fields})  # type: ignore[arg-type]


NOBODY = {"leader": "", "is_other": False, "leader_index": None}
OURSELVES = {"leader": "b", "is_other": False, "leader_index": None}


@pytest.mark.parametrize(
    ("before", "fields", "away"),
    [
        (AWAY, {}, False),
        (AWAY, {"index": 8}, True),
        (AWAY, {"configuration": WITHOUT_US}, True),
        (AWAY, {"configuration": None}, False),
        (AWAY, {"leader_index": None}, True),
        (AWAY, OURSELVES, False),
        (AWAY, NOBODY, True),
        (HERE, {"index": 8}, False),
        (HERE, {"configuration": WITHOUT_US}, False),
        (HERE, {"leader_index": None}, False),
        (HERE, NOBODY, True),
    ],
    ids=[
        "memory has caught up with a leader that answers",
        "memory has not caught up yet",
        "memory has caught up with our removal",
        "without a memory of any configuration",
        "the leader does not answer",
        "we lead",
        "no leader yet",
        "memory falls behind while the leader answers",
        "removed while we answered",
        "the leader answers no more, but sends hellos",
        "no leader any more",
    ],
)
def test_server_that_hears_no_leader_is_away_until_its_memory_has_caught_up(before, fields, away):
    assert seen(before, view(**fields)).away == away


@pytest.mark.parametrize(
    ("since_s", "away"), [(TAKE_OVER_S, False), (TAKE_OVER_S + 0.1, True)], ids=["yet", "too long"]
)
def test_former_leader_is_not_away_while_another_takes_over(since_s, away):
    led = seen(AWAY, view(**OURSELVES))
    later = seen(led, view(**NOBODY, now=100.0 + since_s))
    assert later == RemovalWatch(away=away, led=100.0)


def removed_by(who: str) -> RaftConfiguration:
    record = RemovedServer(
        address="b:4647", by=who, id="b", name="b.global", removed_ns=7, voter=True, voters_before=3
    )
    return msgspec.structs.replace(WITHOUT_US, removed=(record,))


@pytest.mark.parametrize(
    ("absence", "fields", "dead"),
    [
        (AWAY, {"configuration": WITHOUT_US}, True),
        (HERE, {"configuration": WITHOUT_US}, False),
        (HERE, {"configuration": removed_by(AUTOPILOT)}, True),
        (HERE, {"configuration": removed_by(OPERATOR)}, False),
        (HERE, {"configuration": removed_by(AUTOPILOT), "index": 8}, False),
        (HERE.ended(7), {"configuration": removed_by(AUTOPILOT)}, False),
        (HERE.ended(6), {"configuration": removed_by(AUTOPILOT)}, True),
        (HERE, {"configuration": removed_by(AUTOPILOT), **NOBODY}, False),
        (AWAY, {}, False),
    ],
    ids=[
        "away when it was removed",
        "answering when it was removed, without a record",
        "answering, and removed because it seemed dead",
        "answering, and removed on purpose",
        "memory may be from before it was admitted again",
        "admitted again after that removal",
        "removed once more",
        "no leader that could admit it",
        "not removed at all",
    ],
)
def test_server_was_taken_for_dead_unless_it_was_removed_on_purpose(absence, fields, dead):
    assert was_taken_for_dead(absence, view(**fields)) == dead


@pytest.mark.parametrize(("by", "going"), [(AUTOPILOT, False), (OPERATOR, True), (ITSELF, True)])
@pytest.mark.parametrize("kind", [REMOVE, FORCED])
def test_removal_by_autopilot_is_not_intended(by, going, kind):
    under_way = MembershipChange(kind=kind, server_id="b", by=by)
    changing = msgspec.structs.replace(WITH_US, change=under_way)
    assert is_removal_intended(view(configuration=changing)) == going
    assert is_removal_intended(view(configuration=removed_by(by))) == going


def test_watch_that_ended_keeps_the_time_of_leading():
    assert RemovalWatch(away=True, led=5.0).ended() == RemovalWatch(away=False, led=5.0)


@pytest.mark.parametrize(
    ("fields", "ahead"),
    [
        ({"leader_epoch": 3}, True),
        ({}, False),
        ({"leader_epoch": 1}, False),
        ({"leader_epoch": 3, "is_other": False}, False),
        ({"leader_epoch": 3, "cluster": None}, False),
    ],
    ids=["of a later epoch", "of ours", "of an earlier one", "not to be asked", "without cluster"],
)
def test_cluster_is_led_ahead_by_a_leader_of_a_later_epoch(fields, ahead):
    assert is_led_ahead(view(**fields)) == ahead


@pytest.mark.parametrize(
    ("fields", "out"),
    [
        ({"configuration": WITHOUT_US}, True),
        ({"configuration": WITHOUT_US, **NOBODY}, False),
        ({"configuration": WITHOUT_US, **OURSELVES}, False),
        ({"configuration": None}, False),
        ({}, False),
    ],
    ids=["not listed", "no leader", "we lead", "no memory", "listed"],
)
def test_server_is_removed_only_if_another_server_leads(fields, out):
    assert is_removed(view(**fields)) == out


@pytest.mark.parametrize(
    ("kind", "server_id", "going"),
    [(REMOVE, "b", True), (REMOVE, "a", False), (PROMOTE, "b", False)],
    ids=["we are removed", "another is removed", "we are promoted"],
)
def test_removal_under_way_of_this_server_is_intended(kind, server_id, going):
    change = MembershipChange(kind=kind, server_id=server_id)
    changing = msgspec.structs.replace(WITH_US, change=change)
    assert is_removal_intended(view(configuration=changing)) == going


def test_no_removal_is_intended_without_a_change():
    assert not is_removal_intended(view())
    assert not is_removal_intended(view(configuration=None))


def test_server_listed_in_its_own_memory_is_configured():
    assert is_configured(view())
    assert not is_configured(view(configuration=WITHOUT_US))
    assert not is_configured(view(configuration=None))


def roster(*, answered: float = 0.0) -> Roster:
    """Server b, which hears a lead at 10.0."""
    roster = Roster(itself("b", server_id="b"), FixedClock())
    record = Record(itself=itself("a", server_id="a"), start_ns=1, status="alive", status_seq=0)
    raft = RaftView(role="leader", term=1, index=7, commit="")
    roster.table = Table(
        me=roster.table.me,
        known={"a": Known(record, 0.0)},
        contacts={"a": Contact(answered=answered, raft=raft, cluster=OURS)},
        leader=Leader(server_id="a", epoch=3, term=1, heard=10.0),
    )
    return roster


def test_look_gathers_leader_and_memory():
    tables = Tables()
    tables.apply(Head(index=5), {(RAFT.name, ONLY): to_msgpack(WITH_US)})
    expected = view(now=10.0, leader_epoch=3, leader_index=7, index=5)
    assert look(roster(), tables, OURS, 10.0) == expected


def test_look_sees_no_index_of_a_leader_that_does_not_answer():
    assert look(roster(answered=-60.0), Tables(), OURS, 10.0).leader_index is None


def test_look_sees_no_leader_after_a_long_silence():
    silent = look(roster(), Tables(), OURS, 1000.0)
    assert (silent.leader, silent.is_other, silent.configuration) == ("", False, None)
