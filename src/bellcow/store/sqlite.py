"""The embedded store: one SQLite file, one thread that writes it, no other program to install.

`sqlite_files.py` owns the file. This module runs it in its thread and publishes the commits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from bellcow.store.limits import check_chain, check_limits, check_unseen
from bellcow.store.protocol import Change, Confirmation, Head, Limits, Reload, Unavailable
from bellcow.store.settling import Settling
from bellcow.store.sqlite_files import Files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.store.protocol import Key

HISTORY_COMMITS = 1_024  # commits a subscriber may be behind
HISTORY_BYTES = 16 << 20  # and their values

T = TypeVar("T")


async def open_store(path: Path | None, clock: Clock) -> SqliteStore:
    """Open or create the store in `path`; None keeps it in memory.

    Raises:
        Corrupt: the files are damaged or missing.
        Unavailable: another process has them, or the rights of other users cannot be removed.
        StoreError: the files cannot be opened for another reason.
    """
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
    try:
        files = await asyncio.get_running_loop().run_in_executor(worker, Files, path, clock)
    except BaseException:
        worker.shutdown(wait=False)
        raise
    return SqliteStore(files, worker)


class SqliteStore:
    """A `Store` on one machine. Made by `open_store`."""

    def __init__(self, files: Files, worker: ThreadPoolExecutor) -> None:
        self.limits = Limits()
        # A single process, which answers writes when memory has them.
        self.confirmation = Confirmation.LOCAL
        self.tightened = files.tightened
        self._files = files
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._feed = _Feed(files.head)
        self._settling = Settling(worker, files.settle)
        self._settling.wrote()  # an earlier process may have left a log
        self._closed = False

    async def starts(self) -> int:
        """How often this store was opened, this time included: the term of a single server."""
        return self._files.starts

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        return await self._work(self._files.load)

    async def confirm(self) -> Head:
        if self._closed:
            raise Unavailable("the store is closed")
        return self._feed.head

    async def confirm_in_term(self) -> tuple[Head, int]:
        return await self.confirm(), self._files.starts

    async def commit(self, known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> Head:
        check_chain(known, head, changes)
        check_limits(self.limits, changes.items())
        change = Change(head, dict(changes))
        await self._write(lambda: self._commit(known, change))
        return head

    def _commit(self, known: Head, change: Change) -> None:
        self._files.commit(known, change)
        # Published from here, since the task that waits may have been canceled.
        self._loop.call_soon_threadsafe(self._feed.publish, change)

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        async for change in self._feed.read(after):
            yield change

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        check_unseen(known, gen)

        def work() -> None:
            chunk = list(items)
            check_limits(self.limits, chunk)
            self._files.stage(known, gen, chunk)

        await self._write(work)

    async def drop(self, known: Head, gen: int) -> bool:
        check_unseen(known, gen)
        return await self._write(lambda: self._files.drop(known, gen))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._settling.end()
        await self._loop.run_in_executor(self._worker, self._files.close)
        self._worker.shutdown(wait=False)
        self._feed.end()

    async def _write(self, work: Callable[[], T]) -> T:
        try:
            return await self._work(work)
        finally:
            self._settling.wrote()

    async def _work(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        return await self._loop.run_in_executor(self._worker, work)


class _Feed:
    """The last commits, and the tasks that wait for the next. Runs on the loop's thread."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._kept: deque[Change] = deque()
        self._kept_bytes = 0
        self._first = 0  # number of the oldest commit kept; the next one gets first + len(kept)
        self._more = asyncio.Event()
        self._ended = False

    def publish(self, change: Change) -> None:
        self.head = change.head
        self._kept.append(change)
        self._kept_bytes += _size(change)
        while len(self._kept) > HISTORY_COMMITS or self._kept_bytes > HISTORY_BYTES:
            self._kept_bytes -= _size(self._kept.popleft())
            self._first += 1
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def _number_after(self, head: Head) -> int | None:
        """The number of the commit that follows `head`, which may be the next one."""
        if head == self.head:
            return self._first + len(self._kept)
        for number, change in enumerate(self._kept, self._first):
            if change.head.prev == head.commit:
                return number
        return None

    async def read(self, after: Head) -> AsyncIterator[Change | Reload]:
        number = self._number_after(after)
        while not self._ended:
            if number is None or number < self._first:
                break
            if number == self._first + len(self._kept):
                await self._more.wait()
                continue
            change = self._kept[number - self._first]
            if change.head.gen != after.gen:
                break
            yield change
            number += 1
        if not self._ended:
            yield Reload()


def _size(change: Change) -> int:
    return sum(len(value) for value in change.changes.values() if value is not None)
