"""The commits that memory took in last, for those who copy them: in order, bounded, no holes.

The mirror adds to it and begins it anew whenever it loads. Who reads it, and over what wire, is not
known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bellcow.store.protocol import NO_HEAD

if TYPE_CHECKING:
    from bellcow.store.protocol import Change, Head

COMMITS = 10_000
BYTES = 64 << 20  # of keys and values, whatever a commit of few objects costs besides


class RecentCommits:
    """`after` reads, `more` waits; `add` and `begin` are the mirror's alone."""

    def __init__(self, commits: int = COMMITS, size: int = BYTES) -> None:
        self._commits = commits
        self._bytes = size
        self._kept: deque[tuple[Change, int]] = deque()
        self._kept_bytes = 0
        self._before = NO_HEAD.commit  # the commit that the oldest one kept follows
        self._waiters: set[asyncio.Future[None]] = set()

    def begin(self, head: Head) -> None:
        """Forget everything: memory was loaded, and stands at `head`."""
        self._kept.clear()
        self._kept_bytes = 0
        self._before = head.commit
        self._wake()

    def add(self, change: Change) -> None:
        """The commit that follows the newest one."""
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
        """The commits that follow `commit`, of at most `max_bytes` but always one if there is one.

        None when it is not known here what follows it.
        """
        following = self._following(commit)
        if following is None:
            return None
        found: list[Change] = []
        room = max_bytes
        for change, size in reversed(following):
            room -= size
            if found and room < 0:
                break
            found.append(change)
        return found

    def _following(self, commit: str) -> list[tuple[Change, int]] | None:
        """All that follow this one, the newest first."""
        # From the newest on: who asks is mostly almost there.
        found: list[tuple[Change, int]] = []
        for entry in reversed(self._kept):
            if entry[0].head.commit == commit:
                return found
            found.append(entry)
        return found if commit == self._before else None

    async def more(self, timeout_s: float) -> None:
        """Wait until something changes here, at most `timeout_s`."""
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
