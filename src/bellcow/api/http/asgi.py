"""The ASGI callable around an `App`, and the request body it passes to it.

Under our own server the scope holds the connection's `Cycle`, which writes the answer. Under any
other ASGI server, or httpx in tests, plain `send` does. It must not know routes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bellcow.api.http.budget import Budget
from bellcow.api.http.limits import HttpLimits
from bellcow.api.http.task import SCOPE_KEY, closing
from bellcow.api.message import Request, body_length, too_large
from bellcow.deadline import timeout
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bellcow.api.http.task import Cycle
    from bellcow.api.message import App, Response

    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Asgi = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def asgi(app: App, limits: HttpLimits | None = None) -> Asgi:
    """The ASGI callable that answers every request by `app`; it raises RuntimeError if not HTTP."""
    bounds = limits or HttpLimits()
    budget = Budget(bounds.bodies_bytes, "too many request bodies at once; try again")

    async def answer(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this is an HTTP server, not one for {scope['type']!r}")
        cycle = scope.get("extensions", {}).get(SCOPE_KEY)
        request = _request(scope) if cycle is None else cycle.request
        response = await app.answer(request, AsgiBody(request, receive, bounds, budget, cycle))
        if cycle is None:
            await _send(request, response, send)
        else:
            await cycle.respond(response)

    return answer


class AsgiBody:
    """A request's body (`message.Body`) over ASGI's `receive`."""

    __slots__ = ("_budget", "_cycle", "_length", "_limits", "_receive")

    def __init__(
        self,
        request: Request,
        receive: Receive,
        limits: HttpLimits,
        budget: Budget,
        cycle: Cycle | None = None,
    ) -> None:
        self._budget = budget
        self._cycle = cycle
        self._length = body_length(request) if cycle is None else cycle.declared
        self._receive = receive
        self._limits = limits

    async def read(self, limit: int) -> bytes | None:
        if self._length == 0:
            return None
        if self._length > limit:
            raise too_large(limit)
        if self._cycle is not None and not self._cycle.more_body:
            return await self._read(limit)  # all of it has arrived: a deadline would cost more
        try:
            async with timeout(self._limits.body_s):
                return await self._read(limit)
        except TimeoutError:
            raise _too_slow() from None

    async def _read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        more = True
        try:
            while more:
                piece, more = await self._piece()
                if size + len(piece) > limit:
                    raise too_large(limit)
                self._budget.take(len(piece))
                size += len(piece)
                parts.append(piece)
            return b"".join(parts)
        finally:
            self._budget.release(size)

    async def chunks(self) -> AsyncIterator[bytes]:
        more = self._length != 0
        pace = _Pace(self._limits)
        while more:
            piece, more = await pace.wait_for(self._piece)
            if piece:
                yield piece

    async def _piece(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Error(Code.INVALID, "unexpected EOF")
        return message.get("body", b""), message.get("more_body", False)


class _Pace:
    """The least speed of an upload, over windows of the time spent waiting for the client.

    The time between a piece and the wait for the next one is ours and does not count.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self._window_s = limits.upload_window_s
        self._least = limits.upload_bytes_per_s * limits.upload_window_s
        self._start_window()

    def _start_window(self) -> None:
        self._left_s = self._window_s
        self._got = 0

    async def wait_for(
        self, receive: Callable[[], Awaitable[tuple[bytes, bool]]]
    ) -> tuple[bytes, bool]:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            try:
                async with timeout(max(0.0, self._left_s)):
                    piece, more = await receive()
            except TimeoutError:
                if self._got < self._least:
                    raise _too_slow() from None
                self._start_window()
                continue
            self._left_s -= now() - began
            self._got += len(piece)
            return piece, more


def _too_slow() -> Error:
    return Error(Code.TIMEOUT, "request body did not arrive in time")


def _request(scope: dict[str, Any]) -> Request:
    client = scope.get("client")
    path = scope["path"]
    raw_path = scope.get("raw_path") or path.encode()
    return Request(
        scope["method"],
        path,
        raw_path.partition(b"?")[0],
        scope.get("query_string", b""),
        [(name.lower(), value) for name, value in scope["headers"]],
        client[0] if client else "",
        secure=scope.get("scheme") == "https",
    )


async def _send(request: Request, response: Response, send: Send) -> None:
    """Answer under another ASGI server, which adds Date and frames the body."""
    headers = [*response.headers, (b"Vary", b"Accept-Encoding")]
    bodiless = response.status in {204, 304}
    if response.stream is None and not bodiless:
        headers.append((b"Content-Length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.stream is not None:
        async with closing(response.stream):
            async for chunk in response.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})
        return
    body = b"" if bodiless or request.method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})
