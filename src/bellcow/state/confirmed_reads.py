"""Reads that are true: memory is asked only after the store has confirmed which head is the newest.

One confirm at a time serves every read that came before it began; those that come meanwhile are the
next round. A waiting read is a waiter, not a task. No clock decides what is true, nor who leads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.store.protocol import StoreError, Unavailable, Unknown

if TYPE_CHECKING:
    from bellcow.state.mirror import Mirror
    from bellcow.state.waiting import Waiting
    from bellcow.store.protocol import Store

PATIENCE_S = 2.0  # how long a read waits for its round
RETRY_S = 0.1


class ConfirmedReads:
    """Rounds of reads. `run` is their life; nothing waits where the store confirms by itself."""

    def __init__(self, store: Store, mirror: Mirror, waiting: Waiting) -> None:
        self._store = store
        self._mirror = mirror
        self._waiting = waiting
        self._asked = asyncio.Event()
        self._round = 1  # the one that begins next
        self._confirmed = 0  # the last one that memory has caught up with
        self.confirms = 0
        self.place = _place(self._round)  # where its reads wait

    @property
    def immediate(self) -> bool:
        """Whether memory is always true on the server that leads."""
        return self._store.confirms_locally

    def ask(self) -> int:
        """The number of the round that serves a read which comes now and waits at `place`."""
        self._asked.set()
        return self._round

    def is_confirmed(self, number: int) -> bool:
        """Whether memory holds all that was answered before a read of that round came."""
        return 0 < number <= self._confirmed

    async def run(self) -> None:
        """Confirm whenever somebody asks; a round that fails is served by the next that does not.

        Those whose patience ends in between have left by themselves.
        """
        open_places: tuple[str, ...] = ()
        while True:
            await self._asked.wait()
            self._asked.clear()
            number, open_places = self._round, (*open_places, *self.place)
            self._round += 1
            self.place = _place(self._round)
            confirmed = await self._catch_up()
            if confirmed:
                self._confirmed = number
            if confirmed or not any(map(self._waiting.has, open_places)):
                self._waiting.wake(open_places)
                open_places = ()
            else:
                await asyncio.sleep(RETRY_S)
                self._asked.set()

    async def _catch_up(self) -> bool:
        """Bring memory to the newest head; False when it cannot be told or does not come."""
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


def _place(number: int) -> tuple[str]:
    """Not the name of a table: nothing but its confirm wakes who waits there."""
    return (f"confirm {number}",)
