"""The search agrees with trying every order, on registers small enough for that."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cluster.chaos.search import Step, search

if TYPE_CHECKING:
    from collections.abc import Sequence

FOREVER = float("inf")


@st.composite
def steps(draw, count: int):
    found = []
    for number in range(draw(st.integers(1, count))):
        call = draw(st.integers(0, 6))
        back = call + draw(st.integers(0, 4)) + 0.5
        does = draw(st.sampled_from(("read", "write", "swap", "keep")))
        value = f"v{number}" if does in {"write", "swap"} else f"v{draw(st.integers(0, count))}"
        expected = f"v{draw(st.integers(0, count))}"
        if does in {"read", "write"}:
            expected = None
        found.append(Step(call, back, does, None if does == "keep" else value, expected, number))
    return found


def fits_in_order(order: Sequence[Step]) -> bool:
    """Whether this very order is legal: answers as given, and nobody before who came after."""
    state = None
    for place, step in enumerate(order):
        if any(other.back < step.call for other in order[place + 1 :]):
            return False
        if step.does == "read" and step.value != state:
            return False
        if step.does == "keep" and step.expected == state:
            return False
        if step.does == "swap" and step.expected != state:
            return False
        if step.does in {"write", "swap"}:
            state = step.value
    return True


def by_force(certain: Sequence[Step], maybes: Sequence[Step]) -> bool:
    return any(
        fits_in_order(order)
        for count in range(len(maybes) + 1)
        for chosen in combinations(maybes, count)
        for order in permutations([*certain, *chosen])
    )


@settings(max_examples=400)
@given(steps(5))
def test_search_agrees_with_all_orders(certain):
    assert search(certain).linearizable == by_force(certain, [])


@settings(max_examples=300)
@given(steps(4), st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=2))
def test_search_agrees_with_all_orders_when_answers_are_lost(certain, lost):
    maybes = [
        Step(call, FOREVER, "write", None if deletes else f"unseen {number}")
        for number, (call, deletes) in enumerate(lost)
    ]
    assert search(certain, maybes).linearizable == by_force(certain, maybes)


def test_swap_without_an_answer_needs_what_it_expects():
    first = Step(0, 1, "write", "a")
    refused = Step(4, 5, "keep", expected="a")
    assert search([first, refused], [Step(2, FOREVER, "swap", "b", "a")]).linearizable
    assert not search([first, refused], [Step(2, FOREVER, "swap", "b", "c")]).linearizable


def test_failed_search_names_what_it_could_not_get_past():
    first, second = Step(0, 1, "write", "a", position=0), Step(2, 3, "write", "b", position=1)
    stale = Step(4, 5, "read", "a", position=2)
    found = search([first, second, stale])
    assert not found.linearizable
    assert found.exhausted
    assert [step.position for step in found.stuck] == [2]


def test_search_that_gives_up_says_so():
    writes = [Step(0, 10, "write", f"v{number}") for number in range(12)]
    wish = Step(11, 12, "read", "never written")
    found = search([*writes, wish], tries=100)
    assert not found.linearizable
    assert not found.exhausted
