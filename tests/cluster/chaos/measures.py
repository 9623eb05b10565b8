"""Figures of a run that are no verdict: how long nobody could write, how old stale answers were."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

from tests.cluster.chaos.history import SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.chaos.history import Operation

_DONE = {"ok", "refused"}
AFTER_S = 5.0  # a gap that begins so long after a fault is not its own


class Span(Protocol):
    """A fault with its time."""

    @property
    def fault(self) -> str: ...
    @property
    def begin(self) -> float: ...
    @property
    def end(self) -> float: ...


def longest_gap(history: Sequence[Operation]) -> float:
    """The longest time of the run without any acknowledged write."""
    pairs = itertools.pairwise(_acknowledged(history))
    return round(max((b - a for a, b in pairs), default=0.0), 3)


def longest_gaps(history: Sequence[Operation], faults: Sequence[Span]) -> list[float]:
    """For each fault the longest time without any acknowledged write until the next one."""
    acknowledged = _acknowledged(history)
    found = []
    for number, fault in enumerate(faults):
        until = fault.end + AFTER_S
        if number + 1 < len(faults):
            until = min(until, faults[number + 1].begin)
        first = max(0, bisect_right(acknowledged, fault.begin) - 1)
        last = bisect_right(acknowledged, until)
        end = min(until, acknowledged[-1]) if acknowledged else until
        times = [*acknowledged[first:last], end]
        longest = max((b - a for a, b in itertools.pairwise(times)), default=0.0)
        found.append(round(longest, 3))
    return found


def _acknowledged(history: Sequence[Operation]) -> list[float]:
    return sorted(each.back for each in history if each.writes and each.outcome in _DONE)


def staleness(history: Sequence[Operation]) -> float:
    """By how many milliseconds a stale answer was older, at worst, than its LastContact said."""
    writes = sorted(
        (each.index, each.back)
        for each in history
        if each.key == SCHEDULER and each.writes and each.index and each.outcome == "ok"
    )
    indexes = [index for index, _ in writes]
    # For each index the earliest answer to any write above it.
    earliest = [0.0] * (len(writes) + 1)
    earliest[-1] = float("inf")
    for number in range(len(writes) - 1, -1, -1):
        earliest[number] = min(writes[number][1], earliest[number + 1])
    worst = 0.0
    for each in history:
        if each.stale and each.key == SCHEDULER and each.index and each.contact_ms is not None:
            replaced = earliest[bisect_right(indexes, each.index)]
            worst = max(worst, (each.call - replaced) * 1_000 - each.contact_ms)
    return round(worst, 1)
