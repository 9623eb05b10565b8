"""The mirror: the only code that changes the tables in memory.

It loads the store, then applies whole commits as they arrive. It wakes those who wait for an index,
for a table, or for the head that follows another one.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from bellcow.deadline import timeout
from bellcow.state.recent_commits import RecentCommits
from bellcow.state.tables import REGISTRY, fill
from bellcow.store.protocol import NO_HEAD, Change, Corrupt, StoreError, Unavailable, Unknown
from bellcow.throttle import Throttle
from bellcow.wire import UNDECODABLE, undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bellcow.events import Report
    from bellcow.state.tables import RowKey, Tables
    from bellcow.state.waiting import Waiting
    from bellcow.store.protocol import Head, Key, Store

RETRY_S = 0.1
UNREADABLE_S = 1.0  # before a state that cannot be read is loaded again
BEHIND_S = 5.0  # between two loads because the leader's index is higher
PATIENCE_S = 1.0  # for a head known to exist, before a load: its event may have been lost
HEADS_KEPT = 64
OWN_KEPT = 1_024  # our commits whose events are late; with more, the watch counts as broken


def no_leader_index() -> int:
    """The default: no other server leads."""
    return 0


class Mirror:
    """Keeps `tables` equal to the store while `run` runs. `reached` waits for it."""

    def __init__(
        self,
        store: Store,
        tables: Tables,
        waiting: Waiting,
        report: Report,
        leader_index: Callable[[], int] = no_leader_index,
    ) -> None:
        """`leader_index` is the last index that the leader reported; 0 if there is none."""
        self._store = store
        self._tables = tables
        self._waiting = waiting
        self._report = report
        self._leader_index = leader_index
        self._unreadable = Throttle()  # by reason, until the state can be read again
        self._behind = -BEHIND_S  # time of the last load because the leader's index is higher
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._successors: list[tuple[str, asyncio.Future[Head | None]]] = []
        self._heads: deque[Head] = deque(
            maxlen=HEADS_KEPT
        )  # the last ones applied, the newest at the end
        self._own: deque[str] = deque()  # ids of our commits that are applied before their events
        self._patience = timeout(None)
        self.on_apply: Callable[[float], None] = lambda _: None  # called with milliseconds
        self.loaded = asyncio.Event()
        self.ring = RecentCommits()  # for servers that copy them

    async def run(self) -> None:
        """Load and follow the store for ever.

        Raises:
            StoreError: the first load is impossible.
        """
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
        """Report that the store's state cannot be read, once for each reason."""
        reason = str(error)
        if self._unreadable.passes(reason):
            self._report("state_unreadable", reason=reason)

    async def _load(self) -> None:
        head, items = await self._store.load()
        # Within a cluster a copy with a lower index is an older one: never load it.
        if self.loaded.is_set() and head.index < self._tables.index:
            await asyncio.sleep(RETRY_S)
            return
        with _collector_paused(), _readable():
            rows = await asyncio.to_thread(fill, items)
            if self.loaded.is_set() and head.index < self._tables.index:
                return  # a commit of ours was applied meanwhile
            old = self._tables.replace(head, rows)
            self.ring.begin(head)
        self.loaded.set()
        self._unreadable.forget()
        self._announce(head, set(REGISTRY))
        await asyncio.to_thread(old.drain)

    async def recall(self, head: Head, items: list[tuple[Key, bytes]]) -> None:
        """Fill memory with a committed but maybe old state, if it is still empty.

        It stays until the store can be read, which may never happen.

        Raises:
            Corrupt: an object cannot be decoded.
        """
        with _readable():
            rows = await asyncio.to_thread(fill, items)
        if self.loaded.is_set():
            return
        self._tables.replace(head, rows)
        self.loaded.set()
        self._announce(head, set(REGISTRY))

    async def _follow(self) -> None:
        """Apply commits until the chain breaks, the generation changes, or an event is lost."""
        self._own.clear()
        with suppress(TimeoutError), self._compared():
            async with timeout(None) as self._patience:
                async for change in self._store.changes(self._tables.head):
                    if not isinstance(change, Change):
                        return
                    if self._own and change.head.commit == self._own[0]:
                        self._own.popleft()
                    elif _follows(change, self._tables.head):
                        self._apply(change)
                    else:
                        return

    def apply_own(self, known: Head, change: Change, rows: Mapping[RowKey, Any]) -> None:
        """Apply a commit that this process has made, before its event arrives. `rows` are its rows.

        Only where memory is at `known`, the head that the commit replaced. Elsewhere memory is
        behind, or the event was faster, or another generation is current.
        """
        if self._tables.head == known and _follows(change, known):
            self._own.append(change.head.commit)
            self._apply(change, rows)
            if len(self._own) > OWN_KEPT:
                self._load_again()

    def _apply(self, change: Change, rows: Mapping[RowKey, Any] | None = None) -> None:
        began = time.perf_counter()
        with _readable():
            touched = self._tables.apply(change.head, change.changes, rows)
        self.on_apply((time.perf_counter() - began) * 1_000)
        self.ring.add(change)
        self._announce(change.head, touched)

    @contextmanager
    def _compared(self) -> Iterator[None]:
        """Load again when memory has not reached the index that the leader reported a while ago."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def compare(leader_index: int) -> None:
            nonlocal timer
            if leader_index > self._tables.index and loop.time() - self._behind >= BEHIND_S:
                self._behind = loop.time()
                self._load_again()
            timer = loop.call_later(PATIENCE_S, compare, self._leader_index())

        timer = loop.call_later(PATIENCE_S, compare, self._leader_index())
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
        for commit, successor in self._successors:
            if head.prev == commit and not successor.done():
                successor.set_result(head)
        self._successors = [entry for entry in self._successors if not entry[1].done()]
        self._waiting.wake(touched)

    async def reached(self, index: int, timeout_s: float = 5.0) -> None:
        """Wait until memory has `index` or a higher one; loads again if it takes a second.

        Raises:
            Unknown: `timeout_s` seconds are over; the commit is done, but memory does not show it.
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
        with suppress(RuntimeError):  # it does not follow, so it loads anyway
            self._patience.reschedule(asyncio.get_running_loop().time())

    def successor_of(self, head: Head, timeout_s: float) -> asyncio.Future[Head | None]:
        """A future of the head that follows `head`; None if none arrives in `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Head | None] = loop.create_future()
        for seen in self._heads:
            if seen.prev == head.commit:
                future.set_result(seen)
                return future
        self._successors.append((head.commit, future))
        loop.call_later(timeout_s, _give_up, future)
        return future


def _follows(change: Change, head: Head) -> bool:
    """Whether this commit follows `head` directly and is complete."""
    after = change.head
    return after.prev == head.commit and after.gen == head.gen and after.ops == len(change.changes)


@contextmanager
def _readable() -> Iterator[None]:
    """Translate what decoding raises.

    Raises:
        Corrupt: an object cannot be decoded.
    """
    try:
        yield
    except UNDECODABLE as error:
        raise Corrupt(f"an object in the store cannot be read: {undecodable(error)}") from error


def _give_up(successor: asyncio.Future[Head | None]) -> None:
    if not successor.done():
        successor.set_result(None)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Load without garbage collection, then exempt the loaded rows from it.

    Collecting a growing heap of long-lived rows costs a third of a load and pauses of 300 ms. So
    garbage is collected before the load; a load itself makes too little of it to matter.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 50, 1_000)
