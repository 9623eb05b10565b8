"""Recent commits: the exact successors of a commit, or that they are unknown."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.state.recent_commits import RecentCommits
from bellcow.store.protocol import Change, Head

pytestmark = pytest.mark.virtual_time


def commit(number: int, size: int = 0) -> Change:
    head = Head(index=number, commit=f"c{number}", prev=f"c{number - 1}", ops=1)
    return Change(head, {("t", "a"): b"x" * size})


def ring_of(numbers: range, **limits: int) -> RecentCommits:
    """A ring of these commits, begun at the one before the first."""
    ring = RecentCommits(**limits)
    ring.begin(commit(numbers.start - 1).head)
    for number in numbers:
        ring.add(commit(number))
    return ring


def indexes(found: list[Change] | None) -> list[int] | None:
    return None if found is None else [change.head.index for change in found]


def test_commits_after_one_are_in_order():
    ring = ring_of(range(5, 9))
    assert indexes(ring.after("c6")) == [7, 8]
    assert indexes(ring.after("c4")) == [5, 6, 7, 8]


def test_nothing_follows_the_newest_commit():
    assert ring_of(range(5, 9)).after("c8") == []
    assert ring_of(range(5, 5)).after("c4") == []


def test_commits_after_an_unknown_one_are_unknown():
    assert ring_of(range(5, 9)).after("c3") is None
    assert ring_of(range(5, 9)).after("") is None


def test_new_ring_has_nothing_after_the_empty_head():
    ring = RecentCommits()
    assert ring.after("") == []
    ring.add(commit(1))
    assert indexes(ring.after("")) == [1]


def test_oldest_commits_are_forgotten_over_the_limit_of_commits():
    ring = ring_of(range(1, 11), commits=4)
    assert ring.after("c5") is None
    assert indexes(ring.after("c6")) == [7, 8, 9, 10]


def test_oldest_commits_are_forgotten_over_the_limit_of_bytes():
    ring = RecentCommits(size=100)
    ring.begin(commit(0).head)
    for number in range(1, 11):
        ring.add(commit(number, size=38))  # and two bytes of key
    assert ring.after("c7") is None
    assert indexes(ring.after("c8")) == [9, 10]


def test_commit_larger_than_the_ring_leaves_only_its_id_to_continue_from():
    ring = ring_of(range(1, 4), size=100)
    ring.add(commit(4, size=200))
    assert ring.after("c3") is None
    assert ring.after("c4") == []
    ring.add(commit(5))
    assert indexes(ring.after("c4")) == [5]


def test_answer_ends_before_its_limit_but_holds_one_commit_at_least():
    ring = RecentCommits()
    ring.begin(commit(0).head)
    for number in range(1, 6):
        ring.add(commit(number, size=98))
    assert indexes(ring.after("c1", 250)) == [2, 3]
    assert indexes(ring.after("c1", 1)) == [2]


def test_load_empties_the_ring():
    ring = ring_of(range(1, 5))
    ring.begin(commit(9).head)
    assert ring.after("c3") is None
    assert ring.after("c9") == []


@given(
    st.lists(st.integers(0, 60), max_size=30),
    st.integers(1, 10),
    st.integers(1, 200),
    st.integers(0, 31),
    st.integers(1, 300),
)
def test_answer_is_always_the_next_commits_without_a_gap(sizes, commits, total, asked, most):
    ring = RecentCommits(commits=commits, size=total)
    ring.begin(commit(0).head)
    for number, size in enumerate(sizes, 1):
        ring.add(commit(number, size))
    found = indexes(ring.after(f"c{asked}", most))
    left = [size + len("ta") for size in sizes[asked:]]
    known = asked <= len(sizes) and len(left) <= commits and sum(left) <= total
    assert (found is not None) == known
    if found is not None:
        assert found == list(range(asked + 1, asked + 1 + len(found)))
        assert bool(found) == bool(left)
        assert len(found) == 1 or sum(left[: len(found)]) <= most or not found


async def test_waiter_is_woken_by_the_next_commit_and_by_a_load():
    ring = ring_of(range(1, 3))
    loop = asyncio.get_running_loop()
    loop.call_later(0.5, ring.add, commit(3))
    loop.call_later(0.7, ring.begin, commit(9).head)
    times = []
    for _ in range(2):
        await asyncio.gather(ring.more(2.0), ring.more(2.0))
        times.append(round(loop.time(), 3))
    assert times == [0.5, 0.7]


async def test_waiter_returns_after_its_time_limit_and_is_removed():
    ring = ring_of(range(1, 3))
    await ring.more(2.0)
    assert (asyncio.get_running_loop().time(), len(ring._waiters)) == (2.0, 0)
