"""Blocking queries and tasks that wait for a change of a table.

A waiter is any object with `wake`, and costs no task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from bellcow.deadline import timeout

if TYPE_CHECKING:
    from collections.abc import Iterable

SLICE = 500  # waiters woken in one turn of the loop


class Waiter(Protocol):
    """`is_request` is False for a task of this server itself."""

    is_request: bool

    def wake(self) -> None:
        """A table may have changed. Called once; register again to go on waiting."""


class _Waiter:
    """Resumes a coroutine."""

    __slots__ = ("is_request", "woken")

    def __init__(self, *, is_request: bool) -> None:
        self.is_request = is_request
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.woken.set()


class Waiting:
    """The waiters of each table. `wake` removes them, then wakes them in slices.

    They are woken in the order in which they registered: a dict without values is an ordered set.
    """

    def __init__(self) -> None:
        self._sets: dict[str, dict[Waiter, None]] = {}
        self._woken: list[Waiter] = []
        self._scheduled = False

    def __len__(self) -> int:
        """How many requests wait."""
        return sum(each.is_request for each in set().union(*self._sets.values()))

    def add(self, tables: Iterable[str], waiter: Waiter) -> None:
        for table in tables:
            self._sets.setdefault(table, {})[waiter] = None

    def discard(self, tables: Iterable[str], waiter: Waiter) -> None:
        for table in tables:
            self._sets.get(table, {}).pop(waiter, None)

    def has(self, table: str) -> bool:
        """Whether anything waits for this table."""
        return bool(self._sets.get(table))

    async def changed(
        self, tables: Iterable[str], limit_s: float | None = None, *, is_request: bool = False
    ) -> bool:
        """Wait until one of `tables` may have changed; False after `limit_s` seconds."""
        tables, waiter = tuple(tables), _Waiter(is_request=is_request)
        self.add(tables, waiter)
        try:
            async with timeout(limit_s):
                await waiter.woken.wait()
        except TimeoutError:
            return False
        finally:
            self.discard(tables, waiter)
        return True

    def wake(self, tables: Iterable[str]) -> None:
        """Wake every waiter of `tables` once, 500 in a turn of the loop."""
        woken: dict[Waiter, None] = {}
        for table in tables:
            waiters = self._sets.pop(table, None)
            if waiters:
                woken |= waiters
        if not woken:
            return
        for others in self._sets.values():
            for waiter in others.keys() & woken.keys():
                del others[waiter]
        self._woken.extend(woken)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._wake_slice)

    def wake_all(self) -> None:
        self.wake(list(self._sets))

    def _wake_slice(self) -> None:
        now, self._woken = self._woken[:SLICE], self._woken[SLICE:]
        if self._woken:
            asyncio.get_running_loop().call_soon(self._wake_slice)
        else:
            self._scheduled = False
        for waiter in now:
            waiter.wake()
