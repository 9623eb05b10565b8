"""Waits that another task can end all at once, when what they wait for will never happen."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bellcow.deadline import Timeout, timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Waits:
    """The waits of one owner. `reason` makes the error that ends them."""

    def __init__(self, reason: Callable[[], Exception]) -> None:
        self._reason = reason
        self._open: set[Timeout] = set()
        self.ended = False

    def end(self) -> None:
        """End all waits, and refuse new ones. Call it in the loop of the waits."""
        self.ended = True
        for wait in self._open:
            wait.reschedule(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def until_ended(self) -> AsyncIterator[None]:
        """Run the block; `end` stops it with the reason that was given at the beginning.

        Raises:
            TimeoutError: the block raised it.
        """
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
