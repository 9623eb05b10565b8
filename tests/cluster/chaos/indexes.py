"""The rules that indexes make simple: every answer names one, so the order is in the answers.

Each rule takes a history and returns what breaks it. They are complete where every write has told
its index; where an answer was lost they let it pass, and `registers.py` decides by search.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from tests.cluster.chaos.history import (
    EVERYTHING,
    NAMESPACES,
    SCHEDULER,
    Operation,
    Row,
    is_namespace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ANY = "any"  # the bound that every write must be above


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken, and the operations (by position) that show it."""

    rule: str
    text: str
    operations: tuple[int, ...] = ()


class Sighting(NamedTuple):
    """A row that somebody saw."""

    key: str
    row: Row
    position: int


class Writer(NamedTuple):
    """Who wrote a value: the operation, and the index it has been seen with."""

    position: int
    operation: Operation


def sightings(history: Sequence[Operation]) -> Iterator[Sighting]:
    """Every row that was read; of lists that show the same index only the first."""
    listed: set[tuple[int, int]] = set()
    for position, operation in enumerate(history):
        if operation.writes or operation.outcome != "ok":
            continue
        if operation.row is not None:
            yield Sighting(operation.key, operation.row, position)
        if operation.rows:
            shown = (operation.index or 0, len(operation.rows))
            if operation.key == NAMESPACES and operation.index is not None:
                if shown in listed:
                    continue
                listed.add(shown)
            for key, row in operation.rows.items():
                yield Sighting(key, row, position)


def writers(history: Sequence[Operation]) -> dict[tuple[str, str], Writer]:
    """Who wrote which value of which key."""
    return {
        (each.key, each.row.value): Writer(position, each)
        for position, each in enumerate(history)
        if each.kind in {"write", "compare"} and each.row is not None
    }


def each_index_once(history: Sequence[Operation]) -> list[Violation]:
    """A command takes an index of its own, the refused compare-and-set included."""
    taken: dict[int, int] = {}
    found = []
    for position, each in enumerate(history):
        if not each.writes or each.index is None or each.outcome not in {"ok", "refused"}:
            continue
        other = taken.setdefault(each.index, position)
        if other != position:
            text = f"index {each.index} was given to two writes"
            found.append(Violation("each index once", text, (other, position)))
    return found


def one_row_an_index(history: Sequence[Operation]) -> list[Violation]:
    """An index names one value of a key, and one content of the table of namespaces."""
    rows: dict[tuple[str, int], tuple[str, int]] = {}
    shown: dict[tuple[str, int], tuple[object, int]] = {}
    found = []
    for key, row, position in sightings(history):
        value, other = rows.setdefault((key, row.modified), (row.value, position))
        if value != row.value:
            text = f"{key} has two values at index {row.modified}: {value} and {row.value}"
            found.append(Violation("one row an index", text, (other, position)))
    for position, each in enumerate(history):
        if each.kind != "read" or each.outcome != "ok" or each.index is None:
            continue
        content: object = each.rows if each.key == NAMESPACES else each.row
        if each.row is None and is_namespace(each.key):
            continue  # an absent one tells the index of the table
        before, other = shown.setdefault((each.key, each.index), (content, position))
        if before != content:
            text = f"{each.key} shows two contents at index {each.index}"
            found.append(Violation("one row an index", text, (other, position)))
    return found


def values_come_from_writes(history: Sequence[Operation]) -> list[Violation]:
    """What is read was written: not by a refused write, not later, and once only."""
    known = writers(history)
    indexes: dict[tuple[str, str], tuple[int, int]] = {}
    found = []
    for key, row, position in sightings(history):
        writer = known.get((key, row.value))
        if writer is None:
            text = f"{key} holds {row.value}, which nobody wrote"
            found.append(Violation("values come from writes", text, (position,)))
            continue
        other, write = writer
        what = f"{key}: the value {row.value} of a write"
        index, first = indexes.setdefault((key, row.value), (row.modified, position))
        if write.outcome in {"not done", "refused"}:
            text = f"{what} that was answered as not done is there"
        elif write.call > history[position].back:
            text = f"{what} was read before the write began"
        elif write.index is not None and write.index != row.modified:
            text = f"{what} at index {write.index} is there with index {row.modified}"
        elif index != row.modified:
            text = f"{what} took effect twice, at {index} and {row.modified}"
        else:
            continue
        found.append(Violation("values come from writes", text, (other, first, position)))
    return found


def time_agrees_with_indexes(history: Sequence[Operation]) -> list[Violation]:
    """What is called after an answer stands at that answer's index or later; a write, later."""
    bounds: dict[str, tuple[int, int]] = {}  # highest index answered so far, and by whom
    ends = sorted(range(len(history)), key=lambda each: history[each].back)
    starts = sorted(range(len(history)), key=lambda each: history[each].call)
    ended = 0
    found = []
    for position in starts:
        each = history[position]
        while ended < len(ends) and history[ends[ended]].back < each.call:
            _raise_bounds(bounds, ends[ended], history[ends[ended]])
            ended += 1
        if each.outcome not in {"ok", "refused"} or each.index is None or each.stale:
            continue
        for scope in _scopes_asked(each):
            bound, other = bounds.get(scope, (0, -1))
            if each.index < bound or (each.writes and each.index == bound):
                what = "took" if each.writes else "read at"
                text = f"{each.key} was {what} index {each.index} after {bound} had been answered"
                found.append(Violation("time agrees with indexes", text, (other, position)))
                break
    return found


def _raise_bounds(bounds: dict[str, tuple[int, int]], position: int, each: Operation) -> None:
    if each.outcome not in {"ok", "refused"}:
        return
    indexes = [row.modified for row in (each.rows or {}).values()] if not each.writes else []
    if each.row is not None and not each.writes:
        indexes.append(each.row.modified)
    if each.index is not None:
        indexes.append(each.index)
        for scope in _scopes_told(each):
            if each.index > bounds.get(scope, (0, -1))[0]:
                bounds[scope] = (each.index, position)
    if indexes and max(indexes) > bounds.get(ANY, (0, -1))[0]:
        bounds[ANY] = (max(indexes), position)


def _scopes_told(each: Operation) -> tuple[str, ...]:
    """Where the index of an answer is a lower bound for later ones."""
    if each.kind == "restore":
        return (SCHEDULER, NAMESPACES)
    if each.outcome == "refused" or each.kind == "save":
        return ()
    if is_namespace(each.key):
        return (NAMESPACES,) if each.row is None and not each.writes else (NAMESPACES, each.key)
    return (each.key,)


def _scopes_asked(each: Operation) -> tuple[str, ...]:
    """The bounds that the index of an answer must respect."""
    if each.writes:
        return (ANY,)
    if each.kind == "save":
        return (SCHEDULER, NAMESPACES)
    if is_namespace(each.key):
        return (NAMESPACES,) if each.row is None else (each.key,)
    return (each.key,)


def compare_fits(history: Sequence[Operation]) -> list[Violation]:
    """A compare-and-set is done exactly where the version before it is the one it names."""
    versions = _versions(history)
    lost = _lost_writes(history)
    found = []
    for position, each in enumerate(history):
        if each.kind != "compare" or each.index is None or each.outcome not in {"ok", "refused"}:
            continue
        before = _before(versions[each.key], each.index)
        if before is None:
            continue
        if each.outcome == "ok" and before != each.expected:
            text = f"{each.key}: index {each.expected} was compared, {before} was there, and it won"
        elif each.outcome == "refused" and before == each.expected:
            if lost.get(each.key, each.back) < each.back:
                continue  # a write without an answer may have been there in between
            text = f"{each.key}: index {before} was compared and was there, yet it lost"
        else:
            continue
        found.append(Violation("compare fits", text, (position,)))
    return found


def _versions(history: Sequence[Operation]) -> dict[str, list[tuple[int, int]]]:
    """For each key the versions that are known: the index, and the ModifyIndex seen at it."""
    known: dict[str, dict[int, int]] = defaultdict(dict)
    for each in history:
        if each.outcome != "ok" or each.index is None:
            continue
        if each.kind == "restore":
            for key, row in (each.rows or {}).items():
                known[key][each.index] = row.modified
        elif each.kind in {"write", "compare"}:
            known[each.key][each.index] = each.index
        elif each.kind == "read" and each.row is not None:
            known[each.key][each.index] = each.row.modified
    return defaultdict(list, {key: sorted(each.items()) for key, each in known.items()})


def _before(versions: list[tuple[int, int]], index: int) -> int | None:
    place = bisect_left(versions, (index, 0))
    return versions[place - 1][1] if place else None


def _lost_writes(history: Sequence[Operation]) -> dict[str, float]:
    """For each key when the first write that got no answer was called."""
    lost: dict[str, float] = {}
    for each in history:
        if each.outcome == "unknown" and each.writes:
            lost[each.key] = min(each.call, lost.get(each.key, each.call))
    return lost


def lists_are_whole(history: Sequence[Operation]) -> list[Violation]:
    """A list shows the table exactly as the writes up to its index have left it."""
    lost = _lost_writes(history)
    changes = _changes_of_table(history)
    present: dict[str, int] = {}
    applied = 0
    found = []
    for index, position, each in _looks(history):
        while applied < len(changes) and changes[applied][0] <= index:
            _apply(present, changes[applied][1], changes[applied][0])
            applied += 1
        seen = {key: row.modified for key, row in (each.rows or {}).items()}
        if each.key != NAMESPACES:
            seen = {each.key: each.row.modified} if each.row else {}
        asked = present.keys() | seen.keys() if each.key == NAMESPACES else {each.key}
        for key in sorted(asked):
            expected, got = present.get(key), seen.get(key)
            if expected == got or (got is None and lost.get(key, each.back) < each.back):
                continue
            if lost.get(EVERYTHING, each.back) < each.back:
                continue  # a restore of which nobody knows may explain anything
            text = f"{key} is shown with index {got} at {index}, where {expected} is due"
            found.append(Violation("lists are whole", text, (position,)))
    return found


def _changes_of_table(history: Sequence[Operation]) -> list[tuple[int, Operation]]:
    """Writes to namespaces by index; one without an answer has the index it was seen with."""
    seen = {(key, row.value): row.modified for key, row, _ in sightings(history)}
    changes = []
    for each in history:
        if each.kind == "restore" and each.outcome == "ok" and each.index is not None:
            changes.append((each.index, each))
        if not each.writes or not is_namespace(each.key):
            continue
        index = each.index if each.outcome == "ok" else None
        if each.outcome == "unknown" and each.row is not None:
            index = seen.get((each.key, each.row.value))
        if index is not None:
            changes.append((index, each))
    return sorted(changes, key=lambda change: change[0])


def _apply(present: dict[str, int], each: Operation, index: int) -> None:
    if each.kind == "restore":
        present.clear()
        rows = each.rows or {}
        present.update({key: row.modified for key, row in rows.items() if is_namespace(key)})
    elif each.kind == "delete":
        present.pop(each.key, None)
    else:
        present[each.key] = index


def _looks(history: Sequence[Operation]) -> list[tuple[int, int, Operation]]:
    """Lists and misses by the index of the table; of equal lists the one answered first."""
    first: dict[tuple[str, int], tuple[int, int, Operation]] = {}
    for position, each in enumerate(history):
        if each.kind != "read" or each.outcome != "ok" or each.index is None:
            continue
        if each.key == NAMESPACES or (is_namespace(each.key) and each.row is None):
            look = (each.index, position, each)
            other = first.setdefault((each.key, each.index), look)
            if each.back < other[2].back:
                first[each.key, each.index] = look
    return sorted(first.values(), key=lambda look: (look[0], look[1]))


def memory_never_goes_back(history: Sequence[Operation]) -> list[Violation]:
    """What one server shows from memory never gets older as long as it runs."""
    by_server: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for position, each in enumerate(history):
        if each.stale and each.index is not None and each.outcome == "ok":
            by_server[each.server, each.life, each.key].append(position)
    found = []
    for (server, _, key), positions in by_server.items():
        ends = sorted(positions, key=lambda each: history[each].back)
        ended, bound, witness = 0, 0, -1
        for position in sorted(positions, key=lambda each: history[each].call):
            each = history[position]
            while history[ends[ended]].back < each.call:
                index = history[ends[ended]].index or 0
                if index > bound:
                    bound, witness = index, ends[ended]
                ended += 1
            if (each.index or 0) < bound:
                text = f"{server} showed {key} at {each.index} after {bound}"
                found.append(Violation("memory never goes back", text, (witness, position)))
    return found


RULES = (
    each_index_once,
    one_row_an_index,
    values_come_from_writes,
    time_agrees_with_indexes,
    compare_fits,
    lists_are_whole,
    memory_never_goes_back,
)
