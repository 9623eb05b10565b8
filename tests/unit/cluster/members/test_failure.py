"""When a silent server fails, and when it is removed from the table."""

from __future__ import annotations

import itertools

import pytest
from tests.support.tables import (
    FOLLOWING,
    HOUR,
    empty,
    events,
    hello,
    knowing,
    leading,
    record,
    silent,
    status,
    told,
)

from bellcow.cluster.members.failure import force_leave, judge, next_verdict
from bellcow.cluster.members.hearing import (
    hear,
)
from bellcow.cluster.members.table import Table


def test_server_that_never_answered_is_removed_a_minute_after_it_failed():
    table = told(knowing(record("b")), hello(record("b"), record("a")))
    table = judge(silent(table, "a"), leading(), 6.0).table
    assert status(table, "a") == "failed"
    assert next_verdict(table, 65.9) == pytest.approx(0.1)
    assert status(judge(table, leading(), 65.9).table, "a") == "failed"
    assert status(judge(table, leading(), 66.0).table, "a") is None


def test_server_fails_after_five_seconds_of_silence():
    table = silent(knowing(record("a")), "a")
    assert status(judge(table, FOLLOWING, 4.9).table, "a") == "alive"
    outcome = judge(table, FOLLOWING, 5.0)
    assert status(outcome.table, "a") == "failed"
    assert events(outcome) == ["member_failed"]


def test_server_that_was_not_called_has_not_failed():
    assert next_verdict(knowing(record("a")), 60) >= 0.1
    assert status(judge(knowing(record("a")), FOLLOWING, 60).table, "a") == "alive"


def test_leaving_server_that_falls_silent_has_left():
    table = silent(knowing(record("a", "leaving")), "a")
    assert status(judge(table, FOLLOWING, 5).table, "a") == "left"


def test_follower_fails_no_server_while_a_leader_is_heard():
    table = silent(knowing(record("a")), "a")
    table = told(table, hello(record("b"), record("a"), inputs=leading()), now=4)
    assert status(judge(table, FOLLOWING, 8.9).table, "a") == "alive"
    assert status(judge(table, FOLLOWING, 9.0).table, "a") == "failed"


def test_server_of_another_region_fails_after_half_a_minute_whoever_leads():
    table = silent(knowing(record("a", region="eu")), "a")
    assert status(judge(table, FOLLOWING, 29).table, "a") == "alive"
    table = told(table, hello(record("b"), record("a", region="eu"), inputs=leading()), now=29)
    assert status(judge(table, FOLLOWING, 31).table, "a") == "failed"


def test_failed_server_that_calls_again_is_alive_and_has_time_to_answer():
    table = judge(silent(knowing(record("a")), "a"), FOLLOWING, 6).table
    outcome = hear(table, hello(record("a", seq=2)), FOLLOWING, 100, answer=False)
    assert events(outcome) == ["member_alive"]
    assert status(judge(outcome.table, FOLLOWING, 104).table, "a") == "alive"


@pytest.mark.parametrize(("how", "kept_s"), [("failed", 72 * HOUR), ("left", 24 * HOUR)])
def test_dead_server_is_removed_in_time(how: str, kept_s: float):
    table = knowing(record("a", how), now=10)
    assert status(judge(table, FOLLOWING, 9 + kept_s).table, "a") == how
    assert next_verdict(table, 9 + kept_s) == pytest.approx(1.0)
    outcome = judge(table, FOLLOWING, 10 + kept_s)
    assert outcome.table.known == outcome.table.contacts == {}
    assert events(outcome) == ["member_forgotten"]


def test_force_leave_affects_a_failed_server_only():
    table = knowing(record("a", "failed"), record("b"), record("c", "failed"))
    outcome = force_leave(table, "a.global", 1, prune=False)
    assert [status(outcome.table, name) for name in "abc"] == ["left", "alive", "failed"]
    assert events(outcome) == ["member_left"]
    for name in ("b.global", "a", "nobody.global"):
        assert force_leave(table, name, 1, prune=False).table == table


def test_force_leave_spreads_and_is_refuted_by_a_live_server():
    table = knowing(record("a", "failed"))
    gone = force_leave(table, "a.global", 1, prune=False).table.known["id-a"].record
    table = judge(silent(knowing(record("a")), "a"), FOLLOWING, 6).table
    table = told(table, hello(record("b"), gone), now=7)
    assert status(table, "a") == "left"
    a = told(Table(me=record("a")), hello(record("b"), gone)).me
    assert status(told(table, hello(a)), "a") == "alive"


def test_pruned_server_is_gone_at_once():
    table = knowing(record("a", "left"), record("b"))
    outcome = force_leave(table, "a.global", 1, prune=True)
    assert outcome.table.known.keys() == {"id-b"}
    assert force_leave(table, "b.global", 1, prune=True).table == table


def test_own_leader_claim_ends_with_our_leadership():
    table = judge(empty(), leading(), 1).table
    assert table.leader.server_id == "id-me"
    assert judge(table, FOLLOWING, 2).table.leader is None


@pytest.mark.parametrize("gone", list(itertools.product(("failed", "left"), repeat=2)))
def test_next_verdict_is_never_in_the_past(gone):
    table = knowing(*(record(name, how) for name, how in zip("ab", gone, strict=True)))
    for now in (0.0, 4.0, 100 * HOUR):
        assert next_verdict(table, now) > 0
