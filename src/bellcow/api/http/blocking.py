"""A blocking query while it waits: registered for its tables, asked again when one changes.

The connection sets its deadline and writes its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bellcow.api.message import Response, Wait

if TYPE_CHECKING:
    import asyncio

    from bellcow.api.http.shared import Shared
    from bellcow.api.message import Request


class Asker(Protocol):
    """The connection, as its blocking query needs it."""

    transport: asyncio.Transport
    parting: bool  # no request follows this one, so its client should not wait for long

    def on_wait(self, seconds: float) -> None:
        """The query waits and must be stopped after `seconds`."""

    def on_answer(self, request: Request, answer: Response | None) -> None:
        """The query has ended. None: a task must answer the request."""


class BlockingQuery:
    """One request that waits (`state.waiting.Waiter`). Once it has ended nothing wakes it."""

    __slots__ = ("_asker", "_request", "_shared", "_wait")

    is_request = True

    def __init__(self, asker: Asker, shared: Shared, request: Request, wait: Wait) -> None:
        self._asker = asker
        self._shared = shared
        self._request: Request | None = request
        self._wait = wait

    def begin(self) -> None:
        """Register for the tables, with their deadline."""
        self._shared.waiting.add(self._wait.tables, self)
        self._asker.on_wait(self._wait.seconds)

    def wake(self) -> None:
        """Ask the app again: a table has changed. The query is in no set of `Waiting` now."""
        self._ask_again(last=False)

    def stop(self) -> None:
        """Answer with the present state."""
        self._shared.waiting.discard(self._wait.tables, self)
        self._ask_again(last=True)

    def hurry(self) -> None:
        """Stop, because the client or this server leaves, unless the query ends soon by itself."""
        if not self._wait.brief:
            self.stop()

    def forget(self) -> None:
        """Stop without an answer."""
        self._shared.waiting.discard(self._wait.tables, self)
        self._request = None

    def _ask_again(self, *, last: bool) -> None:
        request, self._request = self._request, None
        if request is None or self._asker.transport.is_closing():
            return
        answer = self._shared.ask(request, last=last)
        if isinstance(answer, Wait) and not last:
            self._request, self._wait = request, answer
            self.begin()
            if self._asker.parting:
                self.hurry()
        else:
            self._asker.on_answer(request, answer if isinstance(answer, Response) else None)
