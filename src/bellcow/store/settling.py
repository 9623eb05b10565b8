"""When a store's file is settled: about a second after a write, and again until it needs no more.

So the mark covers every write that was acknowledged more than two seconds ago.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

REST_S = 0.9  # from a write to its settling


class Settling:
    """Calls `settle` in the store's own thread. All methods run on the loop's thread."""

    def __init__(self, worker: Executor, settle: Callable[[], bool]) -> None:
        """`settle` returns False when it wants to be called once more."""
        self._worker = worker
        self._settle = settle
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def wrote(self) -> None:
        """Something was written, or may have been."""
        if self._timer is None and not self._ended:
            self._timer = self._loop.call_later(REST_S, self._due)

    def end(self) -> None:
        """Stop. A call under way still ends, so shut the worker down after this."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer = None
        self._loop.run_in_executor(self._worker, self._settle).add_done_callback(self._done)

    def _done(self, settled: asyncio.Future[bool]) -> None:
        # A failure is not reported: the next write fails for the same reason and reports it.
        with contextlib.suppress(StoreError, asyncio.CancelledError):
            if not settled.result():
                self.wrote()
