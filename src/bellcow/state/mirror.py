"""The mirror: the only code that changes memory.

It loads the store, then applies whole commits as they come, and tells those who wait that memory
stands at an index or that a certain head was followed by another. Who leads is not its business.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bellcow.deadline import timeout
from bellcow.state.recent_commits import RecentCommits
from bellcow.state.tables import REGISTRY, fill
from bellcow.store.protocol import NO_HEAD, Change, Corrupt, StoreError, Unavailable, Unknown
from bellcow.throttle import Throttle
from bellcow.wire import UNDECODABLE, undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bellcow.events import Report
    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting
    from bellcow.store.protocol import Head, Key, Store

RETRY_S = 0.1
UNREADABLE_S = 1.0  # before a state that cannot be read is looked at again
BEHIND_S = 5.0  # between two loads because the leader has more than memory
PATIENCE_S = 1.0  # without the head that memory was told of: the lost event may be the last
HEADS_KEPT = 64


def told_nothing() -> int:
    """The leader's index on a server that has no other to hear of."""
    return 0


class Mirror:
    """Keeps `tables` equal to the store. `run` is its life; `reached` is how others wait for it."""

    def __init__(
        self,
        store: Store,
        tables: Tables,
        waiting: Waiting,
        report: Report,
        told: Callable[[], int] = told_nothing,
    ) -> None:
        """`told` is the index that the leader has told of, 0 where nothing follows from it."""
        self._store = store
        self._tables = tables
        self._waiting = waiting
        self._report = report
        self._told = told
        self._unreadable = Throttle()  # by reason, until the state can be read again
        self._behind = -BEHIND_S  # when memory was loaded last because the leader has more
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._followers: list[tuple[str, asyncio.Future[Head | None]]] = []
        self._heads: deque[Head] = deque(maxlen=HEADS_KEPT)  # seen last, the newest at the end
        self._patience = timeout(None)
        self.on_apply: Callable[[float], None] = lambda _: None  # gets milliseconds
        self.loaded = asyncio.Event()
        self.ring = RecentCommits()  # the commits taken in last, for servers that copy them

    async def run(self) -> None:
        while True:
            try:
                await self._load()
                await self._follow()
            except Unavailable:
                await asyncio.sleep(RETRY_S)
            except StoreError as error:
                if not self.loaded.is_set():
                    raise
                self.unreadable(error)
                await asyncio.sleep(UNREADABLE_S)

    def unreadable(self, error: StoreError) -> None:
        """Say that the store does not tell its state and why, once for each reason."""
        reason = str(error)
        if self._unreadable.passes(reason):
            self._report("state_unreadable", reason=reason)

    async def _load(self) -> None:
        head, items = await self._store.load()
        # Within a cluster a copy with a lower index is an older one: never take it.
        if self.loaded.is_set() and head.index < self._tables.index:
            await asyncio.sleep(RETRY_S)
            return
        with _collector_paused(), _readable():
            rows = await asyncio.to_thread(fill, items)
            old = self._tables.replace(head, rows)
            self.ring.begin(head)
        self.loaded.set()
        self._unreadable.forget()
        self._announce(head, set(REGISTRY))
        await asyncio.to_thread(old.drain)

    async def recall(self, head: Head, items: list[tuple[Key, bytes]]) -> None:
        """Take a committed state that may be old, if memory has nothing yet.

        It holds until the store can be read, which may take for ever.
        """
        with _readable():
            rows = await asyncio.to_thread(fill, items)
        if self.loaded.is_set():
            return
        self._tables.replace(head, rows)
        self.loaded.set()
        self._announce(head, set(REGISTRY))

    async def _follow(self) -> None:
        """Apply commits until the chain breaks, another generation is the truth, or one is lost."""
        head = self._tables.head
        with suppress(TimeoutError), self._compared():
            async with timeout(None) as self._patience:
                async for change in self._store.changes(head):
                    if not isinstance(change, Change) or not _follows(change, head):
                        return
                    head = change.head
                    began = time.perf_counter()
                    with _readable():
                        touched = self._tables.apply(head, change.changes)
                    self.on_apply((time.perf_counter() - began) * 1_000)
                    self.ring.add(change)
                    self._announce(head, touched)

    @contextmanager
    def _compared(self) -> Iterator[None]:
        """Load again when memory has not come to what the leader told of a while ago."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def look(told: int) -> None:
            nonlocal timer
            if told > self._tables.index and loop.time() - self._behind >= BEHIND_S:
                self._behind = loop.time()
                self._load_again()
            timer = loop.call_later(PATIENCE_S, look, self._told())

        timer = loop.call_later(PATIENCE_S, look, self._told())
        try:
            yield
        finally:
            timer.cancel()

    def _announce(self, head: Head, touched: set[str]) -> None:
        self._heads.append(head)
        for index, future in self._reached:
            if index <= head.index and not future.done():
                future.set_result(None)
        self._reached = [entry for entry in self._reached if not entry[1].done()]
        for commit, follower in self._followers:
            if head.prev == commit and not follower.done():
                follower.set_result(head)
        self._followers = [entry for entry in self._followers if not entry[1].done()]
        self._waiting.wake(touched)

    async def reached(self, index: int, timeout_s: float = 5.0) -> None:
        """Wait until memory stands at `index` or later; loads again when it does not come.

        Raises Unknown after `timeout_s`: what was committed is done, and memory does not show it.
        """
        if self._tables.index >= index and self._tables.head is not NO_HEAD:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reached.append((index, future))
        _, missing = await asyncio.wait([future], timeout=min(PATIENCE_S, timeout_s))
        if not missing:
            return
        self._load_again()
        _, missing = await asyncio.wait([future], timeout=timeout_s - PATIENCE_S)
        if missing:
            future.cancel()
            raise Unknown(f"memory has not reached index {index} within {timeout_s:g} s")

    def _load_again(self) -> None:
        with suppress(RuntimeError):  # not following: it is about to load, or loading
            self._patience.reschedule(asyncio.get_running_loop().time())

    def follower_of(self, head: Head, timeout_s: float) -> asyncio.Future[Head | None]:
        """A future of the head that follows `head`; None when none is seen in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Head | None] = loop.create_future()
        for seen in self._heads:
            if seen.prev == head.commit:
                future.set_result(seen)
                return future
        self._followers.append((head.commit, future))
        loop.call_later(timeout_s, _give_up, future)
        return future


def _follows(change: Change, head: Head) -> bool:
    """Whether nothing is missing between `head` and this commit, nor in it."""
    after = change.head
    return after.prev == head.commit and after.gen == head.gen and after.ops == len(change.changes)


@contextmanager
def _readable() -> Iterator[None]:
    """What cannot be decoded within is a fault of the store."""
    try:
        yield
    except UNDECODABLE as error:
        raise Corrupt(f"an object in the store cannot be read: {undecodable(error)}") from error


def _give_up(follower: asyncio.Future[Head | None]) -> None:
    if not follower.done():
        follower.set_result(None)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Load with the collector off, then put what was loaded out of its sight.

    Collecting a growing heap of long-lived rows costs a third of a load and pauses of 300 ms. So
    garbage is collected before the rows are there; what comes up meanwhile is too little to matter.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 50, 1_000)
