"""Time limits for awaiting: `asyncio.timeout` as newer releases of Python have it.

Up to Python 3.11.2 `asyncio.timeout` raises CancelledError in place of TimeoutError in a task that
was cancelled before: in every clean-up, and after a `TaskGroup` whose error was caught. This module
behaves the same on every release.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

T = TypeVar("T")


class Timeout:
    """An asynchronous context manager that raises TimeoutError when its time is over.

    `when` is a time of the running loop in seconds; None for no limit yet. A cancellation by other
    code is passed on as CancelledError.
    """

    def __init__(self, when: float | None) -> None:
        self._when = when
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.Handle | None = None
        self._cancelled_before = 0  # cancellations of the task at entry
        self._expired = False

    def expired(self) -> bool:
        """Whether the time ran out inside the context."""
        return self._expired

    def reschedule(self, when: float | None) -> None:
        """Set another time.

        Raises:
            RuntimeError: the context is not entered, or its time ran out.
        """
        if self._task is None or self._expired:
            raise RuntimeError("the time limit is not in force")
        self._when = when
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when is None:
            return
        loop = asyncio.get_running_loop()
        if when <= loop.time():
            self._timer = loop.call_soon(self._expire)
        else:
            self._timer = loop.call_at(when, self._expire)

    def _expire(self) -> None:
        assert self._task is not None  # noqa: S101  the timer ends with the context
        self._expired = True
        self._task.cancel()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("the time limit is in force already")
        self._task = asyncio.current_task()
        assert self._task is not None  # noqa: S101  a coroutine runs in a task
        self._cancelled_before = self._task.cancelling()
        self.reschedule(self._when)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        assert task is not None  # noqa: S101  it was entered
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._expired or task.uncancel() > self._cancelled_before:
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error


def timeout(seconds: float | None) -> Timeout:
    """A limit of that many seconds from now; None for none yet."""
    return Timeout(None if seconds is None else asyncio.get_running_loop().time() + seconds)


async def until(
    look: Callable[[], Awaitable[T | None]], limit_s: float, every_s: float
) -> T | None:
    """What `look` returns once that is not None, trying every `every_s` seconds.

    None when `limit_s` seconds are over. Exceptions of `look` pass through.
    """
    with contextlib.suppress(TimeoutError):
        async with timeout(limit_s):
            while True:
                if (found := await look()) is not None:
                    return found
                await asyncio.sleep(every_s)
    return None


def timeout_at(when: float | None) -> Timeout:
    """A limit at a time of the running loop, in seconds."""
    return Timeout(when)
