"""The commits that memory applied last, for servers that copy them: in order and without gaps.

The mirror adds each commit, and clears them whenever it loads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bellcow.store.protocol import NO_HEAD

if TYPE_CHECKING:
    from bellcow.store.protocol import Change, Head

COMMITS = 10_000
BYTES = 64 << 20  # of keys and values; the overhead of a commit is not counted


class RecentCommits:
    """`after` reads and `more` waits. Only the mirror calls `add` and `begin`."""

    def __init__(self, commits: int = COMMITS, size: int = BYTES) -> None:
        self._commits = commits
        self._bytes = size
        self._kept: deque[tuple[Change, int]] = deque()
        self._kept_bytes = 0
        self._before = NO_HEAD.commit  # the commit before the oldest one kept
        self._waiters: set[asyncio.Future[None]] = set()

    def begin(self, head: Head) -> None:
        """Drop all commits: memory was loaded at `head`."""
        self._kept.clear()
        self._kept_bytes = 0
        self._before = head.commit
        self._wake()

    def add(self, change: Change) -> None:
        """Add the commit that follows the newest one."""
        size = _size(change)
        self._kept.append((change, size))
        self._kept_bytes += size
        while len(self._kept) > self._commits or self._kept_bytes > self._bytes:
            oldest, size = self._kept.popleft()
            self._kept_bytes -= size
            self._before = oldest.head.commit
        if self._waiters:
            self._wake()

    def after(self, commit: str, max_bytes: int = BYTES) -> list[Change] | None:
        """The commits that follow `commit`, up to `max_bytes`, but at least one if there is one.

        None when `commit` is not among those kept.
        """
        following = self._following(commit)
        if following is None:
            return None
        found: list[Change] = []
        left = max_bytes
        for change, size in reversed(following):
            left -= size
            if found and left < 0:
                break
            found.append(change)
        return found

    def _following(self, commit: str) -> list[tuple[Change, int]] | None:
        """All commits that follow this one, the newest first."""
        # Searched from the newest: a server that asks usually lacks only a few.
        found: list[tuple[Change, int]] = []
        for entry in reversed(self._kept):
            if entry[0].head.commit == commit:
                return found
            found.append(entry)
        return found if commit == self._before else None

    async def more(self, timeout_s: float) -> None:
        """Wait for the next commit or load, at most `timeout_s` seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(future)
        try:
            await asyncio.wait([future], timeout=timeout_s)
        finally:
            self._waiters.discard(future)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


def _size(change: Change) -> int:
    """Bytes of keys and values."""
    return sum(
        len(table) + len(name) + len(value or b"")
        for (table, name), value in change.changes.items()
    )
