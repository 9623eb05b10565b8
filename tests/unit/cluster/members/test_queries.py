"""Queries of the table of members."""

from __future__ import annotations

import pytest
from tests.support.tables import (
    FOLLOWING,
    empty,
    hello,
    leading,
    record,
    told,
)

from bellcow.cluster.members.compose import compose
from bellcow.cluster.members.failure import judge
from bellcow.cluster.members.queries import conflicting_expectations, since_leader


@pytest.mark.parametrize("expected", [0, 3])
def test_equal_or_no_expectation_is_no_conflict(expected: int):
    table = told(empty(bootstrap_expect=3), hello(record("a", bootstrap_expect=expected)))
    assert conflicting_expectations(table) == ()


def test_since_leader_grows_until_the_next_hello():
    assert since_leader(empty(), 5) is None
    table = told(empty(), hello(record("b"), inputs=leading()), now=5)
    assert since_leader(table, 7.5) == 2.5
    assert compose(table, FOLLOWING, 7.5, abroad=False).since_leader_ms == 2500
    assert since_leader(told(table, hello(record("b"), inputs=leading()), now=8), 8) == 0
    assert since_leader(judge(empty(), leading(), 1).table, 99) == 0
