"""An event loop whose time is virtual: when nothing is ready, it is the next timer's moment.

Work for other threads is done at once and in place, so a run is the same every time.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class DeadlockError(Exception):
    """Everything waits, and no timer will ever end it."""


class _Leap(selectors.SelectSelector):
    """Waits for nothing: hands the time it was told to wait to the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise DeadlockError("everything waits for something that will not come")
        self.now = round(self.now + max(0.0, timeout), 9)  # no dust of floats in what is shown
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 and jumps."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, work: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(work(*args))
        except Exception as error:  # noqa: BLE001  handed on to who awaits it
            future.set_exception(error)
        return future


def simulate(story: Coroutine[Any, Any, T]) -> T:
    """Run `story` from beginning to end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
