"""Waits that can all be ended from elsewhere, when what they wait for will never come."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bellcow.deadline import Timeout, timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Waits:
    """All that is waited for at one place. `reason` makes the error that they end with."""

    def __init__(self, reason: Callable[[], Exception]) -> None:
        self._reason = reason
        self._open: set[Timeout] = set()
        self.ended = False

    def end(self) -> None:
        """End those that wait, and let none wait any more. For the loop that they wait in."""
        self.ended = True
        for wait in self._open:
            wait.reschedule(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def until_ended(self) -> AsyncIterator[None]:
        """Do what is inside; raise the reason once `end` was called."""
        if self.ended:
            raise self._reason()
        wait = timeout(None)
        self._open.add(wait)
        try:
            async with wait:
                yield
        except TimeoutError:
            if not wait.expired():
                raise
            raise self._reason() from None
        finally:
            self._open.discard(wait)
