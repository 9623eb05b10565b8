"""The phases of a connection, and what happens when one takes too long.

A connection is in one phase at a time and has one timer. Nothing here touches a transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

_TIMER_SLACK_S: Final = 0.001  # timers are rounded to milliseconds and may fire that much early

# Phases. The text is the field `waited_for` of the event http_client_too_slow. They are plain
# constants since the hot path compares them, and a member of an enum costs a slow look-up.
FIRST_BYTE: Final = "first byte"
HEADERS: Final = "headers"
NEXT_REQUEST: Final = "next request"
OUR_ANSWER: Final = "our answer"  # without a deadline here: the task has its own
STREAM_READER: Final = "proof that the client still reads"
CHANGE: Final = "a change of a table"
UNREAD_BODY: Final = "rest of an unread body"
LINGER: Final = "the client to close after our last answer"
LAST_BYTES: Final = "our last bytes to leave"


class Ending(Protocol):
    """How a connection ends (`ending.Ending`)."""

    def cut_off(self, waited_for: str) -> None: ...
    def close(self) -> None: ...
    def close_lingering(self) -> None: ...
    def watch_close(self) -> None: ...


class Late(Protocol):
    """What a connection does when a deadline has passed."""

    @property
    def ending(self) -> Ending: ...

    def check_stream(self) -> None:
        """Cancel a stream that wrote nothing since the last look."""

    def stop_waiting(self) -> None:
        """Answer the blocking query with the present state."""


WHEN_LATE: Final[Mapping[str, Callable[[Late], None]]] = {
    FIRST_BYTE: lambda late: late.ending.cut_off(FIRST_BYTE),
    HEADERS: lambda late: late.ending.cut_off(HEADERS),
    UNREAD_BODY: lambda late: late.ending.cut_off(UNREAD_BODY),
    NEXT_REQUEST: lambda late: late.ending.close(),
    CHANGE: lambda late: late.stop_waiting(),
    STREAM_READER: lambda late: late.check_stream(),
    LINGER: lambda late: late.ending.close_lingering(),
    LAST_BYTES: lambda late: late.ending.watch_close(),
}


class Deadline:
    """The phase of one connection and when it ends.

    A new timer is set only if the phase ends before the present one fires. So requests that follow
    each other set none.
    """

    __slots__ = ("_due", "_late", "_loop", "_timer", "_timer_due", "phase")

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Late) -> None:
        self._loop = loop
        self._late: Late | None = late
        self.phase = OUR_ANSWER
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def expect(self, phase: str, seconds: float) -> None:
        """Enter a phase that may take `seconds`."""
        self.phase = phase
        self._due = due = self._loop.time() + seconds
        if self._timer is None or due < self._timer_due:
            self._arm(seconds)

    def lift(self) -> None:
        """Enter the phase without a deadline: we are answering."""
        self.phase = OUR_ANSWER

    def cancel(self) -> None:
        """Stop the timer for good and drop the connection."""
        self._late = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._late is None or self.phase is OUR_ANSWER:
            return
        left = self._due - self._loop.time()
        if left > _TIMER_SLACK_S:
            self._arm(left)
        else:
            WHEN_LATE[self.phase](self._late)
