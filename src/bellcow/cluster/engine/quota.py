"""Watches how much of its quota etcd's file uses, and warns before it is full.

At the quota etcd refuses writes. Each member's file has its own size, so each server watches its
own. The operator's remedy is `operator raft defrag`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from bellcow.cluster.engine.protocol import Peers
    from bellcow.events import Report

LOOK_S = 30.0  # between two looks at the size
WARN_FROM = 80  # percent of the quota
WARN_EACH = 5  # percent more


def level(used_bytes: int, quota_bytes: int) -> int:
    """The warning step that a file has reached, in percent of its quota; 0 below the first."""
    percent = used_bytes * 100 // quota_bytes
    return percent - percent % WARN_EACH if percent >= WARN_FROM else 0


class Quota:
    """Updates `used_bytes` while `run` runs; it stays 0 for a non-voter."""

    def __init__(self, peers: Peers, quota_bytes: int, report: Report) -> None:
        self.used_bytes = 0
        self.quota_bytes = quota_bytes
        self._peers = peers
        self._report = report

    async def run(self) -> None:
        warned = 0
        while True:
            try:
                self.used_bytes = (await self._peers.status()).db_bytes
            except StoreError:
                pass  # no answer at the moment: the last size stays
            else:
                warned = self._warn(warned)
            await asyncio.sleep(LOOK_S)

    def _warn(self, warned: int) -> int:
        """Report each further step once, and the return below the first; returns the last step."""
        found = level(self.used_bytes, self.quota_bytes)
        if found > warned:
            self._report(
                "store_usage_high",
                percent=self.used_bytes * 100 // self.quota_bytes,
                bytes=self.used_bytes,
                quota=self.quota_bytes,
                advice="run `bellcow operator raft defrag` on each server, one at a time",
            )
        elif warned and not found:
            self._report("store_usage_normal", bytes=self.used_bytes, quota=self.quota_bytes)
        else:
            return min(warned, found)
        return found
