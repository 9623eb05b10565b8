"""Changes and disagreements that become events."""

from __future__ import annotations

import pytest
from tests.support.tables import (
    FOLLOWING,
    NEW,
    empty,
    events,
    hello,
    knowing,
    record,
)

from bellcow.cluster.members.hearing import (
    hear,
)
from bellcow.cluster.members.queries import conflicting_expectations


def test_two_live_servers_of_one_name_are_noted_each_time():
    table = knowing(record("a"))
    word = hello(record("a", server_id="other", serf=("b", 1)))
    for _ in range(2):
        outcome = hear(table, word, FOLLOWING, 1, answer=False)
        table = outcome.table
        (note,) = (note for note in outcome.notes if note.event == "name_conflict")
        assert note.lasting
        assert (note.fields["by"], note.fields["by_address"]) == ("id-a", "a:4648")
        assert note.fields["address"] == "b:1"
        assert "another name" in str(note.fields["hint"])
    assert len(table.known) == 2


def test_dead_namesake_is_no_conflict():
    table = knowing(record("a", "failed"))
    outcome = hear(table, hello(record("a", server_id="new")), FOLLOWING, 1, answer=False)
    assert events(outcome) == ["member_alive"]


def test_conflicting_expectations_are_noted_until_there_is_a_cluster():
    table = empty(bootstrap_expect=3)
    word = hello(record("a", bootstrap_expect=5), inputs=NEW)
    for _ in range(2):
        outcome = hear(table, word, NEW, 0, answer=False)
        table = outcome.table
        (note,) = (note for note in outcome.notes if note.event == "expect_differs")
        assert (note.fields["theirs"], note.fields["ours"]) == (5, 3)
    assert [each.server_id for each in conflicting_expectations(table)] == ["id-a"]
    assert "expect_differs" not in events(hear(table, word, FOLLOWING, 0, answer=False))


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (True, False, True),
        (False, True, True),
        (True, True, False),
        (False, False, False),
        (True, None, False),
        (None, False, False),
    ],
)
def test_different_acl_settings_are_noted_on_both_sides(ours, theirs, said):
    outcome = hear(empty(acl=ours), hello(record("a", acl=theirs)), FOLLOWING, 0, answer=False)
    notes = [note for note in outcome.notes if note.event == "acl_differs"]
    assert len(notes) == said
    for note in notes:
        assert note.lasting
        assert (note.fields["theirs"], note.fields["ours"]) == (theirs, ours)
        assert "acl { enabled = true }" in str(note.fields["hint"])
