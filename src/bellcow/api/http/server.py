"""Starts and stops uvicorn on our sockets: its options, accepting, and the order of stopping.

It must not know requests. Several servers may run in one loop, so signals and logging are left
to the caller: nothing here handles a signal or writes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from uvicorn import Config, Server

from bellcow.api.http.asgi import asgi
from bellcow.api.http.connection import Connection
from bellcow.api.http.limits import Clients, FailedHandshakes, HttpLimits
from bellcow.api.http.shared import Shared
from bellcow.api.http.tls_handshake import Handshake
from bellcow.deadline import timeout

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bellcow.api.message import App
    from bellcow.events import Report
    from bellcow.state.waiting import Waiting

_BACKLOG: Final = 2048
_CLEAN_UP_S: Final = 1.0  # for canceled tasks to close what they have open


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 means a free one.

    Raises:
        OSError: nothing can listen there; the text names the address.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, number)
    except OSError as fault:
        raise OSError(fault.errno, f"cannot listen on {host}:{port}: {fault.strerror}") from fault
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as fault:
        sock.close()
        raise OSError(fault.errno, f"cannot listen on {host}:{port}: {fault.strerror}") from fault
    return sock


@contextlib.asynccontextmanager
async def serve(
    app: App,
    listen: Sequence[socket.socket],
    *,
    ssl_context: ssl.SSLContext | None = None,
    limits: HttpLimits | None = None,
    clients: Clients | None = None,
    waiting: Waiting,
    log: Report,
    graceful_s: float = 5.0,
) -> AsyncIterator[Listener]:
    """Answer on `listen` inside the context. `clients` counts the connections.

    On exit the sockets are closed, blocking queries are answered with the present state, and other
    running requests get `graceful_s` seconds to end.
    """
    server = Listener(
        app,
        ssl_context=ssl_context,
        limits=limits or HttpLimits(),
        clients=clients or Clients(0),
        waiting=waiting,
        log=log,
        graceful_s=graceful_s,
    )
    with _uvicorn_logs_to(log):
        await server.start(listen)
        try:
            yield server
        finally:
            await server.stop(listen)


class Listener(Server):
    """uvicorn's server with a start and a stop of our own, without signals or a main loop."""

    def __init__(
        self,
        app: App,
        *,
        ssl_context: ssl.SSLContext | None,
        limits: HttpLimits,
        clients: Clients,
        waiting: Waiting,
        log: Report,
        graceful_s: float,
    ) -> None:
        config = Config(
            asgi(app, limits),
            http=Connection,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=math.ceil(limits.keep_alive_s),
        )
        super().__init__(config)
        config.load()
        self.lifespan = config.lifespan_class(config)
        self.graceful_s = graceful_s
        self._ssl_context = ssl_context
        self._handshakes: set[Handshake] = set()
        self._failed_handshakes = FailedHandshakes()
        self._ticker: asyncio.TimerHandle | None = None
        self._shared = Shared(
            app,
            config=config,
            state=self.server_state,
            limits=limits,
            clients=clients,
            waiting=waiting,
            log=log,
        )

    async def start(self, listen: Sequence[socket.socket]) -> None:
        """Accept connections on `listen`."""
        self._tick()
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock in listen:
            self.servers.append(await loop.create_server(self._accept, sock=sock, backlog=_BACKLOG))
        self.started = True

    def _accept(self) -> asyncio.Protocol:
        if self._ssl_context is None:
            return Connection(self._shared)
        return Handshake(self._shared, self._ssl_context, self._handshakes, self._failed_handshakes)

    def reconfigure(self, limits: HttpLimits, ssl_context: ssl.SSLContext | None) -> None:
        """Replace the limits, and the TLS context of new handshakes.

        Open connections stay, unless TLS is switched on or off: then those of the other kind are
        shut down.
        """
        self._shared.limit(limits)
        self._ssl_context = ssl_context
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection) and connection.secure == (ssl_context is None):
                connection.shutdown()

    def _tick(self) -> None:
        """Set the Date header of all answers, once a second."""
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._ticker = asyncio.get_running_loop().call_later(1.0, self._tick)

    async def stop(self, listen: Sequence[socket.socket]) -> None:
        """Close `listen` and end all connections (`serve`)."""
        for handshake in list(self._handshakes):
            handshake.stop()
        for server in self.servers:
            server.close()
        for sock in listen:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with timeout(self.graceful_s):
                await self._wait_until_idle()
        except TimeoutError:
            await self._cancel_all()
        if self._ticker is not None:
            self._ticker.cancel()

    async def _wait_until_idle(self) -> None:
        state = self.server_state
        while state.connections or state.tasks:  # noqa: ASYNC110  uvicorn's sets, and a rare wait
            await asyncio.sleep(0.01)

    async def _cancel_all(self) -> None:
        """Cancel what still runs, which answers it with a 500, and abort all connections."""
        state = self.server_state
        tasks = set(state.tasks)
        if not tasks and not state.connections:
            return
        self._shared.log("http_stop_overdue", connections=len(state.connections), tasks=len(tasks))
        for connection in list(state.connections):
            if isinstance(connection, Connection):
                connection.cancel_task()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLEAN_UP_S)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


class _Relay(logging.Handler):
    def __init__(self, log: Report) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log("http_server", message=record.getMessage())


@contextlib.contextmanager
def _uvicorn_logs_to(log: Report) -> Iterator[None]:
    """Send uvicorn's log lines to `log`. With several servers, the first one's gets them all."""
    logger = logging.getLogger("uvicorn.error")
    if any(isinstance(handler, _Relay) for handler in logger.handlers):
        yield
        return
    relay = _Relay(log)
    logger.addHandler(relay)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(relay)
        logger.propagate = before
