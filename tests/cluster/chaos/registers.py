"""From a history to one register a key, for the search.

Here the values alone count: a write whose answer was lost, or tells no index, has to fit somewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from tests.cluster.chaos.history import (
    AUTOPILOT,
    EVERYTHING,
    NAMESPACES,
    NEVER,
    SCHEDULER,
    Operation,
    is_namespace,
)
from tests.cluster.chaos.indexes import Violation, sightings
from tests.cluster.chaos.search import Step, search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNSEEN = "\0an index nobody saw"


class Register(NamedTuple):
    """What was done to one key: what happened for certain, and what may have happened."""

    steps: list[Step]
    maybes: list[Step]


class Knowledge(msgspec.Struct, frozen=True):
    """What all answers together tell of values."""

    value_at: dict[tuple[str, int], str]  # key and ModifyIndex -> value
    seen_by: dict[tuple[str, str], float]  # key and value -> the first answer that showed it


def learn(history: Sequence[Operation]) -> Knowledge:
    value_at: dict[tuple[str, int], str] = {}
    seen_by: dict[tuple[str, str], float] = {}
    for key, row, position in sightings(history):
        value_at[key, row.modified] = row.value
        back = history[position].back
        seen_by[key, row.value] = min(back, seen_by.get((key, row.value), back))
    for each in history:
        if each.outcome == "ok" and each.row is not None and each.index and each.writes:
            value_at[each.key, each.index] = each.row.value
    for each in history:  # who wins a comparison has seen what it compared with
        if each.kind == "compare" and each.outcome == "ok" and each.expected is not None:
            value = value_at.get((each.key, each.expected))
            if value is not None:
                back = seen_by.get((each.key, value), NEVER)
                seen_by[each.key, value] = min(back, each.back)
    return Knowledge(value_at, seen_by)


def registers(history: Sequence[Operation]) -> Iterator[tuple[str, Register]]:
    """The register of every key that indexes alone do not decide."""
    known = learn(history)
    by_key: dict[str, list[int]] = {EVERYTHING: [], NAMESPACES: []}
    for position, each in enumerate(history):
        by_key.setdefault(each.key, []).append(position)
    for key in sorted(by_key):
        own = by_key[key]
        if not _needs_search(key, [history[each] for each in own + by_key[EVERYTHING]]):
            continue
        shared = by_key[EVERYTHING] + (by_key[NAMESPACES] if is_namespace(key) else [])
        register = Register([], [])
        for position in own + shared:
            _add(register, key, history[position], position, known)
        yield key, register


def _needs_search(key: str, operations: list[Operation]) -> bool:
    if key in {SCHEDULER, AUTOPILOT}:
        return True
    return is_namespace(key) and any(each.outcome == "unknown" for each in operations)


def _add(register: Register, key: str, each: Operation, position: int, known: Knowledge) -> None:
    if each.stale or each.outcome == "not done" or (each.outcome == "unknown" and not each.writes):
        return
    row = each.row if each.rows is None else each.rows.get(key)
    value = row.value if row is not None else None
    if not each.writes:
        register.steps.append(Step(each.call, each.back, "read", value, None, position))
        return
    step = Step(each.call, each.latest, "write", value, None, position)
    if each.kind == "compare":
        expected = known.value_at.get((key, each.expected or 0), UNSEEN)
        step = step._replace(does="swap", expected=expected)
        if each.outcome == "refused":
            step = step._replace(does="keep", value=None)
    if each.outcome != "unknown":
        register.steps.append(step)
    elif each.kind in {"write", "compare"} and (key, value) in known.seen_by:
        register.steps.append(step._replace(back=known.seen_by[key, str(value)]))
    else:
        register.maybes.append(step)


def one_order_explains_all(history: Sequence[Operation]) -> list[Violation]:
    """For every key there is an order of its operations that gives the answers that came."""
    found = []
    for key, (steps, maybes) in registers(history):
        result = search(steps, maybes)
        if not result.linearizable:
            verdict = "no order explains the answers"
            if not result.exhausted:
                verdict = f"no order was found in {result.tries} tries"
            positions = tuple(step.position for step in result.stuck)
            found.append(Violation("one order explains all", f"{key}: {verdict}", positions))
    return found
