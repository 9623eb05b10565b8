from __future__ import annotations

import msgspec
import pytest

from bellcow.store.limits import check_chain, check_limits, check_unseen
from bellcow.store.protocol import NO_HEAD, Head, Limits, TooLarge

NEXT = Head(index=1, commit="a", prev="", ops=1)
LIMITS = Limits(max_changes=2, max_bytes=10, object_bytes=6)


def test_head_that_follows_is_taken():
    check_chain(NO_HEAD, NEXT, {("t", "a"): b"1"})


@pytest.mark.parametrize("wrong", [{"prev": "b"}, {"ops": 2}, {"commit": ""}])
def test_head_that_does_not_follow_is_a_fault_of_the_caller(wrong):
    with pytest.raises(ValueError, match="head"):
        check_chain(NO_HEAD, msgspec.structs.replace(NEXT, **wrong), {("t", "a"): b"1"})


def test_only_the_generation_that_is_the_truth_is_protected():
    check_unseen(NEXT, 1)
    with pytest.raises(ValueError, match="generation 0"):
        check_unseen(NEXT, 0)


@pytest.mark.parametrize(
    ("items", "fits"),
    [
        ([(("t", "a"), b"123456")], True),
        ([(("t", "a"), b"1234567")], False),
        ([(("t", "a"), b"123"), (("t", "b"), b"123")], True),
        ([(("t", "a"), b"1234"), (("t", "b"), b"123")], False),
        ([(("t", "a"), None), (("t", "b"), None)], True),
        ([(("t", "a"), None), (("t", "b"), None), (("t", "c"), None)], False),
        ([(("t" * 10, "a"), None)], False),
    ],
)
def test_limits_count_changes_values_and_keys(items, fits):
    if fits:
        check_limits(LIMITS, items)
        return
    with pytest.raises(TooLarge, match="at most"):
        check_limits(LIMITS, items)
