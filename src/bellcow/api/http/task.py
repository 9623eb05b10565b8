"""One request that a task answers, and how its answer is written: whole or as a stream."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from bellcow.api.message import body_length
from bellcow.deadline import timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from uvicorn._types import ASGI3Application, HTTPScope

    from bellcow.api.http.connection import Connection
    from bellcow.api.message import Request, Response

SCOPE_KEY: Final = "bellcow"  # where the ASGI callable finds its `Cycle` in the scope's extensions

# Bytes of an unread body that are read and dropped, so that the connection can stay open.
_DRAIN_BYTES: Final = 256 * 1024
_STOPPING: Final = "this server is stopping"


class _Gone(Exception):
    """The client has left or does not read; the connection has ended."""


class _NoEvent:
    """Replaces uvicorn's asyncio.Event where nothing waits for it."""

    __slots__ = ()

    def set(self) -> None:
        pass


class Quick:
    """What uvicorn reads of the current request when it has no `Cycle`. One a connection."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    asked = True
    more_body = False
    message_event = _NoEvent()

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True


class Cycle(RequestResponseCycle):
    """One request answered by a task. The ASGI callable finds it in the scope and writes by it."""

    def __init__(
        self,
        connection: Connection,
        request: Request,
        *,
        version: str = "1.1",
        has_body: bool = False,
        keep_alive: bool,
        expects_continue: bool = False,
    ) -> None:
        super().__init__(
            scope=_scope(connection, request, version),
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expects_continue,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self.connection = connection
        self.request = request
        self.declared = body_length(request)
        self.asked = False  # whether the body is wanted
        self.old = version == "1.0"
        self.scope["extensions"] = {SCOPE_KEY: self}  # type: ignore[dict-item]
        if not has_body:
            self.end_body()

    def end_body(self) -> None:
        """No byte of the body follows."""
        self.more_body = False
        self.message_event.set()

    async def run_asgi(self, app: ASGI3Application) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except _Gone:
            pass
        except asyncio.CancelledError:
            reads = self.request.method in {"GET", "HEAD"}
            self.connection.abandon(self, _STOPPING if reads else f"outcome unknown: {_STOPPING}")
            raise
        except Exception as fault:  # noqa: BLE001  no caller reports it
            self.connection.shared.log(
                "http_request_failed", path=self.request.path, exc_info=fault
            )
            self.connection.abandon(self)
        else:
            if not self.response_complete:
                self.connection.shared.log("http_request_unanswered", path=self.request.path)
                self.connection.abandon(self)
        finally:
            self.scope.clear()  # type: ignore[attr-defined]
            self.on_response = _nothing

    async def receive(self) -> Any:
        self.asked = True
        return await super().receive()

    async def respond(self, response: Response) -> None:
        """Write all of the answer, and close its stream whatever happens."""
        stream = response.stream
        if stream is None:
            await self._drain()
            self._begin(response)
        else:
            async with closing(stream):
                await self._drain()
                self._begin(response)
                if self.request.method != "HEAD":
                    await self._write_stream(stream)
        self.response_complete = True
        self.connection.finish(self, close=not self.keep_alive)

    def _begin(self, response: Response) -> None:
        connection = self.connection
        if self.transport.is_closing():
            raise _Gone
        if self._must_close(response):
            self.keep_alive = False
        self.response_started = True
        self.waiting_for_100_continue = False
        head = self.request.method == "HEAD"
        close = not self.keep_alive
        self.transport.write(
            connection.shared.render(response, head=head, old=self.old, close=close)
        )

    def _must_close(self, response: Response) -> bool:
        """Whether the connection ends with this answer."""
        if response.close or not self.keep_alive or response.status == 408:
            return True
        if not self.more_body:
            return False
        # The client still sends a body that is not wanted. A small one is read and dropped, to get
        # at the next request; otherwise the connection ends.
        return self.waiting_for_100_continue or not 0 <= self.declared <= _DRAIN_BYTES

    async def _write_stream(self, stream: AsyncIterator[bytes]) -> None:
        write = self.transport.write
        self.connection.streaming = True
        async for chunk in stream:
            if not chunk:
                continue
            self.connection.written += 1
            if self.old:
                write(chunk)
            else:
                write(b"%x\r\n" % len(chunk))
                write(chunk)
                write(b"\r\n")
            await self._drain()
        if not self.old:
            write(b"0\r\n\r\n")

    async def _drain(self) -> None:
        """Wait until the client has read enough.

        Raises:
            _Gone: it has read nothing in time.
        """
        if self.transport.is_closing():
            # A lost connection takes every byte and never pauses. The loop must run to report the
            # loss, which cancels this task.
            await asyncio.sleep(0)
        if not self.flow.write_paused:
            return
        try:
            async with timeout(self.connection.shared.limits.stall_s):
                await self.flow.drain()
        except TimeoutError:
            self.connection.stalled()
            raise _Gone from None


@contextlib.asynccontextmanager
async def closing(stream: AsyncIterator[bytes]) -> AsyncIterator[None]:
    """Close `stream` at the end, if it has an `aclose`."""
    try:
        yield
    finally:
        aclose = getattr(stream, "aclose", None)
        if aclose is not None:
            await aclose()


def _scope(connection: Connection, request: Request, version: str) -> HTTPScope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "server": None,  # the app has the addresses from the request
        "client": None,
        "scheme": "https" if connection.secure else "http",
        "method": request.method,
        "root_path": "",
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.raw_query,
        "headers": request.headers,
    }


def _nothing() -> None:
    pass
