"""Starts and stops uvicorn on our sockets: options, accepting, TLS handshakes, order of stopping.

It knows nothing of requests. Several servers may run in one loop, so signals and logging stay with
the caller: nothing here installs a handler for the one or writes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import ssl
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from uvicorn import Config, Server

from bellcow.api.asgi import asgi
from bellcow.api.protocol import Connection, HttpLimits, Log, Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bellcow.api.message import App
    from bellcow.state.waiting import Waiting

_BACKLOG: Final = 2048
_LAST_TURN_S: Final = 1.0  # for cancelled tasks to close what they hold


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. OSError names the address."""
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
    waiting: Waiting,
    log: Log,
    graceful_s: float = 5.0,
) -> AsyncIterator[None]:
    """Answer on `listen` while inside; the sockets are closed on leaving.

    On leaving: no new connections, blocking queries are answered as things stand, what is being
    answered gets `graceful_s` to end.
    """
    server = _Server(
        app,
        ssl_context=ssl_context,
        limits=limits or HttpLimits(),
        waiting=waiting,
        log=log,
        graceful_s=graceful_s,
    )
    with _uvicorn_speaks_to(log):
        await server.start(listen)
        try:
            yield
        finally:
            await server.stop(listen)


class _Server(Server):
    """uvicorn's state and options, with a start and a stop that need no signals or main loop."""

    def __init__(
        self,
        app: App,
        *,
        ssl_context: ssl.SSLContext | None,
        limits: HttpLimits,
        waiting: Waiting,
        log: Log,
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
        self._graceful_s = graceful_s
        self._ssl_context = ssl_context
        self._shaking: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._site = Site(
            app, config=config, state=self.server_state, limits=limits, waiting=waiting, log=log
        )

    async def start(self, listen: Sequence[socket.socket]) -> None:
        self._tick()
        loop = asyncio.get_running_loop()
        accept = self._accept_plain if self._ssl_context is None else self._accept_tls
        self.servers = []
        for sock in listen:
            self.servers.append(await loop.create_server(accept, sock=sock, backlog=_BACKLOG))
        self.started = True

    def _accept_plain(self) -> asyncio.Protocol:
        return Connection(self._site)

    def _accept_tls(self) -> asyncio.Protocol:
        return _Handshake(self)

    def _tick(self) -> None:
        """The date of all answers, once a second."""
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._ticker = asyncio.get_running_loop().call_later(1.0, self._tick)

    def begin_tls(self, transport: asyncio.Transport) -> None:
        connection = Connection(self._site, secure=True)
        if not connection.admit(transport):
            return
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport, connection))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, transport: asyncio.Transport, connection: Connection) -> None:
        if self._ssl_context is None:
            raise RuntimeError("a TLS handshake on a plain listener")
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                connection,
                self._ssl_context,
                server_side=True,
                ssl_handshake_timeout=self._site.limits.handshake_s,
            )
        except (OSError, EOFError) as fault:
            connection.leave()
            self._site.log("tls_handshake_failed", client=connection.peer, reason=_reason(fault))
        except asyncio.CancelledError:
            connection.leave()
            raise
        else:
            if secured is None:
                connection.leave()
            else:
                connection.connection_made(secured)

    async def stop(self, listen: Sequence[socket.socket]) -> None:
        for task in self._shaking:
            task.cancel()
        for server in self.servers:
            server.close()
        for sock in listen:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._graceful_s):
                await self._drained()
        except TimeoutError:
            await self._cut()
        if self._ticker is not None:
            self._ticker.cancel()

    async def _drained(self) -> None:
        state = self.server_state
        while state.connections or state.tasks:  # noqa: ASYNC110  uvicorn's sets, and a rare wait
            await asyncio.sleep(0.01)

    async def _cut(self) -> None:
        """What is still being answered gets a 500; whoever does not even read that is cut off."""
        state = self.server_state
        tasks = state.tasks | self._shaking
        self._site.log("http_stop_overdue", connections=len(state.connections), tasks=len(tasks))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_TURN_S)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


class _Handshake(asyncio.Protocol):
    """A TCP connection until its TLS handshake begins; counted before, as handshakes are dear."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.pause_reading()
            self._server.begin_tls(transport)


def _reason(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLError) and fault.reason:
        return fault.reason.lower().replace("_", " ")
    return str(fault) or type(fault).__name__


class _Relay(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log("http_server", message=record.getMessage())


@contextlib.contextmanager
def _uvicorn_speaks_to(log: Log) -> Iterator[None]:
    """What uvicorn has to say goes to `log`; of several servers, to that of the first."""
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
