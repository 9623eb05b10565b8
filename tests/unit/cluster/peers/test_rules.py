"""The rules of the leader's loop: the next step of a change, and its outcome."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.configuration import change, entry, inputs, member, shown

from bellcow.cluster.members.schedule import Target
from bellcow.cluster.peers.changes import (
    DEMOTE,
    FORCED,
    PROMOTE,
    REMOVE,
    UPDATE,
    Inputs,
    removed_for_dead,
)
from bellcow.cluster.peers.quorum import keeps_quorum
from bellcow.cluster.peers.rules import (
    DOUBT_S,
    LIMIT_S,
    AddMember,
    HandOver,
    OrderStart,
    PromoteMember,
    RemoveMember,
    UpdateMember,
    Wait,
    Write,
    departed,
    next_step,
)
from bellcow.model.raft import (
    AUTOPILOT,
    MembershipChange,
    RemovedServer,
)

CLUSTER = "c1"


def step(given: Inputs, age_s: float = 0.0):
    return next_step(given, age_s)


def written(given: Inputs, age_s: float = 0.0) -> Write:
    outcome = step(given, age_s)
    assert isinstance(outcome, Write)
    return outcome


# Departed servers


def test_dead_server_that_is_not_configured_has_departed():
    targets = {
        name: Target(server_id=name, address=(name, 1), region="global") for name in "bcdxyz"
    }
    names = {name: f"{name}.global" for name in "abcdxz"} | {"y": "b.global"}
    clusters = {**dict.fromkeys("bcdxy", CLUSTER), "z": "another"}
    seen = inputs("abc", alive="abx", names=names, targets=targets, clusters=clusters)
    # c is configured, x is alive, y is dead and has b's name, z was never in our cluster.
    assert departed(seen, CLUSTER) == ["d"]


# Promotion, step by step


def test_promotion_begins_by_adding_a_member():
    assert step(inputs("abc", "d", under_way=change(PROMOTE, "d"))) == AddMember("d:4647")


def test_added_members_id_is_written_before_the_next_step():
    found = inputs(
        "abc",
        "d",
        under_way=change(PROMOTE, "d"),
        extra=(member(7, "", voter=False, address="d:4647"),),
    )
    outcome = written(found)
    assert outcome.configuration.change == change(PROMOTE, "d", 7)
    assert not outcome.given_up


def test_member_that_has_not_started_is_ordered_to_start():
    found = inputs(
        "abc",
        "d",
        under_way=change(PROMOTE, "d", 7),
        extra=(member(7, "", voter=False, address="d:4647"),),
    )
    assert step(found) == OrderStart("d", 7)


def test_started_member_is_promoted():
    found = inputs(
        "abc", "d", under_way=change(PROMOTE, "d", 7), extra=(member(7, "d", voter=False),)
    )
    assert step(found) == PromoteMember(7)


def test_promoted_member_ends_the_change():
    found = inputs("abc", "d", under_way=change(PROMOTE, "d", 7), extra=(member(7, "d"),))
    outcome = written(found)
    assert shown(outcome.configuration) == "ABCD"
    assert outcome.configuration.change is None
    assert not outcome.given_up


def test_member_gets_no_vote_while_its_server_does_not_answer():
    found = inputs(
        "abc",
        "d",
        under_way=change(PROMOTE, "d", 7),
        extra=(member(7, "d", voter=False),),
        answering=frozenset("abc"),
    )
    assert isinstance(step(found), Wait)


def test_member_gets_no_vote_while_that_would_cost_the_quorum():
    found = inputs(
        "ab",
        "d",
        under_way=change(PROMOTE, "d", 7),
        extra=(member(7, "d", voter=False),),
        roles={"a": "none", "b": "none"},
    )
    assert isinstance(step(found), Wait)


@pytest.mark.parametrize(
    ("fields", "age_s", "reason"),
    [
        ({}, LIMIT_S, "not done within 60 s"),
        ({"alive": "abc"}, 0.0, "the server is not alive"),
    ],
)
def test_failed_promotion_becomes_a_demotion_of_its_member(fields, age_s, reason):
    learner = member(7, "d", voter=False)
    found = inputs("abc", "d", under_way=change(PROMOTE, "d", 7), extra=(learner,), **fields)
    outcome = written(found, age_s)
    assert outcome.configuration.change == change(DEMOTE, "d", 7)
    assert outcome.given_up == reason
    without = inputs("abc", "d", under_way=change(PROMOTE, "d"), **fields)
    outcome = written(without, age_s)
    assert outcome.configuration.change is None
    assert outcome.given_up == reason


def test_promotion_made_at_the_last_moment_counts():
    found = inputs("abc", "d", under_way=change(PROMOTE, "d", 7), extra=(member(7, "d"),))
    assert shown(written(found, LIMIT_S * 2).configuration) == "ABCD"


def test_promotion_whose_member_was_removed_ends_without_a_vote():
    outcome = written(inputs("abc", "d", under_way=change(PROMOTE, "d", 7)))
    assert shown(outcome.configuration) == "ABCd"
    assert outcome.given_up == "its member is gone"


def test_promotion_of_a_server_that_is_not_in_the_configuration_is_given_up():
    found = inputs("abc", under_way=change(PROMOTE, "d"), alive="abcd")
    assert written(found).given_up == "the server is not in the configuration"


# Demotion and removal


@pytest.mark.parametrize("kind", [DEMOTE, REMOVE, FORCED])
def test_member_is_removed_first(kind):
    assert step(inputs("abc", under_way=change(kind, "c"))) == RemoveMember(3)


@pytest.mark.parametrize(("kind", "left"), [(DEMOTE, "ABc"), (REMOVE, "AB"), (FORCED, "AB")])
def test_removed_members_server_is_demoted_or_removed(kind, left):
    found = inputs("abc", under_way=change(kind, "c", 3))
    gone = msgspec.structs.replace(found, peers=found.peers[:2])
    outcome = written(gone)
    assert shown(outcome.configuration) == left
    assert outcome.configuration.change is None
    assert not outcome.given_up


@pytest.mark.parametrize("kind", [DEMOTE, REMOVE, FORCED])
def test_leader_hands_over_to_the_first_voter_that_takes_part(kind):
    assert step(inputs("abc", under_way=change(kind, "a"))) == HandOver(2)
    assert step(inputs("abc", under_way=change(FORCED, "a"), alive="ac")) == HandOver(3)


def test_leader_is_not_removed_without_a_successor():
    outcome = written(inputs("abc", under_way=change(FORCED, "a"), alive="a"))
    assert outcome.given_up == "no other voter answers"
    assert shown(outcome.configuration) == "ABC"


def test_removal_that_no_longer_keeps_the_quorum_is_given_up():
    given = inputs("abc", under_way=change(REMOVE, "b"), alive="ab")
    # A new leader may not have heard from c yet.
    assert step(given, DOUBT_S - 0.1) == Wait("it would cost the quorum")
    outcome = written(given, DOUBT_S)
    assert outcome.given_up == "it would cost the quorum"
    assert outcome.configuration.change is None
    assert shown(outcome.configuration) == "ABC"


def test_dead_voter_is_removed_while_another_one_is_dead():
    assert step(inputs("abcde", under_way=change(REMOVE, "e"), alive="abc")) == RemoveMember(5)


def test_dead_voter_is_kept_while_too_few_others_take_part():
    """It only looks dead: without it there would be no leader."""
    given = inputs("abc", under_way=change(REMOVE, "c"), alive="a")
    assert step(given) == Wait("it would cost the quorum")
    assert written(given, DOUBT_S).given_up == "it would cost the quorum"


def test_force_removes_what_the_quorum_needs():
    assert step(inputs("abc", under_way=change(FORCED, "b"), alive="ab")) == RemoveMember(2)


def test_last_voter_is_not_removed_even_when_forced():
    assert written(inputs("a", under_way=change(FORCED, "a"))).given_up == "it is the last voter"


def test_removal_that_is_not_done_in_a_minute_is_given_up():
    outcome = written(inputs("abc", under_way=change(REMOVE, "c")), LIMIT_S)
    assert outcome.given_up == "not done within 60 s"


def test_non_voting_member_is_removed_without_a_quorum_check():
    learner = member(7, "d", voter=False)
    found = inputs("abc", "d", under_way=change(DEMOTE, "d", 7), extra=(learner,), alive="a")
    assert step(found) == RemoveMember(7)


# Address


def test_address_of_the_member_is_changed_first_and_then_the_entry():
    moved = change(UPDATE, "b", 2, "b2:4647")
    assert step(inputs("abc", under_way=moved)) == UpdateMember(2, "b2:4647")
    found = inputs("abc", under_way=moved)
    peers = (member(1, "a"), member(2, "b", address="b2:4647"), member(3, "c"))
    outcome = written(msgspec.structs.replace(found, peers=peers))
    assert outcome.configuration.servers[1] == entry("b", address="b2:4647")
    assert outcome.configuration.change is None


# No change under way


def test_correct_configuration_needs_no_step():
    assert step(inputs("abc", "d")) is None


def test_leftover_member_is_removed_by_a_change_of_its_own():
    stray = member(9, "", voter=False, address="x:4647")
    outcome = written(inputs("abc", extra=(stray,)))
    assert outcome.configuration.change == MembershipChange(
        kind=DEMOTE, server_id="", member_id=9, address="x:4647"
    )


def test_voting_member_is_listed_as_a_voter():
    found = inputs("abc", "d", extra=(member(7, "d"),))
    assert shown(written(found).configuration) == "ABCD"


def test_unlisted_voter_is_added_to_the_configuration():
    found = inputs("abc", extra=(member(7, "d"),))
    outcome = written(found)
    assert shown(outcome.configuration) == "ABCD"
    assert outcome.configuration.servers[3].name == "d"  # its name is not known yet


def test_voter_without_a_member_is_listed_as_a_non_voter():
    found = inputs("abc")
    outcome = written(msgspec.structs.replace(found, peers=found.peers[:2]))
    assert shown(outcome.configuration) == "ABc"


def test_voter_that_has_not_started_is_known_by_its_address():
    found = inputs("abc")
    unstarted = (*found.peers[:2], member(3, "", address="c:4647"))
    assert step(msgspec.structs.replace(found, peers=unstarted)) is None


def test_voter_at_a_new_address_is_updated():
    addresses = {"a": "a:4647", "b": "b2:4647"}
    outcome = written(inputs("abc", addresses=addresses))
    assert outcome.configuration.change == change(UPDATE, "b", 2, "b2:4647")


def test_moved_leader_that_has_corrected_its_entry_is_updated_without_going_back():
    found = inputs("abc", addresses={"a": "a2:4647"})
    servers = (entry("a", address="a2:4647"), *found.configuration.servers[1:])
    corrected = msgspec.structs.replace(found.configuration, servers=servers)
    outcome = written(msgspec.structs.replace(found, configuration=corrected))
    assert outcome.configuration.servers == servers
    assert outcome.configuration.change == change(UPDATE, "a", 1, "a2:4647")


def test_moved_non_voter_is_listed_at_its_new_address():
    outcome = written(inputs("abc", "d", addresses={"d": "d2:4647"}))
    assert outcome.configuration.servers[3].address == "d2:4647"
    assert outcome.configuration.change is None


def test_address_of_a_server_that_does_not_answer_stays_as_it_was():
    given = inputs("abc", "d", addresses={"b": "evil:1", "d": "evil:2"}, answering=frozenset("ac"))
    assert step(given) is None


def test_removal_of_a_voter_is_recorded_with_who_removed_it():
    given = inputs("abc", under_way=msgspec.structs.replace(change(REMOVE, "c"), by=AUTOPILOT))
    gone = msgspec.structs.replace(given, peers=given.peers[:2], now_ns=8)
    after = written(gone).configuration
    record = RemovedServer(
        address="c:4647",
        by=AUTOPILOT,
        id="c",
        name="c.global",
        removed_ns=8,
        voter=True,
        voters_before=3,
    )
    assert after.removed == (record,)
    assert removed_for_dead(given.configuration, after) == [record]
    assert removed_for_dead(after, after) == []


# Properties


NAMES = "abcdefg"


@given(
    st.integers(1, 7),
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from(NAMES),
    st.sampled_from((DEMOTE, REMOVE)),
    st.floats(0, 120),
)
def test_no_step_removes_a_living_voter_that_the_quorum_needs(count, alive, name, kind, age_s):
    voters = NAMES[:count]
    found = inputs(voters, under_way=change(kind, name), alive="".join(alive))
    outcome = next_step(found, age_s)
    if isinstance(outcome, RemoveMember) and name in found.view.alive:
        left = [each for each in voters if each != name]
        assert keeps_quorum(left, found.view.taking_part)
        assert name != found.me


@given(
    st.sampled_from((PROMOTE, DEMOTE, REMOVE, FORCED, UPDATE)),
    st.sampled_from("abcdx"),
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
    st.sets(st.sampled_from("abcd")),
    st.sampled_from((0.0, 61.0)),
)
def test_every_change_has_a_next_step_and_keeps_all_other_voters(
    kind, name, member_id, starts, votes, alive, age_s
):
    extra = (member(7, "d" if starts else "", voter=votes, address="d:4647"),)
    found = inputs(
        "abc", "d", under_way=change(kind, name, member_id), extra=extra, alive="".join(alive)
    )
    outcome = next_step(found, age_s)
    assert outcome is not None
    if isinstance(outcome, Write):
        kept = {server.id for server in outcome.configuration.servers if server.voter}
        assert {"a", "b", "c"} - kept <= {name}
