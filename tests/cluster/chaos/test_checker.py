"""The checker finds every kind of broken promise that is planted, and nothing where all is well."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cluster.chaos.checker import check, one_leader_a_term, told
from tests.cluster.chaos.history import (
    AUTOPILOT,
    EVERYTHING,
    NAMESPACES,
    SCHEDULER,
    Claim,
    Operation,
    Row,
    namespace,
    read_history,
    write_history,
)
from tests.cluster.chaos.imagined import Imagined, Plant, imagine

# The rule that is made for a fault. Others may find it as well, by what follows from it.
MADE_FOR = {
    Plant.STALE_READ: "time agrees with indexes",
    Plant.LOST_UPDATE: "time agrees with indexes",
    Plant.LATE_EFFECT: "values come from writes",
    Plant.SECOND_EFFECT: "values come from writes",
    Plant.INDEX_REUSE: "each index once",
    Plant.INDEX_BACK: "time agrees with indexes",
    Plant.DUPLICATE_COMPARE: "compare fits",
    Plant.WRONG_REFUSAL: "one order explains all",
    Plant.RESURRECTED_DELETE: "lists are whole",
    Plant.LOST_NAMESPACE: "lists are whole",
    Plant.TORN_LIST: "lists are whole",
    Plant.TORN_RESTORE: "lists are whole",
    Plant.MEMORY_BACK: "memory never goes back",
    Plant.SPLIT_BRAIN: "each index once",
    Plant.FROM_NOWHERE: "values come from writes",
}


def rules(history: list[Operation]) -> set[str]:
    return {violation.rule for violation in check(history)}


# Whole histories


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1 << 32),
    clients=st.integers(1, 12),
    lost=st.sampled_from((0.0, 0.02, 0.2)),
)
def test_correct_history_is_accepted_whatever_answers_were_lost(seed, clients, lost):
    history = imagine(seed, 300, clients=clients, lost=lost)
    assert [told(violation, history) for violation in check(history)] == []


@pytest.mark.parametrize("plant", Plant, ids=lambda plant: plant.name)
def test_planted_fault_is_found_in_every_history(plant):
    by_rule = 0
    for seed in range(10):
        imagined = Imagined(seed, 1_500, plant=plant)
        history = imagined.run()
        assert imagined.planted
        found = rules(history)
        assert found, f"seed {seed}"
        by_rule += MADE_FOR[plant] in found
    assert by_rule >= 8


@pytest.mark.slow
def test_hundred_thousand_operations_take_a_few_seconds():
    history = imagine(7, 100_000, clients=10, lost=0.002)
    began = time.process_time()
    assert check(history) == []
    assert time.process_time() - began < 20  # two or three on an idle machine


def test_history_survives_the_way_through_a_file(tmp_path):
    history = imagine(3, 300)
    write_history(tmp_path / "history.jsonl", history)
    assert list(read_history(tmp_path / "history.jsonl")) == history


# Single stories. Times are whole numbers; a story is what one sees in it.


def did(kind: Any, key: str, call: float, back: float, **more: Any) -> Operation:
    return Operation(client="c", server="one", kind=kind, key=key, call=call, back=back, **more)


def wrote(value: str, index: int | None, call: float, back: float, **more: Any) -> Operation:
    key = more.pop("key", SCHEDULER)
    return did("write", key, call, back, row=Row(value, 0), index=index, **more)


def read(value: str, modified: int, call: float, back: float, **more: Any) -> Operation:
    key = more.pop("key", SCHEDULER)
    index = more.pop("index", None if key == AUTOPILOT else modified)
    return did("read", key, call, back, row=Row(value, modified), index=index, **more)


A = namespace("a")
FIRST = wrote("first", 5, 0, 1)
LOST = wrote("lost", None, 2, 3, outcome="unknown")


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param([read("first", 5, 4, 5)], id="never"),
        pytest.param([read("lost", 6, 2.2, 2.5)], id="before the client gave up"),
        pytest.param([read("first", 5, 4, 5), read("lost", 9, 60, 61)], id="much later"),
        pytest.param(
            [
                did(
                    "compare",
                    SCHEDULER,
                    8,
                    9,
                    row=Row("x", 0),
                    expected=5,
                    index=7,
                    outcome="refused",
                ),
                wrote("next", 8, 10, 11),
            ],
            id="between two others, seen by a comparison only",
        ),
    ],
)
def test_write_without_an_answer_may_take_effect(rest):
    assert check([FIRST, LOST, *rest]) == []


@pytest.mark.parametrize(
    ("rest", "rule"),
    [
        pytest.param(
            [read("lost", 6, 4, 5), read("first", 5, 6, 7)],
            "time agrees with indexes",
            id="and be undone",
        ),
        pytest.param(
            [read("lost", 6, 4, 5), read("lost", 8, 6, 7)], "values come from writes", id="twice"
        ),
        pytest.param([read("lost", 6, 1.2, 1.5)], "values come from writes", id="before its call"),
    ],
)
def test_write_without_an_answer_may_not(rest, rule):
    assert rule in rules([FIRST, LOST, *rest])


def test_deletion_without_an_answer_may_explain_what_is_missing_but_not_its_return():
    put = wrote("v", 5, 0, 1, key=A)
    delete = did("delete", A, 2, 3, outcome="unknown")
    rows = {A: Row("v", 5)}
    there = did("read", NAMESPACES, 4, 5, rows=rows, index=5)
    gone = did("read", NAMESPACES, 6, 7, rows={}, index=6)
    back = did("read", NAMESPACES, 8, 9, rows=rows, index=7)
    assert check([put, delete, there, gone]) == []
    assert rules([put, delete, there, gone, back]) == {"one order explains all"}
    assert rules([put, there, gone]) == {"lists are whole"}


def test_read_without_an_answer_says_nothing():
    assert check([FIRST, did("read", SCHEDULER, 2, 3, outcome="unknown")]) == []


@pytest.mark.parametrize("mode", [False, True], ids=["default", "stale"])
def test_only_a_stale_read_may_be_old(mode):
    history = [FIRST, wrote("second", 6, 2, 3), read("first", 5, 4, 5, stale=mode)]
    assert (check(history) == []) is mode


def test_memory_may_be_older_after_a_start_of_the_server_only():
    second = wrote("second", 6, 2, 3)
    new = read("second", 6, 4, 5, stale=True, life=1)
    old = read("first", 5, 6, 7, stale=True, life=1)
    assert rules([FIRST, second, new, old]) == {"memory never goes back"}
    assert check([FIRST, second, new, msgspec.structs.replace(old, life=2)]) == []
    assert check([FIRST, second, new, msgspec.structs.replace(old, server="two")]) == []


def test_settings_that_name_no_index_are_decided_by_their_values():
    first = wrote("first", None, 0, 1, key=AUTOPILOT)
    second = wrote("second", None, 2, 3, key=AUTOPILOT)
    fresh = read("second", 6, 4, 5, key=AUTOPILOT)
    old = read("first", 5, 4, 5, key=AUTOPILOT)
    assert check([first, second, fresh]) == []
    assert rules([first, second, old]) == {"one order explains all"}


def test_restore_brings_back_old_rows_at_a_new_index():
    second = wrote("second", 6, 2, 3)
    rows = {SCHEDULER: Row("first", 5), A: Row("v", 4)}
    named = wrote("v", 4, 0, 1, key=A)
    restore = did("restore", EVERYTHING, 4, 5, rows=rows, index=9)
    again = read("first", 5, 6, 7, index=9)
    listed = did("read", NAMESPACES, 6, 7, rows={A: Row("v", 4)}, index=9)
    compared = did("compare", SCHEDULER, 8, 9, row=Row("third", 0), expected=5, index=10)
    history = [named, FIRST, second, restore, again, listed, compared]
    assert check(history) == []
    without = [each for each in history if each.kind != "restore"]
    assert "one order explains all" in rules(without)


def test_restore_without_an_answer_may_explain_old_rows():
    rows = {SCHEDULER: Row("first", 5)}
    lost = did("restore", EVERYTHING, 4, 5, rows=rows, outcome="unknown")
    gone = did("read", NAMESPACES, 6, 7, rows={}, index=9)
    put = wrote("v", 6, 2, 3, key=A)
    assert check([FIRST, put, lost, gone, read("first", 5, 8, 9, index=9)]) == []


# Leaders


def test_two_servers_in_one_term_are_a_split_brain():
    claims = [
        Claim(server="one", term=2, index=5),
        Claim(server="one", term=2, index=9),
        Claim(server="two", term=3, index=12),
    ]
    assert one_leader_a_term(claims) == []
    double = Claim(server="three", term=3, index=14)
    assert [each.rule for each in check([], [*claims, double])] == ["one leader a term"]


def test_later_index_in_an_earlier_term_is_two_histories():
    claims = [Claim(server="one", term=3, index=5), Claim(server="two", term=2, index=9)]
    assert len(one_leader_a_term(claims)) == 1
