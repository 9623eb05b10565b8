"""What a hello changes, rule by rule, without a network."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tables import (
    FOLLOWING,
    NEW,
    US,
    empty,
    events,
    hello,
    knowing,
    leading,
    record,
    refusal,
    silent,
    status,
    told,
    view,
)

from bellcow.cluster.members.compose import with_own_status
from bellcow.cluster.members.failure import judge, missed, next_verdict
from bellcow.cluster.members.hearing import (
    EPOCHS_AHEAD,
    INDEXES_AHEAD,
    SEQUENCE_AHEAD,
    TERMS_AHEAD,
    hear,
)
from bellcow.cluster.members.table import MEMBERS_MAX, UNHEARD_MAX, Inputs
from bellcow.errors import Error
from bellcow.model.hello import (
    COUNT_MAX,
    Cluster,
    Hello,
    Record,
)


@pytest.mark.parametrize(
    ("mine", "theirs", "wins"),
    [
        (record("a", seq=1), record("a", seq=2), True),
        (record("a", seq=2), record("a", seq=1), False),
        (record("a", seq=9), record("a", start=2), True),
        (record("a", start=2), record("a", seq=9), False),
        (record("a"), record("a", "left"), True),
        (record("a", "left"), record("a"), False),
    ],
    ids=[
        "higher sequence",
        "lower sequence",
        "newer start",
        "older start",
        "same version, further gone",
        "same version, less gone",
    ],
)
def test_later_record_of_a_third_server_wins(mine: Record, theirs: Record, wins: bool):
    table = told(empty(), hello(mine), hello(record("b"), theirs), now=99)
    assert table.known["id-a"].record == (theirs if wins else mine)


def test_server_that_answers_us_is_not_failed_by_others():
    table = knowing(record("a"), record("b"))
    table = told(table, hello(record("b"), record("a", "failed", seq=1)), now=2)
    assert status(table, "a") == "alive"


def test_server_that_does_not_answer_us_is_failed_by_others():
    word = hello(record("b"), record("a", "failed", seq=1))
    assert status(told(silent(knowing(record("a")), "a"), word, now=6), "a") == "failed"
    heard_of = told(empty(), hello(record("c"), record("a")))
    assert status(told(heard_of, word), "a") == "failed"


def test_leader_s_record_counts_even_for_a_server_that_answers_us():
    table = knowing(record("a"), record("b"))
    word = hello(record("b"), record("a", "failed", seq=1), inputs=leading())
    assert status(told(table, word, now=2), "a") == "failed"


def test_leader_revives_a_server_that_we_marked_as_failed():
    table = judge(silent(knowing(record("a")), "a"), FOLLOWING, 6.0).table
    assert status(table, "a") == "failed"
    table = told(table, hello(record("b"), record("a"), inputs=leading()), now=7)
    assert status(table, "a") == "alive"


def test_leader_with_an_older_record_does_not_undo_a_return():
    table = knowing(record("a", seq=6))
    word = hello(record("b"), record("a", "failed", seq=5), inputs=leading())
    assert status(told(table, word), "a") == "alive"


def test_table_of_the_leader_with_the_highest_term_wins():
    table = knowing(record("a"), record("b"), record("c"))
    table = told(table, hello(record("c"), record("a"), record("b"), inputs=leading(5)))
    table = told(table, hello(record("b"), record("a", "failed", seq=1), inputs=leading(4)))
    assert status(table, "a") == "alive"
    assert table.leader.server_id == "id-c"
    table = told(table, hello(record("b"), record("a", "failed", seq=1), inputs=leading(6)))
    assert status(table, "a") == "failed"
    assert table.leader.server_id == "id-b"


def test_term_of_a_later_epoch_is_higher_than_any_of_an_earlier_one():
    table = told(empty(), hello(record("b"), inputs=leading(9)))
    table = told(table, hello(record("c"), inputs=leading(1, epoch=1)))
    assert table.leader.server_id == "id-c"


def test_leader_accepts_only_a_leader_of_a_higher_term():
    inputs = leading(5)
    table = judge(knowing(record("a"), record("b")), inputs, 0).table
    word = record("a", "failed", seq=1)
    assert (
        status(told(table, hello(record("b"), word, inputs=leading(5)), inputs=inputs), "a")
        == "alive"
    )
    table = told(table, hello(record("b"), word, inputs=leading(6)), inputs=inputs)
    assert status(table, "a") == "failed"
    assert judge(table, inputs, 0).table.leader.server_id == "id-b"


def test_second_leader_of_one_term_is_not_accepted():
    table = told(
        empty(), hello(record("b"), inputs=leading(5)), hello(record("c"), inputs=leading(5))
    )
    assert table.leader.server_id == "id-b"
    assert told(empty(), hello(record("b"), inputs=leading(5)), inputs=leading(5)).leader is None


def test_former_leader_is_not_authoritative():
    table = told(empty(), hello(record("b"), inputs=leading()))
    table = told(table, hello(record("b"), record("a", "failed")))
    assert status(table, "a") is None


def test_unknown_dead_server_is_accepted_from_the_leader_alone():
    dead = record("a", "failed")
    assert status(told(empty(), hello(record("b"), dead)), "a") is None
    assert status(told(empty(), hello(record("b"), dead, inputs=leading())), "a") == "failed"


def test_dead_server_that_the_leader_removed_is_removed():
    table = told(empty(), hello(record("b"), record("a", "left"), record("c"), inputs=leading()))
    outcome = hear(table, hello(record("b"), inputs=leading()), FOLLOWING, 1, answer=True)
    assert outcome.table.known.keys() == {"id-b", "id-c"}
    assert events(outcome) == ["member_forgotten"]


def test_wrong_record_of_ourselves_is_refuted():
    table = told(empty(), hello(record("b"), record("me", "failed", seq=3)))
    assert table.me == record("me", seq=4)
    assert told(table, hello(record("b"), record("me", "failed", seq=3))) == table


def test_own_former_record_from_the_future_gets_a_later_version():
    table = told(empty(), hello(record("b"), record("me", start=50, seq=2)))
    assert table.me == record("me", start=50, seq=3)


def test_own_leaving_is_repeated_and_not_refuted():
    table = with_own_status(empty(), "leaving")
    table = told(table, hello(record("b"), record("me", "failed", seq=8)))
    assert table.me == record("me", "leaving", seq=9)


def test_number_of_members_is_bounded():
    crowd = [hello(record(f"s{number}")) for number in range(MEMBERS_MAX)]
    table = told(empty(), *crowd, answer=True)
    with pytest.raises(Error, match="no more are accepted"):
        hear(table, hello(record("late")), FOLLOWING, 0, answer=True)
    assert told(table, hello(record("s1"), record("late"))) == table
    assert status(told(table, hello(record("s2", "leaving", seq=1))), "s2") == "leaving"


def test_server_that_calls_replaces_one_that_was_only_named():
    crowd = [record(f"s{number}") for number in range(UNHEARD_MAX)]
    table = told(knowing(record("b")), hello(record("b"), *crowd), now=1)
    for answer in (False, True):
        after = told(table, hello(record("late")), now=2, answer=answer)
        assert status(after, "late") == "alive"
        assert (len(after.known), status(after, "b")) == (len(table.known), "alive")


def test_repeated_hello_changes_nothing():
    word = hello(record("b"), record("a"), record("c", "leaving"), inputs=leading())
    once = told(empty(), word)
    again = hear(once, word, FOLLOWING, 0, answer=True)
    assert again.table == once
    assert again.notes == ()


RECORDS = st.builds(
    record,
    st.sampled_from("abc"),
    st.sampled_from(["alive", "leaving"]),
    st.integers(1, 3),
    st.integers(0, 3),
)


@given(st.lists(RECORDS, min_size=2, max_size=4), st.data())
def test_order_of_records_does_not_matter(records, data):
    words = [hello(record("z"), each) for each in records]
    shuffled = data.draw(st.permutations(words))
    first, second = told(empty(), *words), told(empty(), *shuffled)
    assert {key: known.record for key, known in first.known.items()} == {
        key: known.record for key, known in second.known.items()
    }


STATUSES = st.sampled_from(["alive", "leaving", "left", "failed"])
ANY_RECORDS = st.builds(
    record,
    st.sampled_from(["a", "b", "me"]),
    STATUSES,
    st.integers(1, 3),
    st.integers(0, 3),
    region=st.sampled_from(["global", "eu"]),
)
HELLOS = st.builds(
    lambda sender, others, inputs: hello(sender, *others, inputs=inputs),
    ANY_RECORDS,
    st.lists(ANY_RECORDS, max_size=3),
    st.sampled_from([FOLLOWING, NEW, leading(1), leading(2), leading(1, epoch=1)]),
)


@given(st.lists(st.tuples(HELLOS, st.booleans(), st.floats(0, 20)), max_size=12))
def test_table_keeps_its_invariants_after_any_hellos(steps):
    table, now = empty(), 0.0
    for word, answer, pause_s in steps:
        now += pause_s
        before = table.me.version
        try:
            table = hear(table, word, FOLLOWING, now, answer=answer).table
        except Error:
            continue
        table = judge(table, FOLLOWING, now).table
        assert table.known.keys() == table.contacts.keys()
        assert "id-me" not in table.known
        assert table.me.status == "alive"
        assert table.me.version >= before
        assert next_verdict(table, now) > 0


NOW_NS = 1_700_000_000 * 10**9
DAY_NS = 86_400 * 10**9
CLUSTER = Inputs(cluster=US, raft=view(term=7), claimant="id-b", wall_ns=NOW_NS)


def led(inputs: Inputs, *hellos: Hello, now: float = 1.0) -> str:
    """Who leads for a server that stands `inputs`, after some answers."""
    leader = told(knowing(*map(record, "abc")), *hellos, inputs=inputs, now=now, answer=True).leader
    return leader.server_id if leader else ""


def claims(name: str, term: int, epoch: int = 0) -> Hello:
    return hello(record(name), inputs=leading(term, epoch))


def test_caller_that_claims_to_lead_is_called_before_it_is_accepted():
    table = told(knowing(record("b")), claims("b", 7), inputs=CLUSTER, now=1, answer=False)
    assert (table.leader, table.doubts.keys()) == (None, {"id-b"})
    answered = told(table, claims("b", 7), inputs=CLUSTER, now=2)
    assert (answered.leader.server_id, answered.doubts) == ("id-b", {})
    denied = told(table, hello(record("b")), inputs=CLUSTER, now=2, answer=True)
    assert (denied.leader, denied.doubts) == (None, {})
    silent_ = judge(silent(table, "b"), CLUSTER, 2).table
    assert (silent_.leader, silent_.doubts) == (None, {})


def test_accepted_leader_is_heard_as_a_caller():
    table = told(knowing(record("b")), claims("b", 7), inputs=CLUSTER, now=1)
    assert told(table, claims("b", 7), inputs=CLUSTER, now=9, answer=False).leader.heard == 9


@pytest.mark.parametrize(
    ("inputs", "term", "believed"),
    [
        (CLUSTER, 7 + TERMS_AHEAD, True),
        (CLUSTER, 7 + TERMS_AHEAD + 1, False),
        (CLUSTER, 2**61, False),
        (CLUSTER, 6, False),
        (CLUSTER, 7, False),
        (msgspec.structs.replace(CLUSTER, claimant="id-a"), 7, True),
        (msgspec.structs.replace(CLUSTER, member_term=8), 8, True),
        (msgspec.structs.replace(CLUSTER, member_term=8), 9, False),
        (
            msgspec.structs.replace(
                CLUSTER, member_term=8, raft=msgspec.structs.replace(view(term=7), works=False)
            ),
            9,
            True,
        ),
        (NEW, 2**61, True),
    ],
    ids=[
        "as far ahead as may be",
        "further",
        "much further",
        "earlier than memory",
        "another one leads in it, by memory",
        "it leads, by memory",
        "our member has heard of it",
        "our member has a leader and has not heard of it",
        "our member has no leader",
        "whoever is in no cluster knows nothing",
    ],
)
def test_impossible_term_is_not_accepted(inputs, term, believed):
    assert led(inputs, claims("a", term)) == ("id-a" if believed else "")


def test_silent_leader_is_replaced_by_one_of_any_term():
    table = told(knowing(record("a"), record("b")), claims("a", 900), inputs=CLUSTER, now=1)
    assert told(table, claims("b", 8), inputs=CLUSTER, now=5.9).leader.server_id == "id-a"
    assert told(table, claims("b", 8), inputs=CLUSTER, now=6).leader.server_id == "id-b"


def test_leader_that_answers_as_a_follower_leads_no_more():
    following = hello(record("a"))
    table = told(knowing(record("a"), record("b")), claims("a", 900), inputs=CLUSTER, now=1)
    assert told(table, following, inputs=CLUSTER, now=2, answer=False).leader.server_id == "id-a"
    assert told(table, following, inputs=CLUSTER, now=2, answer=True).leader is None


def test_configured_server_is_preferred_as_leader():
    inputs = msgspec.structs.replace(CLUSTER, servers=frozenset({"id-b", "id-me"}))
    assert led(inputs, claims("a", 900), claims("b", 7)) == "id-b"
    assert led(inputs, claims("b", 7), claims("a", 900)) == "id-b"
    assert led(inputs, claims("a", 900)) == "id-a"  # the configuration in memory may be old


def test_own_leadership_is_kept_against_a_term_unknown_to_our_member():
    inputs = Inputs(cluster=US, raft=view("leader", 7), claimant="id-me", member_term=7)
    table = judge(
        told(knowing(record("a")), claims("a", 900), inputs=inputs, now=1), inputs, 1
    ).table
    assert table.leader.server_id == "id-me"


@pytest.mark.parametrize(("ahead", "believed"), [(INDEXES_AHEAD, True), (INDEXES_AHEAD + 1, False)])
def test_impossible_index_does_not_age_our_memory(ahead: int, believed: bool):
    raft = msgspec.structs.replace(view("leader", 7), index=CLUSTER.raft.index + ahead)
    word = msgspec.structs.replace(claims("b", 7), raft=raft, echo_ms=900)
    leader = told(empty(), word, inputs=CLUSTER, now=1).leader
    assert (leader.index, leader.as_of) == ((raft.index, 0.9) if believed else (0, None))


def test_own_leadership_returns_when_a_claimant_of_a_higher_term_is_silent():
    inputs = leading(5)
    table = told(judge(empty(), inputs, 0).table, claims("b", 6), inputs=inputs, now=1)
    assert judge(table, inputs, 5.9).table.leader.server_id == "id-b"
    assert judge(table, inputs, 6.0).table.leader.server_id == "id-me"


def test_table_of_a_caller_that_poses_as_the_leader_is_not_authoritative():
    table = told(knowing(record("a"), record("b")), claims("b", 7), inputs=CLUSTER, now=1)
    word = hello(record("b"), record("a", "failed", seq=1), inputs=leading(7))
    assert status(told(table, word, inputs=CLUSTER, now=2, answer=False), "a") == "alive"
    assert status(told(table, word, inputs=CLUSTER, now=2, answer=True), "a") == "failed"


def test_impossible_epoch_is_refused():
    word = claims("a", 1, epoch=EPOCHS_AHEAD + 1)
    assert "too far ahead of ours" in refusal(empty(), word)
    assert told(empty(), claims("a", 1, epoch=EPOCHS_AHEAD)).ahead == Cluster("x", EPOCHS_AHEAD)


@pytest.mark.parametrize("by", ["itself", "another server", "the leader"])
def test_live_server_is_called_before_it_counts_as_left(by: str):
    gone = record("a", "left", seq=3)
    word = {
        "itself": hello(gone),
        "another server": hello(record("b"), gone),
        "the leader": hello(record("b"), gone, inputs=leading(8)),
    }[by]
    table = told(knowing(record("a"), record("b")), word, inputs=CLUSTER, now=1)
    assert status(table, "a") == "alive"
    assert table.doubts.keys() == {"id-a"}
    assert status(judge(table, CLUSTER, 1.1).table, "a") == "alive"
    answered = told(table, hello(record("a", seq=4)), inputs=CLUSTER, now=2, answer=True)
    assert status(judge(silent(answered, "a"), CLUSTER, 2).table, "a") == "alive"
    outcome = judge(missed(table, "id-a"), CLUSTER, 2)
    assert status(outcome.table, "a") == "left"
    assert events(outcome) == ["member_left"]
    confirmed = told(table, hello(gone), inputs=CLUSTER, now=2, answer=True)
    assert status(confirmed, "a") == "left"


def test_server_that_answered_as_leaving_has_left_at_the_first_claim():
    table = told(knowing(record("a")), hello(record("a", "leaving", seq=1)), now=1, answer=True)
    assert status(told(table, hello(record("a", "left", seq=2)), now=2), "a") == "left"


FAR = [(NOW_NS + DAY_NS + 1, 0), (COUNT_MAX, COUNT_MAX), (NOW_NS, SEQUENCE_AHEAD + 3)]


@pytest.mark.parametrize(("start", "seq"), FAR)
@pytest.mark.parametrize("how", ["left", "failed", "alive"])
def test_version_far_ahead_of_the_known_one_is_not_accepted(start: int, seq: int, how: str):
    table = knowing(record("a", start=NOW_NS, seq=2), record("b"))
    word = hello(record("b"), record("a", how, start=start, seq=seq))
    for answer in (False, True):
        after = told(table, word, inputs=CLUSTER, now=9, answer=answer)
        assert after.known["id-a"].record == table.known["id-a"].record
    if how != "failed":
        after = told(table, hello(record("a", how, start=start, seq=seq)), inputs=CLUSTER, now=9)
        assert after.known["id-a"].record == table.known["id-a"].record


def test_own_clock_years_behind_does_not_hide_a_restarted_server():
    inputs = msgspec.structs.replace(CLUSTER, wall_ns=0)
    table = told(empty(), hello(record("a", start=NOW_NS)), inputs=inputs)
    again = record("a", start=NOW_NS + DAY_NS)
    assert told(table, hello(again), inputs=inputs).known["id-a"].record == again
    month_later = record("a", start=NOW_NS + 30 * DAY_NS)
    assert told(table, hello(month_later), inputs=inputs, answer=True).known["id-a"].record == (
        month_later
    )


@pytest.mark.parametrize(("start", "seq"), FAR)
def test_live_server_always_refutes_a_wrong_record_of_itself(start: int, seq: int):
    lie = record("a", "left", start=start, seq=seq)
    table = told(knowing(record("b")), hello(record("b"), record("a", start=start, seq=seq)))
    table = told(silent(table, "a"), hello(record("b"), lie), now=9)
    assert status(table, "a") == "left"
    truth = record("a", start=NOW_NS)
    for answer in (False, True):
        after = told(table, hello(truth), inputs=CLUSTER, now=10, answer=answer)
        assert after.known["id-a"].record == truth


@pytest.mark.parametrize(("start", "seq"), FAR)
def test_own_record_from_the_far_future_is_ignored(start: int, seq: int):
    table = empty(start=NOW_NS)
    word = hello(record("b", start=NOW_NS), record("me", "left", start=start, seq=seq))
    assert told(table, word, inputs=CLUSTER).me == table.me


def test_server_with_a_clock_years_behind_refutes_its_former_record():
    inputs = msgspec.structs.replace(CLUSTER, wall_ns=5)
    word = hello(record("b", start=NOW_NS), record("me", "failed", start=NOW_NS, seq=3))
    assert told(empty(start=5), word, inputs=inputs).me.version == (NOW_NS, 4)


def test_number_of_regions_is_bounded():
    words = [hello(record("a", region=f"r{n}"), leader="x") for n in range(MEMBERS_MAX + 9)]
    table = empty()
    for word in words:
        table = told(table, word)
    assert len(table.abroad) == MEMBERS_MAX


def test_server_of_another_cluster_is_refused_with_both_ids():
    stranger = hello(record("a"), inputs=Inputs(cluster=Cluster("y", 0), raft=view()))
    assert "theirs is y, ours is x" in refusal(empty(), stranger)


@pytest.mark.parametrize("answer", [False, True])
def test_same_epoch_of_another_recovery_is_refused(answer):
    ours, theirs = (Inputs(cluster=Cluster("x", 1, by), raft=view()) for by in ("one", "two"))
    with pytest.raises(Error, match="cluster x was recovered twice"):
        hear(empty(), hello(record("a"), inputs=theirs), ours, 0, answer=answer)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(("one", 1), ("", 1)), (("", 1), ("one", 1)), (("one", 1), ("one", 1)), (("one", 2), ("", 1))],
)
def test_same_or_later_or_unknown_recovery_is_accepted(theirs, ours):
    there, inputs = (Inputs(cluster=Cluster("x", e, by), raft=view()) for by, e in (theirs, ours))
    assert status(told(empty(), hello(record("a"), inputs=there), inputs=inputs), "a") == "alive"


@pytest.mark.parametrize(("theirs", "ours"), [(None, US), (US, None), (None, None)])
def test_server_without_a_cluster_is_accepted(theirs, ours):
    word = hello(record("a"), inputs=Inputs(cluster=theirs, raft=view()))
    assert status(told(empty(), word, inputs=Inputs(cluster=ours, raft=view())), "a") == "alive"


def test_later_epoch_of_our_cluster_is_reported_once_and_accepted():
    word = hello(record("b"), record("a", "failed"), inputs=leading(1, epoch=3))
    outcome = hear(empty(), word, FOLLOWING, 0, answer=True)
    assert outcome.table.ahead == Cluster("x", 3)
    assert "recovery_missed" in events(outcome)
    assert status(outcome.table, "a") == "failed"
    assert "recovery_missed" not in events(hear(outcome.table, word, FOLLOWING, 0, answer=False))


def test_server_of_an_earlier_epoch_is_listed_and_its_claims_ignored():
    inputs = leading(1, epoch=3)
    table = told(
        empty(), hello(record("b"), record("a"), inputs=leading(9, epoch=2)), inputs=inputs
    )
    assert table.known.keys() == {"id-b"}
    assert table.leader is None
    assert table.ahead is None


def test_leader_of_an_earlier_epoch_is_not_accepted():
    inputs = Inputs(cluster=Cluster("x", 3), raft=view())
    assert (
        told(empty(), hello(record("b"), inputs=leading(9, epoch=2)), inputs=inputs).leader is None
    )


def test_other_region_changes_its_own_servers_and_leader_only():
    far = {"region": "eu"}
    word = hello(record("b", **far), record("c", **far), record("a"), inputs=leading(7))
    word = msgspec.structs.replace(word, leader="id-b", cluster=Cluster("y", 2))
    table = told(empty(), word)
    assert table.known.keys() == {"id-b", "id-c"}
    assert table.abroad == {"eu": "id-b"}
    assert table.leader is None
    assert table.ahead is None


def test_known_server_may_move_once_its_old_address_is_silent():
    moved = hello(record("a", start=2, serf=("elsewhere", 1)))
    table = knowing(record("a"), now=10)
    assert "answers at another address" in refusal(table, moved, now=11)
    outcome = hear(table, moved, FOLLOWING, 13, answer=False)
    assert outcome.table.known["id-a"].record.itself.serf == ("elsewhere", 1)
    assert events(outcome) == ["address_changed"]


def test_claimed_move_is_not_accepted_while_the_server_answers():
    table = knowing(record("a"), now=10)
    rumor = hello(record("b"), record("a", start=2, serf=("elsewhere", 1)), inputs=leading())
    assert told(table, rumor, now=11).known["id-a"].record == record("a")


def test_stranger_with_our_own_id_is_refused():
    twin = hello(record("twin", server_id="id-me"))
    assert "another server has the id id-me" in refusal(empty(), twin)


def test_our_own_hello_that_comes_back_changes_nothing():
    table = empty()
    assert hear(table, hello(table.me), FOLLOWING, 0, answer=True).table is table


def test_leader_s_index_dates_from_the_hello_that_it_echoes():
    word = msgspec.structs.replace(hello(record("a"), inputs=leading(4)), echo_ms=2_500)
    leader = told(empty(), word, now=7.0).leader
    assert leader is not None
    assert (leader.heard, leader.as_of) == (7.0, 2.5)
    ahead = told(empty(), msgspec.structs.replace(word, echo_ms=9_000), now=7.0).leader
    assert ahead is not None
    assert ahead.as_of == 7.0
    silent = told(empty(), hello(record("a"), inputs=leading(4)), now=7.0).leader
    assert silent is not None
    assert silent.as_of is None
