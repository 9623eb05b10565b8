"""Whether the operations on one register can be put into an order that explains every answer.

The search of Wing, Gong and Lowe: take any operation that no unfinished one precedes, try it, go
back where it led nowhere, and never look twice at the same situation. Pure, and without an idea
of where the operations come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRIES = 500_000
_ANY = "\0any"

State: TypeAlias = str | None
Does: TypeAlias = Literal["read", "write", "swap", "keep"]


class Step(NamedTuple):
    """One operation on the register.

    `read` saw `value`; `write` left `value`; `swap` left `value` where `expected` was; `keep` was
    refused, as what was there was not `expected`.
    """

    call: float
    back: float
    does: Does
    value: State = None
    expected: State = None
    position: int = -1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search came to. `stuck` are the steps that no order it tried could get past."""

    linearizable: bool
    exhausted: bool = True  # False: it gave up
    tries: int = 0
    stuck: tuple[Step, ...] = ()


class _Place(NamedTuple):
    """A situation: all before `base` is done, and of what follows the bits of `done`."""

    base: int
    done: int
    maybes: int  # bits of the uncertain steps that were used
    state: State


def search(
    steps: Sequence[Step],
    maybes: Sequence[Step] = (),
    first: State = None,
    tries: int = TRIES,
) -> Found:
    """Look for an order of all `steps`, with any of `maybes`, that begins with `first`.

    A maybe got no answer and nobody saw its value: it may have happened at any time after its
    call, or never.
    """
    hunt = _Hunt(sorted(steps, key=_when), sorted(maybes, key=_when))
    return hunt.run(first, tries)


class _Hunt:
    def __init__(self, steps: list[Step], maybes: list[Step]) -> None:
        self._steps = steps
        self._maybes = maybes
        self._groups = _alike(steps, maybes)
        self._furthest = _Place(0, 0, 0, None)

    def run(self, first: State, tries: int) -> Found:
        start = self._settle(_Place(0, 0, 0, first))
        seen = {start}
        trail = [self._choices(start)]
        count = 0
        if start.base == len(self._steps):
            return Found(linearizable=True)
        while trail:
            place = next(trail[-1], None)
            if place is None:
                trail.pop()
                continue
            place = self._settle(place)
            if place in seen:
                continue
            count += 1
            if place.base == len(self._steps):
                return Found(linearizable=True, tries=count)
            if count >= tries:
                return self._failed(count, exhausted=False)
            seen.add(place)
            if place.base > self._furthest.base:
                self._furthest = place
            trail.append(self._choices(place))
        return self._failed(count, exhausted=True)

    def _failed(self, count: int, *, exhausted: bool) -> Found:
        stuck = tuple(self._steps[each] for each in self._open(self._furthest))
        return Found(linearizable=False, exhausted=exhausted, tries=count, stuck=stuck)

    def _open(self, place: _Place) -> list[int]:
        """The steps that may come next: no unfinished one had its answer before their call."""
        steps, base = self._steps, place.base
        rest = place.done
        limit = float("inf")
        found = []
        for number in range(base, len(steps)):
            step = steps[number]
            if step.call > limit:
                break
            if not rest & 1:
                found.append(number)
                limit = min(limit, step.back)
            rest >>= 1
        return [number for number in found if steps[number].call <= limit]

    def _settle(self, place: _Place) -> _Place:
        """Take every step that changes nothing and fits: it can only be in the way later."""
        base, done, maybes, state = place
        steps = self._steps
        while True:
            while done & 1:
                done >>= 1
                base += 1
            fitting = [
                number
                for number in self._open(_Place(base, done, maybes, state))
                if _fits(steps[number], state)
            ]
            if not fitting:
                return _Place(base, done, maybes, state)
            for number in fitting:
                done |= 1 << (number - base)

    def _choices(self, place: _Place) -> Iterator[_Place]:
        """The situations after one more change; the uncertain ones only where they help."""
        steps = self._steps
        base, done, maybes, state = place
        possible = self._open(place)
        for number in sorted(possible, key=lambda each: steps[each].back):
            step = steps[number]
            if step.does == "write" or (step.does == "swap" and step.expected == state):
                yield _Place(base, done | 1 << (number - base), maybes, step.value)
        waiting = [steps[each] for each in possible if steps[each].does != "write"]
        limit = min((steps[each].back for each in possible), default=float("inf"))
        for number in self._helpful(place, waiting, limit):
            yield _Place(base, done, maybes | 1 << number, self._maybes[number].value)

    def _helpful(self, place: _Place, waiting: list[Step], limit: float) -> Iterator[int]:
        """Uncertain steps that let a waiting one go on; of those that are alike the first."""
        for group in (*self._groups.get(_ANY, ()), *self._groups.get(place.state, ())):
            number = next((each for each in group if not place.maybes >> each & 1), None)
            if number is None:
                continue
            maybe = self._maybes[number]
            if maybe.call <= limit and any(_wanted(step, maybe.value) for step in waiting):
                yield number


def _alike(steps: Sequence[Step], maybes: Sequence[Step]) -> dict[State, list[list[int]]]:
    """Uncertain steps by the state they need, those together that no other step tells apart."""
    known = {value for step in steps for value in (step.value, step.expected)}
    groups: dict[tuple[State, State], list[int]] = {}
    for number, maybe in enumerate(maybes):
        needs = maybe.expected if maybe.does == "swap" else _ANY
        leaves = maybe.value if maybe.value in known else _ANY
        groups.setdefault((needs, leaves), []).append(number)
    found: dict[State, list[list[int]]] = {}
    for (needs, _), group in groups.items():
        found.setdefault(needs, []).append(group)
    return found


def _when(step: Step) -> tuple[float, float]:
    return step.call, step.back


def _fits(step: Step, state: State) -> bool:
    """Whether a step that changes nothing saw what is there."""
    return (step.does == "read" and step.value == state) or (
        step.does == "keep" and step.expected != state
    )


def _wanted(step: Step, state: State) -> bool:
    """Whether a step can be taken once `state` is there."""
    return _fits(step, state) or (step.does == "swap" and step.expected == state)
