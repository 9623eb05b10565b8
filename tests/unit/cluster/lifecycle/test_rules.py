"""The decisions of a lifecycle, case by case."""

from __future__ import annotations

import pytest

from bellcow.cluster.datadir import Promise
from bellcow.cluster.engine.protocol import Start, Status
from bellcow.cluster.formation.rules import GIVEN_UP_S
from bellcow.cluster.lifecycle.rules import (
    RECALL_S,
    Inputs,
    Move,
    Verdict,
    after_end,
    cluster_of,
    founding_start,
    has_moved,
    is_admitted,
    next_move,
)
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import Standing
from bellcow.model.raft import RaftConfiguration, RaftServer

OURS = Cluster("ours", 2, "f")
LED = Status(member_id=7, leader_id=1, term=1)
LEADERLESS = Status(member_id=7, leader_id=None, term=1)
LEARNER = Status(member_id=7, leader_id=1, term=1, is_learner=True)
RECALL_DUE, QUESTION_DUE = {"waited_s": RECALL_S}, {"waited_s": GIVEN_UP_S, "has_state": True}


@pytest.mark.parametrize(
    ("fields", "move"),
    [
        ({}, Move.REST),
        ({"ended": True}, Move.END),
        ({"serving": True}, Move.REST),
        ({"status": LED}, Move.SERVE),
        ({"status": LEADERLESS}, Move.REST),
        ({"status": LEARNER}, Move.REST),
        ({"status": LED, "led_ahead": True}, Move.SERVE),
        ({"led_ahead": True}, Move.REQUEST_ADMISSION),
        ({"serving": True, "led_ahead": True}, Move.REQUEST_ADMISSION),
        ({"waited_s": RECALL_S - 0.1}, Move.REST),
        (RECALL_DUE, Move.RECALL),
        ({**RECALL_DUE, "has_state": True}, Move.REST),
        ({**RECALL_DUE, "serving": True}, Move.REST),
        ({**RECALL_DUE, "led_ahead": True}, Move.RECALL),
        (QUESTION_DUE, Move.ASK_STANDING),
        ({**QUESTION_DUE, "led_ahead": True}, Move.ASK_STANDING),
        ({**QUESTION_DUE, "abandoned": True}, Move.GIVE_UP_FOUNDING),
        ({**QUESTION_DUE, "serving": True, "abandoned": True}, Move.REST),
        ({**QUESTION_DUE, "waited_s": GIVEN_UP_S - 0.1, "abandoned": True}, Move.REST),
        ({**QUESTION_DUE, "status": LED, "abandoned": True}, Move.SERVE),
        ({"has_moved": True}, Move.CORRECT_ADDRESS),
        ({"has_moved": True, "led_ahead": True}, Move.REQUEST_ADMISSION),
    ],
    ids=[
        "without a leader it waits",
        "its member ended",
        "it serves and nothing is due",
        "its member votes and sees a leader",
        "its member sees no leader",
        "its member has no vote yet",
        "it serves before it asks a leader of a later epoch",
        "a later epoch has a leader",
        "a later epoch has a leader while this server serves",
        "too early to read the files",
        "two seconds without a leader",
        "memory holds a state already",
        "a server that serves reads no files",
        "a leader that refuses admission does not delay reading the files",
        "a minute without a leader",
        "a leader that refuses admission does not delay the question",
        "the other founders went elsewhere",
        "a server that serves gives nothing up",
        "too early to give up",
        "a leader that appears at the last moment counts",
        "the configuration lists an old address",
        "an admission corrects the address too",
    ],
)
def test_next_move_of_a_server_with_a_member(fields, move):
    assert next_move(Inputs(**fields)) is move


def standing(cluster: Cluster = OURS, **fields: bool) -> Standing:
    values = {"configured": True, "voter": False, "is_member": True, **fields}
    return Standing(cluster_id=cluster.id, epoch=cluster.epoch, founding=cluster.founding, **values)


@pytest.mark.parametrize(
    ("answer", "ours", "admitted"),
    [
        (None, OURS, False),
        (standing(), OURS, True),
        (standing(), None, True),
        (standing(voter=True), OURS, False),
        (standing(Cluster("ours", 1)), OURS, False),
        (standing(Cluster("ours", 3)), OURS, True),
        (standing(Cluster("other", 1)), OURS, True),
    ],
    ids=[
        "no answer",
        "listed without a vote",
        "first cluster of this server",
        "the entry of a lost member is still listed",
        "leader of an earlier epoch",
        "leader of a later epoch",
        "another cluster",
    ],
)
def test_server_is_admitted_as_a_non_voter_and_never_into_an_earlier_epoch(answer, ours, admitted):
    assert is_admitted(answer, ours) == admitted


@pytest.mark.parametrize(
    ("answer", "failed", "verdict"),
    [
        (None, False, Verdict.UNKNOWN),
        (None, True, Verdict.UNKNOWN),
        (standing(), False, Verdict.RESTART),
        (standing(), True, Verdict.DOWN),
        (standing(is_member=False), False, Verdict.REMOVED),
        (standing(is_member=False), True, Verdict.REMOVED),
        (standing(Cluster("ours", 3, "f")), False, Verdict.REMOVED),
    ],
    ids=[
        "no answer after an end",
        "no answer after a failure",
        "still a member",
        "still a member that failed",
        "removed",
        "removed and failed",
        "the cluster went on in another epoch",
    ],
)
def test_only_the_leaders_answer_tells_whether_an_ended_member_was_removed(answer, failed, verdict):
    assert after_end(answer, OURS, failed=failed) is verdict


@pytest.mark.parametrize(
    ("listed", "moved"),
    [("b:4647", False), ("old:4647", True), (None, False)],
    ids=["listed where it is", "listed at an old address", "not listed"],
)
def test_server_has_moved_when_it_is_listed_at_another_address(listed, moved):
    servers = (RaftServer(id="b", address=listed, name="b.global"),) if listed else ()
    assert has_moved(RaftConfiguration(servers=servers), "b", "b:4647") == moved


def test_server_without_a_configuration_has_not_moved():
    assert not has_moved(None, "b", "b:4647")


def test_cluster_of_an_answer_is_the_leaders():
    assert cluster_of(standing()) == OURS


def test_founding_start_is_of_a_new_cluster_in_epoch_zero():
    members = (("a", "a:4647"), ("b", "b:4647"))
    promise = Promise(cluster_id="c", proposer="a", members=members, time_ns=0)
    assert founding_start(promise) == Start(existing=False, members=members, token="c.0")
