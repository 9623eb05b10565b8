"""The steps that change the table of members."""

from __future__ import annotations

from tests.support.tables import (
    empty,
    hello,
    knowing,
    leading,
    record,
    told,
)

from bellcow.cluster.members.table import UNHEARD_MAX


def test_number_of_servers_that_were_only_named_is_bounded():
    crowd = [record(f"s{number}") for number in range(200)]
    table = told(knowing(record("b")), hello(record("b"), *crowd), now=1)
    assert len(table.known) == 1 + UNHEARD_MAX
    assert told(table, hello(record("c"), *crowd), answer=True, now=1).known.keys() - table.known


def test_contact_counts_answers_and_not_calls():
    table = told(empty(), hello(record("a"), inputs=leading(3)), now=7, answer=False)
    assert table.contacts["id-a"].raft is None
    table = told(table, hello(record("a"), inputs=leading(3)), now=9, answer=True)
    assert table.contacts["id-a"].answered == 9
    assert table.contacts["id-a"].raft.term == 3
