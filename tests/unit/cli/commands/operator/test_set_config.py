from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bellcow.cli.commands.operator.set_config import differences, overlay, set_with_cas

VALUES = st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans(), max_size=3)


def test_objects_inside_are_laid_over_too() -> None:
    assert overlay({"a": 1, "o": {"x": 1, "y": 2}}, {"o": {"y": 3}}) == {
        "a": 1,
        "o": {"x": 1, "y": 3},
    }


@given(VALUES, VALUES)
def test_changes_win_and_the_rest_stays(before: dict[str, Any], changes: dict[str, Any]) -> None:
    after = overlay(before, changes)
    assert {key: after[key] for key in changes} == changes
    assert all(after[key] == before[key] for key in before.keys() - changes.keys())
    assert (differences(before, after) == []) == (before == after)


def test_differences_are_named() -> None:
    before = {"MaxTrailingLogs": 250, "On": False, "P": {"Q": "a"}}
    after = {"MaxTrailingLogs": 100, "On": True, "P": {"Q": "b"}}
    assert differences(before, after) == [
        "MaxTrailingLogs: 250 -> 100",
        "On: false -> true",
        "Q: a -> b",
    ]


def test_after_a_concurrent_write_the_change_is_repeated_on_the_new_value() -> None:
    states = [{"ModifyIndex": 5, "A": 1, "B": 1}, {"ModifyIndex": 6, "A": 1, "B": 2}]
    writes: list[tuple[dict[str, Any], int]] = []

    def write(after: dict[str, Any], index: int) -> bool:
        writes.append((after, index))
        return index == 6

    assert set_with_cas(lambda: states.pop(0), write, {"A": 7}) == ["A: 1 -> 7"]
    assert writes == [
        ({"ModifyIndex": 5, "A": 7, "B": 1}, 5),
        ({"ModifyIndex": 6, "A": 7, "B": 2}, 6),
    ]


def test_after_two_concurrent_writes_it_gives_up() -> None:
    tries: list[int] = []
    result = set_with_cas(
        lambda: {"ModifyIndex": 5}, lambda _, index: tries.append(index) is not None, {"A": 1}
    )
    assert (result, tries) == (None, [5, 5])
