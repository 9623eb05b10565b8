"""The store in memory: a dict with a head, and faults to order.

One `Disk` is the truth; each `MemoryStore` on it is one server's client, so several servers can
share it and a restart is a new client. Faults are asked for before each call: see `Fault`, `script`
and `seeded`.
"""

from __future__ import annotations

import asyncio
import enum
import random
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Confirmation,
    Fenced,
    Head,
    Limits,
    NoSpace,
    Reload,
    TooLarge,
    Unavailable,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from bellcow.store.protocol import Key


class Fault(enum.Enum):
    """What can be made to happen to one call."""

    FENCED = "another client commits first"
    UNKNOWN_DONE = "it is done, the answer is lost"
    UNKNOWN_NOT_DONE = "it is not done, and nobody says so"
    UNAVAILABLE = "it is refused before anything is done"
    NO_SPACE = "the disk is full"


Call: TypeAlias = Literal["load", "confirm", "commit", "stage", "drop"]


def no_fault(_call: Call) -> Fault | None:
    return None


def script(call: Call, *faults: Fault | None) -> Callable[[Call], Fault | None]:
    """One entry for each `call`, in order; none after the last."""
    left = list(faults)

    def ask(asked: Call) -> Fault | None:
        return left.pop(0) if asked == call and left else None

    return ask


def seeded(
    seed: int,
    rate: float,
    faults: tuple[Fault, ...] = tuple(Fault),
    calls: tuple[Call, ...] = ("commit",),
) -> Callable[[Call], Fault | None]:
    """A fault on `rate` of the calls; the same ones for the same seed."""
    chance = random.Random(seed)

    def ask(asked: Call) -> Fault | None:
        if asked not in calls or chance.random() >= rate:
            return None
        return chance.choice(faults)

    return ask


class Disk:
    """The truth: survives its clients."""

    def __init__(self, history: int = 1_024) -> None:
        self.head = NO_HEAD
        self.term = 1  # of the consensus, for `confirm_in_term`
        self.objects: dict[int, dict[Key, bytes]] = {}
        self.log: list[Change] = []
        self.forgotten = 0  # commits that are no longer in the log
        self.history = history
        self.intruders = 0
        self._more = asyncio.Event()

    def apply(self, change: Change) -> None:
        rows = self.objects.setdefault(change.head.gen, {})
        for key, value in change.changes.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self.head = change.head
        self.log.append(change)
        self.forget(len(self.log) - self.history)
        self.wake()

    def forget(self, count: int) -> None:
        """Drop the oldest `count` commits from history, as a compaction does."""
        if count > 0:
            self.forgotten += len(self.log[:count])
            del self.log[:count]

    def intrude(self) -> None:
        """Another server claims: the commit that makes the next compare fail."""
        self.intruders += 1
        known = self.head
        self.apply(
            Change(
                msgspec.structs.replace(
                    known,
                    index=known.index + 1,
                    commit=f"intruder-{self.intruders}",
                    prev=known.commit,
                    ops=0,
                    leader="intruder",
                    term=known.term + 1,
                ),
                {},
            )
        )

    def number_after(self, head: Head) -> int | None:
        if head == self.head:
            return self.forgotten + len(self.log)
        for number, change in enumerate(self.log, self.forgotten):
            if change.head.prev == head.commit:
                return number
        return None

    async def more(self) -> None:
        await self._more.wait()

    def wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


class MemoryStore:
    """A `Store` on a `Disk`."""

    def __init__(
        self,
        disk: Disk | None = None,
        limits: Limits | None = None,
        fault: Callable[[Call], Fault | None] = no_fault,
    ) -> None:
        self.disk = disk or Disk()
        self.limits = limits or Limits()
        self.confirmation = Confirmation.MAJORITY
        self.fault = fault  # may be replaced at any time
        self.term: Callable[[], int] = lambda: self.disk.term  # as this server's member sees it
        self.closed = False

    async def starts(self) -> int:
        return 1

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        await self._enter("load")
        rows = self.disk.objects.get(self.disk.head.gen, {})
        return self.disk.head, iter(sorted(rows.items()))

    async def confirm(self) -> Head:
        await self._enter("confirm")
        return self.disk.head

    async def confirm_in_term(self) -> tuple[Head, int]:
        return await self.confirm(), self.term()

    async def commit(self, known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> Head:
        if head.prev != known.commit or head.ops != len(changes):
            raise ValueError("head.prev must be known.commit and head.ops the number of changes")
        if not head.commit or head.commit == known.commit:
            raise ValueError("head.commit must be a new id")
        self._check_limits(list(changes.items()))
        change = Change(head, dict(changes))
        fault = await self._enter("commit")
        self._compare(known)
        self.disk.apply(change)
        self._leave(fault)
        return head

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        disk = self.disk
        number = disk.number_after(after)
        while not self.closed:
            if number is None or number < disk.forgotten:
                yield Reload()
                return
            if number == disk.forgotten + len(disk.log):
                await disk.more()
                continue
            change = disk.log[number - disk.forgotten]
            if change.head.gen != after.gen:
                yield Reload()
                return
            yield change
            number += 1

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        self._check_unseen(known, gen)
        chunk = list(items)
        self._check_limits(chunk)
        fault = await self._enter("stage")
        self._compare(known)
        self.disk.objects.setdefault(gen, {}).update(chunk)
        self._leave(fault)

    async def drop(self, known: Head, gen: int) -> bool:
        self._check_unseen(known, gen)
        fault = await self._enter("drop")
        self._compare(known)
        rows = self.disk.objects.get(gen, {})
        for key in sorted(rows)[:1_000]:
            del rows[key]
        self._leave(fault)
        return not rows

    async def close(self) -> None:
        self.closed = True
        self.disk.wake()

    async def _enter(self, call: Call) -> Fault | None:
        await asyncio.sleep(0)  # a real store lets others run, so this one does
        if self.closed:
            raise Unavailable("the store is closed")
        fault = self.fault(call)
        if fault is Fault.FENCED:
            self.disk.intrude()
        elif fault is Fault.UNKNOWN_NOT_DONE:
            raise Unknown("the answer is lost")
        elif fault is Fault.UNAVAILABLE:
            raise Unavailable("not reachable")
        elif fault is Fault.NO_SPACE:
            raise NoSpace("the disk is full")
        return fault

    def _leave(self, fault: Fault | None) -> None:
        if fault is Fault.UNKNOWN_DONE:
            raise Unknown("the answer is lost")

    def _compare(self, known: Head) -> None:
        if self.disk.head != known:
            raise Fenced("the store holds another head")

    def _check_unseen(self, known: Head, gen: int) -> None:
        if gen == known.gen:
            raise ValueError(f"generation {gen} is the current one: only commits change it")

    def _check_limits(self, items: list[tuple[Key, bytes | None]]) -> None:
        sizes = [len(value or b"") for _, value in items]
        keys = sum(len(table) + len(name) for (table, name), _ in items)
        if len(items) > self.limits.max_changes:
            raise TooLarge(f"{len(items)} changes in one commit, at most {self.limits.max_changes}")
        if max(sizes, default=0) > self.limits.object_bytes:
            raise TooLarge(f"{max(sizes)} bytes in one object, at most {self.limits.object_bytes}")
        if sum(sizes) + keys > self.limits.max_bytes:
            raise TooLarge(f"{sum(sizes) + keys} bytes, at most {self.limits.max_bytes}")
