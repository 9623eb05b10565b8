"""How much of its quota the store of the member beside us has filled, told before it is full.

At the quota etcd takes no more writes. The figure is this server's own: each member's file has its
own size. What to do about it is the operator's, see `operator raft defrag`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from bellcow.cluster.engine.protocol import Peers
    from bellcow.events import Report

LOOK_S = 30.0
TELL_FROM = 80  # percent of the quota
TELL_EACH = 5  # percent more


def level(used_bytes: int, quota_bytes: int) -> int:
    """The step that a store has reached, in percent of its quota; 0 while there is room enough."""
    percent = used_bytes * 100 // quota_bytes
    return percent - percent % TELL_EACH if percent >= TELL_FROM else 0


class Quota:
    """`run` looks as long as the server lives; `used_bytes` is 0 for a server without a member."""

    def __init__(self, peers: Peers, quota_bytes: int, report: Report) -> None:
        self.used_bytes = 0
        self.quota_bytes = quota_bytes
        self._peers = peers
        self._report = report

    async def run(self) -> None:
        told = 0
        while True:
            try:
                self.used_bytes = (await self._peers.status()).db_bytes
            except StoreError:
                pass  # it does not answer at the moment: the last figure stays
            else:
                told = self._tell(told)
            await asyncio.sleep(LOOK_S)

    def _tell(self, told: int) -> int:
        """Tell of each further step once, and of the way back; returns the step that is known."""
        found = level(self.used_bytes, self.quota_bytes)
        if found > told:
            self._report(
                "store_usage_high",
                percent=self.used_bytes * 100 // self.quota_bytes,
                bytes=self.used_bytes,
                quota=self.quota_bytes,
                advice="run `bellcow operator raft defrag` on each server, one at a time",
            )
        elif told and not found:
            self._report("store_usage_normal", bytes=self.used_bytes, quota=self.quota_bytes)
        else:
            return min(told, found)
        return found
