"""A connection of the HTTP server on a transport that records what it does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from bellcow.api.http.connection import Connection
from bellcow.api.http.limits import Clients, HttpLimits
from bellcow.api.http.server import Listener
from bellcow.state.waiting import Waiting

if TYPE_CHECKING:
    from tests.support.raw_http import FixedApp


class Wire(asyncio.Transport):
    """A transport that records."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.closing = False
        self.lost = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False


class FullWire(Wire):
    """Its buffer is full after each write, until `resume_writing` is called."""

    def write(self, data: Any) -> None:
        super().write(data)
        self.connection.pause_writing()


class LostWire(Wire):
    """Lost at the third write. The transport takes what is written and never pauses."""

    def write(self, data: Any) -> None:
        super().write(data)
        if len(self.written) == 3:
            self.closing = self.lost = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)
        if len(self.written) > 1_000:
            raise SystemExit("the stream goes on for a client that is gone")


@contextlib.contextmanager
def wired(app: FixedApp, wire: Wire | None = None):
    server = Listener(
        app,
        ssl_context=None,
        limits=HttpLimits(),
        clients=Clients(100),
        waiting=Waiting(),
        log=lambda event, /, **fields: None,
        graceful_s=1,
    )
    server._tick()
    connection = Connection(server._shared)
    wire = wire or Wire()
    wire.connection = connection
    connection.connection_made(wire)
    try:
        yield connection, wire
    finally:
        if not wire.lost:
            connection.connection_lost(None)
        server._ticker.cancel()
