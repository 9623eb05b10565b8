"""Linearizable reads: memory is read after the store has confirmed which head is the newest.

One confirm at a time serves every read that arrived before it began. Later ones wait for the next
round. A waiting read is a waiter, not a task. No clock is involved, so no lease can be wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.store.protocol import Confirmation, StoreError, Unavailable, Unknown

if TYPE_CHECKING:
    from bellcow.state.mirror import Mirror
    from bellcow.state.waiting import Waiting
    from bellcow.store.protocol import Store

PATIENCE_S = 2.0  # seconds that a read waits at the leader
RETRY_S = 0.1
_LOCAL, _MAJORITY = Confirmation.LOCAL, Confirmation.MAJORITY  # looked up once


class ConfirmedReads:
    """Rounds of reads, served by `run`. A store that confirms locally needs none."""

    def __init__(self, store: Store, mirror: Mirror, waiting: Waiting) -> None:
        self._store = store
        self._mirror = mirror
        self._waiting = waiting
        self._asked = asyncio.Event()
        self._round = 1  # the next one to begin
        self._confirmed = 0  # the last round that memory has caught up with
        self.confirms = 0
        self.waits_for = _waits_for(self._round)  # its reads wait for this name as for a table

    @property
    def immediate(self) -> bool:
        """Whether the leader's memory is always up to date."""
        return self._store.confirmation is _LOCAL

    @property
    def by_majority(self) -> bool:
        """Whether a follower, too, can bring its memory up to date."""
        return self._store.confirmation is _MAJORITY

    def ask(self) -> int:
        self.waits_for = _waits_for(self._round)
        self._asked.set()
        return self._round

    def is_confirmed(self, number: int) -> bool:
        """Whether memory has every write that was acknowledged before a read of that round."""
        return 0 < number <= self._confirmed

    async def run(self) -> None:
        """Confirm whenever a read asks. A round that fails is served by the next that succeeds.

        Reads give up by themselves, the leader's after `PATIENCE_S`.
        """
        unserved: tuple[str, ...] = ()
        while True:
            await self._asked.wait()
            self._asked.clear()
            number, unserved = self._round, (*unserved, *self.waits_for)
            self._round += 1
            self.waits_for = _waits_for(self._round)
            confirmed = await self._catch_up()
            if confirmed:
                self._confirmed = number
            if confirmed or not any(map(self._waiting.has, unserved)):
                self._waiting.wake(unserved)
                unserved = ()
            else:
                await asyncio.sleep(RETRY_S)
                self._asked.set()

    async def _catch_up(self) -> bool:
        """Bring memory to the newest head; False if it cannot be confirmed or does not arrive."""
        self.confirms += 1
        try:
            head = await self._store.confirm()
            await self._mirror.reached(head.index)
        except (Unavailable, Unknown):
            return False
        except StoreError as error:
            self._mirror.unreadable(error)
            return False
        return True


def _waits_for(number: int) -> tuple[str]:
    """A name that no table has: only the confirm of this round wakes its reads."""
    return (f"confirm {number}",)
