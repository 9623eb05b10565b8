"""The mirror.

The only code that changes memory. It loads, then applies whole commits as they come.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bellcow.errors import Code, Error
from bellcow.state.tables import fill
from bellcow.store.protocol import NO_HEAD, Change, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting
    from bellcow.store.protocol import Head, Store

RETRY_S = 0.1


class Mirror:
    """Keeps `tables` equal to the store. `run` is its life; `reached` is how others wait for it."""

    def __init__(self, store: Store, tables: Tables, waiting: Waiting) -> None:
        self._store = store
        self._tables = tables
        self._waiting = waiting
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._followers: list[tuple[str, asyncio.Future[Head]]] = []
        self.loaded = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                await self._load()
                await self._follow()
            except Unavailable:
                await asyncio.sleep(RETRY_S)

    async def _load(self) -> None:
        head, items = await self._store.load()
        # Within a cluster a copy with a lower index is an older one: never take it.
        if self.loaded.is_set() and head.index < self._tables.index:
            await asyncio.sleep(RETRY_S)
            return
        with _collector_paused():
            rows = await asyncio.to_thread(fill, items)
            touched = self._tables.replace(head, rows)
        self.loaded.set()
        self._announce(head, touched)

    async def _follow(self) -> None:
        """Apply commits until the chain breaks or another generation is the truth."""
        head = self._tables.head
        async for change in self._store.changes(head):
            if not isinstance(change, Change) or change.head.prev != head.commit:
                return
            if change.head.gen != head.gen or change.head.ops != len(change.changes):
                return
            head = change.head
            self._announce(head, self._tables.apply(head, change.changes))

    def _announce(self, head: Head, touched: set[str]) -> None:
        still = []
        for index, future in self._reached:
            if index > head.index:
                still.append((index, future))
            elif not future.done():
                future.set_result(None)
        self._reached = still
        for commit, follower in self._followers:
            if head.prev == commit and not follower.done():
                follower.set_result(head)
        self._waiting.wake(touched)

    async def reached(self, index: int, timeout_s: float = 5.0) -> None:
        """Wait until memory stands at `index` or later.

        Raises Error(UNAVAILABLE) when it does not.
        """
        if self._tables.index >= index and self._tables.head is not NO_HEAD:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reached.append((index, future))
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise Error(
                Code.UNAVAILABLE, f"memory has not reached index {index} within {timeout_s:g} s"
            ) from None

    async def follower_of(self, head: Head, timeout_s: float) -> Head | None:
        """The head that follows `head`; None when none is seen in time. Ask before it can come."""
        future: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        entry = (head.commit, future)
        self._followers.append(entry)
        try:
            if self._tables.head.prev == head.commit:
                return self._tables.head
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            self._followers.remove(entry)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Load with the collector off, then put what was loaded out of its sight.

    Collecting a growing heap of long-lived rows costs a third of a load and pauses of 300 ms.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 50, 1_000)
