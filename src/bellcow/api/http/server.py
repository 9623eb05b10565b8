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
from typing import TYPE_CHECKING, Final, cast

from uvicorn import Config, Server

from bellcow.api.http.asgi import asgi
from bellcow.api.http.connection import Connection, Site
from bellcow.api.http.limits import Clients, FailedHandshakes, HttpLimits
from bellcow.cluster.transport.client import WITHOUT_TLS
from bellcow.deadline import timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bellcow.api.message import App
    from bellcow.events import Report
    from bellcow.state.waiting import Waiting

_BACKLOG: Final = 2048
_NO_LIMIT_S: Final = 86_400.0
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
    clients: Clients | None = None,
    waiting: Waiting,
    log: Report,
    graceful_s: float = 5.0,
) -> AsyncIterator[Listener]:
    """Answer on `listen` while inside; the sockets are closed on leaving. `clients` are counted.

    On leaving: no new connections, blocking queries are answered as things stand, what is being
    answered gets `graceful_s` to end.
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
    with _uvicorn_speaks_to(log):
        await server.start(listen)
        try:
            yield server
        finally:
            await server.stop(listen)


# A record of TLS begins with a byte that no method begins with.
_PLAIN_HTTP = tuple(
    method.encode()
    for method in ("GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ")
)
_WITHOUT_TLS = f"HTTP/1.0 400 Bad Request\r\n\r\n{WITHOUT_TLS}\n".encode()


class Listener(Server):
    """uvicorn's state and options, with a start and a stop that need no signals or main loop."""

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
        self._handshakes: set[_Handshake] = set()
        self._failed_handshakes = FailedHandshakes()
        self._ticker: asyncio.TimerHandle | None = None
        self._site = Site(
            app,
            config=config,
            state=self.server_state,
            limits=limits,
            clients=clients,
            waiting=waiting,
            log=log,
        )

    async def start(self, listen: Sequence[socket.socket]) -> None:
        self._tick()
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock in listen:
            self.servers.append(await loop.create_server(self._accept, sock=sock, backlog=_BACKLOG))
        self.started = True

    def _accept(self) -> asyncio.Protocol:
        if self._ssl_context is None:
            return Connection(self._site)
        return _Handshake(self._site, self._ssl_context, self._handshakes, self._failed_handshakes)

    def take(self, limits: HttpLimits, ssl_context: ssl.SSLContext | None) -> None:
        """Other limits, and other TLS for the handshakes to come.

        Open connections stay, but for those that are on the wrong side of TLS from now on.
        """
        self._site.take(limits)
        self._ssl_context = ssl_context
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection) and connection.secure == (ssl_context is None):
                connection.shutdown()

    def _tick(self) -> None:
        """The date of all answers, once a second."""
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._ticker = asyncio.get_running_loop().call_later(1.0, self._tick)

    async def stop(self, listen: Sequence[socket.socket]) -> None:
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
        tasks = set(state.tasks)
        if not tasks and not state.connections:
            return
        self._site.log("http_stop_overdue", connections=len(state.connections), tasks=len(tasks))
        for connection in list(state.connections):
            if isinstance(connection, Connection):
                connection.give_up()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_TURN_S)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


class _Handshake(asyncio.Protocol):
    """A client of the TLS port until its handshake is done; counted and timed from the start.

    The handshake begins with the first bytes, so that silence costs no TLS state, and it is ours to
    begin, because only then are we told why it failed.
    """

    def __init__(
        self,
        site: Site,
        context: ssl.SSLContext,
        all_of_them: set[_Handshake],
        failed: FailedHandshakes,
    ) -> None:
        self._site = site
        self._context = context
        self._all = all_of_them
        self._failures = failed
        self._connection = Connection(site, secure=True)
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self._done = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._connection.admit(self._transport):
            return
        loop = asyncio.get_running_loop()
        self._all.add(self)
        allowed_s = self._site.limits.handshake_s or _NO_LIMIT_S
        self._due = loop.time() + allowed_s
        self._timer = loop.call_later(allowed_s, self._give_up)

    def _give_up(self) -> None:
        self._failed("nothing was received")
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        self._all.discard(self)
        self._connection.leave()

    def _failed(self, reason: str) -> None:
        self._leave()
        peer = self._connection.peer
        self._site.say("tls_handshake_failed", client=peer, key=f"{peer} {reason}", reason=reason)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._done:  # lost in the very moment of handing over
            self._connection.connection_lost(exc)
        else:
            self._leave()

    def data_received(self, data: bytes) -> None:
        """The client's first bytes; later, what came with the end of the handshake."""
        self._received += data
        if self._task is not None or self._transport is None or self._timer is None:
            return
        self._timer.cancel()
        if self._received.startswith(_PLAIN_HTTP):
            self._failed("HTTP without TLS")
            self._transport.write(_WITHOUT_TLS)
            self._transport.close()
            return
        if self._failures.too_many(self._connection.peer, asyncio.get_running_loop().time()):
            self._failed("too many from this address have failed within a second")
            self._transport.abort()
            return
        self._transport.pause_reading()
        first, self._received = self._received, b""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._shake_hands(self._transport))
        # The task's first step installs TLS with the turn after it; the bytes follow right behind.
        loop.call_soon(loop.call_soon, self._replay, self._transport, first)

    @staticmethod
    def _replay(transport: asyncio.Transport, data: bytes) -> None:
        tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
        while data and not transport.is_closing():
            buffer = cast("memoryview", tls.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            tls.buffer_updated(size)
            data = data[size:]

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=max(0.001, self._due - loop.time()),
            )
        except OSError as fault:
            self._failures.count(self._connection.peer, loop.time())
            self._failed(_reason(fault))
            return
        if secured is None or secured.is_closing():
            self._leave()
            return
        self._all.discard(self)
        self._done = True
        secured.set_protocol(self._connection)
        self._connection.connection_made(secured)
        if self._received:
            self._connection.data_received(self._received)


def _reason(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLError) and fault.reason:
        return fault.reason.lower().replace("_", " ")
    return str(fault) or type(fault).__name__


class _Relay(logging.Handler):
    def __init__(self, log: Report) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log("http_server", message=record.getMessage())


@contextlib.contextmanager
def _uvicorn_speaks_to(log: Report) -> Iterator[None]:
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
