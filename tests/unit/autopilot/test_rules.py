"""Autopilot's rules, one row each, and what holds whatever the inputs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.autopilot.rules import (
    REMEMBERED_S,
    UNKNOWN_IS_DEAD_AFTER_S,
    Contact,
    Dead,
    Facts,
    Inputs,
    Judged,
    Silence,
    dead_servers,
    failure_tolerance,
    is_healthy,
    observe,
    promotions,
)
from bellcow.gocompat.duration import NS_PER_S, Duration
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.raft import AUTOPILOT, RaftServer, RemovedServer
from bellcow.wire import to_json

MS = 1_000_000
NOW = 1_800_000_000 * NS_PER_S


def facts(server_id: str = "a", *, voter: bool = True, **fields: object) -> Facts:
    """A server in the best of health, but for `fields`."""
    contact = {"last_contact": Duration(50 * MS), "last_term": 3, "last_index": 1_000}
    contact |= {name: fields.pop(name) for name in list(fields) if name in contact}
    server = RaftServer(
        id=server_id, address=f"{server_id}:4647", name=f"{server_id}.global", voter=voter
    )
    good = Facts(server=server, serf_status="alive", version="1.0.18", contact=Contact(**contact))
    return msgspec.structs.replace(good, **fields)


def inputs(*servers: Facts, now_ns: int = NOW, **fields: object) -> Inputs:
    given = Inputs(
        now_ns=now_ns,
        leader_id="a",
        leader_term=3,
        leader_index=1_000,
        configuration=AutopilotConfiguration(),
        servers=servers,
    )
    return msgspec.structs.replace(given, **fields)


def judged(server: Facts, **fields: object) -> bool:
    return is_healthy(server, inputs(server, **fields))


# One server


@pytest.mark.parametrize("status", ["leaving", "left", "failed", "none"])
def test_server_that_is_not_alive_is_unhealthy(status):
    assert not judged(facts(serf_status=status))


def test_server_that_is_alive_and_in_contact_is_healthy():
    assert judged(facts())


def test_server_that_does_not_answer_is_unhealthy():
    assert not judged(facts(contact=None))


@pytest.mark.parametrize(
    ("contact_ns", "healthy"),
    [(-1, False), (0, True), (1, True), (200 * MS, True), (200 * MS + 1, False)],
)
def test_contact_may_be_as_long_ago_as_the_threshold(contact_ns, healthy):
    assert judged(facts(last_contact=Duration(contact_ns))) is healthy


@pytest.mark.parametrize(("term", "healthy"), [(2, False), (3, True), (4, False)])
def test_last_term_must_be_that_of_the_leader(term, healthy):
    assert judged(facts(last_term=term)) is healthy


@pytest.mark.parametrize(
    ("leader_index", "last_index", "healthy"),
    [
        (1_000, 1_000, True),
        (1_000, 750, True),
        (1_000, 749, False),
        (1_000, 1_001, True),
        (251, 1, True),
        (251, 0, False),
        (250, 0, True),
        (10, 0, True),
    ],
)
def test_log_may_trail_by_the_limit_and_a_short_log_cannot(leader_index, last_index, healthy):
    assert judged(facts(last_index=last_index), leader_index=leader_index) is healthy


def test_limits_are_those_of_the_configuration():
    strict = AutopilotConfiguration(last_contact_threshold=Duration(49 * MS))
    assert not judged(facts(), configuration=strict)
    strict = AutopilotConfiguration(max_trailing_logs=0)
    assert not judged(facts(last_index=999), configuration=strict)
    assert judged(facts(last_index=1_000), configuration=strict)


# What is shown of one server


def test_server_is_shown_as_it_is():
    (shown,) = observe(inputs(facts()), {}).health.servers
    assert (shown.id, shown.name, shown.address) == ("a", "a.global", "a:4647")
    assert (shown.serf_status, shown.version) == ("alive", "1.0.18")
    assert (shown.last_contact, shown.last_term, shown.last_index) == (Duration(50 * MS), 3, 1_000)
    assert shown.leader
    assert shown.voter
    assert shown.healthy


def test_server_without_an_answer_is_shown_as_unknown():
    (shown,) = observe(inputs(facts(contact=None)), {}).health.servers
    assert str(shown.last_contact) == "-1ns"
    assert (shown.last_term, shown.last_index, shown.healthy) == (0, 0, False)
    assert shown.name == "a.global"


@pytest.mark.parametrize("status", ["none", "left"])
def test_server_that_is_no_member_is_shown_without_name_and_version(status):
    (shown,) = observe(inputs(facts(serf_status=status)), {}).health.servers
    assert (shown.name, shown.version, shown.serf_status) == ("", "", "none")
    assert not shown.healthy


def test_servers_are_shown_in_the_order_of_the_configuration():
    health = observe(inputs(facts("c"), facts("a"), facts("b")), {}).health
    assert [server.id for server in health.servers] == ["c", "a", "b"]
    assert [server.leader for server in health.servers] == [False, True, False]
    assert health.leader == "a"


# Since when


def rounds(*each: tuple[int, Facts]) -> list[str]:
    """StableSince of one server over rounds at given seconds."""
    found: dict[str, Judged] = {}
    seen = []
    for second, server in each:
        outcome = observe(inputs(server, now_ns=NOW + second * NS_PER_S), found)
        found = outcome.found
        seen.append(outcome.health.servers[0].stable_since[17:19])
    return seen


def test_server_is_stable_since_it_is_first_seen():
    assert rounds((5, facts())) == ["05"]


def test_stable_since_stays_while_the_health_stays():
    assert rounds((5, facts()), (7, facts()), (9, facts(last_index=990))) == ["05", "05", "05"]


def test_stable_since_moves_when_the_health_changes_either_way():
    late = facts(last_contact=Duration(NS_PER_S))
    assert rounds((5, facts()), (7, late), (9, late), (11, facts())) == ["05", "07", "07", "11"]


def test_silent_server_is_unhealthy_since_it_fell_silent():
    """Nomad: erases the time; here one silent round does not make an unhealthy server younger."""
    late, silent = facts(last_contact=Duration(NS_PER_S)), facts(contact=None)
    assert rounds((5, late), (7, silent), (9, late)) == ["05", "05", "05"]


def test_server_that_left_the_configuration_is_new_when_it_is_back():
    first = observe(inputs(facts("a"), facts("b")), {})
    second = observe(inputs(facts("a"), now_ns=NOW + NS_PER_S), first.found)
    third = observe(inputs(facts("a"), facts("b"), now_ns=NOW + 2 * NS_PER_S), second.found)
    assert third.found["a"].since_ns == NOW
    assert third.found["b"].since_ns == NOW + 2 * NS_PER_S


# The cluster


@pytest.mark.parametrize(
    ("voters", "healthy", "tolerance"),
    [
        (1, 1, 0),
        (1, 0, 0),
        (2, 2, 0),
        (3, 3, 1),
        (3, 2, 0),
        (3, 1, 0),
        (4, 4, 1),
        (5, 5, 2),
        (5, 4, 1),
        (5, 3, 0),
        (7, 7, 3),
    ],
)
def test_failure_tolerance_is_healthy_voters_beyond_the_quorum(voters, healthy, tolerance):
    assert failure_tolerance(voters, healthy) == tolerance


def test_sick_server_does_not_make_another_one_sick():
    health = observe(inputs(facts("a"), facts("b", contact=None), facts("c")), {}).health
    assert [server.healthy for server in health.servers] == [True, False, True]
    assert not health.healthy
    assert health.failure_tolerance == 0


def test_non_voter_counts_for_health_and_not_for_tolerance():
    voters = [facts("a"), facts("b"), facts("c")]
    sick = observe(inputs(*voters, facts("d", voter=False, contact=None)), {}).health
    assert not sick.healthy
    assert sick.failure_tolerance == 1
    assert sick.voters == ("a", "b", "c")
    well = observe(inputs(*voters, facts("d", voter=False)), {}).health
    assert well.healthy
    assert well.failure_tolerance == 1
    assert not well.servers[3].voter


any_facts = st.builds(
    facts,
    st.sampled_from("abcdefg"),
    voter=st.booleans(),
    serf_status=st.sampled_from(("alive", "alive", "alive", "failed", "left", "leaving", "none")),
    last_contact=st.integers(-1, 400 * MS).map(Duration),
    last_term=st.sampled_from((2, 3, 3, 3)),
    last_index=st.integers(700, 1_001),
)


@given(st.lists(any_facts, max_size=7, unique_by=lambda each: each.server.id))
def test_whatever_is_found_the_sums_fit(servers):
    health = observe(inputs(*servers), {}).health
    shown = health.servers
    assert health.healthy == all(each.healthy for each in shown)
    voters = [each for each in shown if each.voter]
    assert 0 <= health.failure_tolerance <= max(0, (len(voters) - 1) // 2)
    assert health.voters == tuple(each.id for each in voters)
    assert sum(each.leader for each in shown) <= 1


@given(st.integers(0, 50), st.integers(0, 50))
def test_tolerance_is_never_negative(voters, healthy):
    assert failure_tolerance(voters, min(voters, healthy)) >= 0


@given(st.lists(any_facts, min_size=1, max_size=5, unique_by=lambda each: each.server.id))
def test_second_look_at_the_same_changes_nothing_but_the_time(servers):
    first = observe(inputs(*servers), {})
    second = observe(inputs(*servers, now_ns=NOW + NS_PER_S), first.found)
    assert second == first


# Who is given a vote


def found_since(*names: str, seconds: float, healthy: bool = True) -> dict[str, Judged]:
    since_ns = NOW - round(seconds * NS_PER_S)
    return {name: Judged(healthy=healthy, since_ns=since_ns) for name in names}


@pytest.mark.parametrize(
    ("seconds", "healthy", "promoted"),
    [(10, True, True), (9.999, True, False), (3_600, True, True), (3_600, False, False)],
)
def test_server_gets_a_vote_once_it_has_been_healthy_for_the_time_set(seconds, healthy, promoted):
    given = inputs(facts("a"), facts("b", voter=False))
    found = found_since("b", seconds=seconds, healthy=healthy)
    assert promotions(given, found) == (("b",) if promoted else ())


def test_voters_and_configured_non_voters_are_not_promoted():
    given = inputs(facts("a"), facts("b", voter=False, non_voting=True))
    assert promotions(given, found_since("a", "b", seconds=60)) == ()


def test_server_without_a_finding_is_not_promoted():
    assert promotions(inputs(facts("a"), facts("b", voter=False)), {}) == ()


def test_number_of_voters_need_not_be_odd():
    given = inputs(facts("a"), facts("b", voter=False), facts("c", voter=False))
    assert promotions(given, found_since("a", "b", "c", seconds=60)) == ("b", "c")


# Who is taken out


def dead(voters: str, failed: str, *, others: str = "", left: str = "", **settings: object) -> Dead:
    """What becomes of a cluster of which these have failed and these have left."""

    def status(name: str) -> str:
        return "failed" if name in failed else "left" if name in left else "alive"

    servers = [facts(name, serf_status=status(name)) for name in voters]
    servers += [facts(name, voter=False, serf_status=status(name)) for name in others]
    configuration = AutopilotConfiguration(**settings)
    return dead_servers(inputs(*servers, configuration=configuration), {})


@pytest.mark.parametrize(
    ("voters", "failed", "out"),
    [
        ("abc", "c", "c"),
        ("abc", "bc", ""),
        ("abcd", "d", "d"),
        ("abcd", "cd", ""),
        ("abcde", "de", "de"),
        ("abcde", "cde", ""),
        ("ab", "b", ""),
        ("a", "a", ""),
        ("abc", "", ""),
    ],
)
def test_dead_voters_go_together_and_only_as_a_minority(voters, failed, out):
    found = dead(voters, failed)
    assert found.out == tuple(out)
    assert found.kept == (() if out else tuple(failed))
    assert bool(found.reason) == bool(found.kept)


def test_dead_server_without_a_vote_goes_whatever_the_voters_do():
    found = dead("abc", "bcd", others="d")
    assert (found.out, found.kept) == (("d",), ("b", "c"))


@pytest.mark.parametrize(
    ("voters", "failed", "recent_removals", "goes"),
    [
        ("abcd", "d", 0, True),
        ("abcd", "d", 3, False),  # four of seven
        ("abcdef", "ef", 1, True),  # three of seven, the second of them next
        ("abcde", "e", 2, True),
        ("abc", "c", 2, False),  # three of five
        ("abcd", "", 3, True),
    ],
)
def test_recently_removed_voters_count_for_the_minority(voters, failed, recent_removals, goes):
    servers = [facts(n, serf_status="failed" if n in failed else "alive") for n in voters]
    found = dead_servers(inputs(*servers, recent_removals=recent_removals), {})
    assert found.out == (tuple(failed) if goes else ())
    assert found.kept == (() if goes else tuple(failed))
    assert bool(found.reason) == (not goes)


def test_minimum_of_voters_keeps_the_dead():
    assert dead("abc", "c", min_quorum=2).out == ("c",)
    found = dead("abc", "c", min_quorum=3)
    assert (found.out, found.kept) == ((), ("c",))
    assert found.reason == "2 voters would be left and MinQuorum is 3"


def test_clean_up_switched_off_removes_only_servers_that_left():
    assert dead("abc", "c", cleanup_dead_servers=False) == Dead()
    assert dead("abc", "c", left="b", cleanup_dead_servers=False) == Dead(out=("b",))


def test_server_that_left_goes_without_a_question_of_numbers():
    assert dead("abc", "", left="bc").out == ("b", "c")


@pytest.mark.parametrize("seconds", [0, UNKNOWN_IS_DEAD_AFTER_S - 1, UNKNOWN_IS_DEAD_AFTER_S])
def test_server_missing_from_the_member_list_is_dead_only_after_15_s(seconds):
    unknown = facts("c", serf_status="none", contact=None)
    given = inputs(facts("a"), facts("b"), unknown)
    found = found_since("c", seconds=seconds, healthy=False)
    gone = seconds >= UNKNOWN_IS_DEAD_AFTER_S
    assert dead_servers(given, found).out == (("c",) if gone else ())
    assert dead_servers(given, {}).out == ()


@pytest.mark.parametrize(("failed_s", "goes"), [(0, False), (9.9, False), (10, True)])
@pytest.mark.parametrize("voter", [True, False])
def test_failed_server_is_removed_ten_seconds_after_it_failed(failed_s, goes, voter):
    silence = Silence(failed_s=failed_s, silent_s=failed_s + 5)
    failed = facts("c", voter=voter, serf_status="failed", silence=silence)
    found = dead_servers(inputs(facts("a"), facts("b"), facts("d"), failed), {})
    assert found == Dead(out=("c",) if goes else ())


@given(
    st.lists(any_facts, max_size=7, unique_by=lambda each: each.server.id),
    st.integers(0, 5),
    st.integers(0, 3),
)
def test_voters_left_by_clean_up_are_a_quorum_of_all_before(servers, min_quorum, recent_removals):
    configuration = AutopilotConfiguration(min_quorum=min_quorum)
    given_inputs = inputs(*servers, configuration=configuration, recent_removals=recent_removals)
    found = dead_servers(given_inputs, {})
    alive = {each.server.id for each in servers if each.serf_status in {"alive", "leaving"}}
    assert not alive & set(found.out)
    assert not set(found.out) & set(found.kept)
    voters = [each for each in servers if each.server.voter and each.serf_status != "left"]
    left = [each for each in voters if each.server.id not in found.out]
    if len(left) < len(voters):
        quorum = (len(voters) + recent_removals) // 2 + 1
        assert len(left) >= max(quorum, min_quorum)


def removed(name: str, *, age_s: float = 60, by: str = AUTOPILOT, voter: bool = True):
    return RemovedServer(
        address=f"{name}:4647",
        by=by,
        id=name,
        name=f"{name}.global",
        removed_ns=NOW - round(age_s * NS_PER_S),
        silent_since_ns=NOW - round((age_s + 15) * NS_PER_S),
        voter=voter,
        voters_before=3,
    )


@pytest.mark.parametrize(
    ("record", "voters", "missed"),
    [
        (removed("c"), "ab", True),
        (removed("c"), "abd", False),
        (removed("c", by="operator"), "ab", False),
        (removed("c", voter=False), "ab", False),
    ],
    ids=["dead", "replaced", "removed on purpose", "had no vote"],
)
def test_dead_voter_that_was_removed_is_missed_until_it_is_replaced(record, voters, missed):
    health = observe(inputs(*map(facts, voters), removed=(record,)), {}).health
    (one,) = health.removed
    assert one.missed == missed
    assert (one.name, one.by, one.voter, one.voters_before) == (
        "c.global",
        record.by,
        record.voter,
        3,
    )
    assert one.silent_since < one.removed


def test_removed_server_is_shown_for_a_day_and_not_longer():
    records = (removed("c", age_s=REMEMBERED_S), removed("d", age_s=REMEMBERED_S - 1))
    health = observe(inputs(facts("a"), removed=records), {}).health
    assert [one.name for one in health.removed] == ["d.global"]
    nobody = observe(inputs(facts("a"), removed=records[:1]), {}).health
    assert b'"Removed"' not in to_json(nobody)


def test_server_removed_alive_has_no_silent_since():
    record = msgspec.structs.replace(removed("c", by="operator"), silent_since_ns=0)
    health = observe(inputs(facts("a"), removed=(record,)), {}).health
    assert b'"SilentSince"' not in to_json(health)


def test_server_that_will_never_vote_is_shown_with_the_reason():
    waiting, never = facts("b", voter=False), facts("c", voter=False, non_voting=True)
    shown = observe(inputs(facts("a"), waiting, never), {}).health.servers
    assert [server.no_vote is msgspec.UNSET for server in shown] == [True, True, False]
    alone = observe(inputs(facts("a"), waiting, no_votes="one voter"), {}).health.servers
    assert [server.no_vote for server in alone] == [msgspec.UNSET, "one voter"]


def test_answer_from_before_this_leadership_does_not_judge_contact_and_term():
    earlier = Contact(last_contact=Duration(0), last_term=2, last_index=1_000, is_earlier=True)
    before = facts("b", contact=earlier)
    assert is_healthy(before, inputs(facts("a"), before))
    now = facts("b", contact=msgspec.structs.replace(earlier, is_earlier=False))
    assert not is_healthy(now, inputs(facts("a"), now))
