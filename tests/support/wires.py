"""Servers that exchange hellos over real sockets on loopback, all in one process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING

from tests.sim.net import Host, itself

from bellcow.agent.peer_tls import PeerSecurity, peer_security
from bellcow.api.http.server import bind, serve
from bellcow.api.internal.gate import LIMITS, Gate, Internal, StreamRoute, routes
from bellcow.clock import SystemClock
from bellcow.cluster.transport.client import PeerClient
from bellcow.config.model import Settings
from bellcow.config.server_block import Server
from bellcow.gocompat.duration import NS_PER_S
from bellcow.state.waiting import Waiting

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from bellcow.api.http.limits import HttpLimits
    from bellcow.api.internal.gate import StreamHandler
    from bellcow.clock import Clock
    from bellcow.cluster.transport.server_names import ServerNames

KEY = bytes(range(32))


def keyed(key: bytes, region: str = "global") -> PeerSecurity:
    """The TLS contexts that a server derives from this key at one start; none without a key."""
    server = Server(encrypt=base64.b64encode(key).decode())
    return peer_security(Settings(region=region, server=server), ["127.0.0.1"], None)


def client_of(key: bytes = b"") -> PeerClient:
    """A client with the TLS context of a server with this key."""
    if not key:
        return PeerClient()
    made = keyed(key)
    return PeerClient(tls=made.call_with, names=made.gate.names)


@contextlib.asynccontextmanager
async def host(
    name: str,
    *,
    region: str = "global",
    key: bytes = b"",
    serve_with: ssl.SSLContext | None = None,
    call_with: ssl.SSLContext | None = None,
    names: ServerNames | None = None,
    join: Host | None = None,
    clock: Clock | None = None,
    limits: HttpLimits = LIMITS,
    run: bool = True,
    streams: Mapping[str, StreamHandler] | None = None,
) -> AsyncIterator[Host]:
    """A server that listens at its serf address, and calls others if `run`.

    With a key it uses the TLS contexts derived from it. `streams` are handlers of further paths,
    each with a body of a megabyte at most.
    """
    clock = clock or SystemClock()
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    me = itself(name, region, rpc=("127.0.0.1", port), serf=("127.0.0.1", port))
    if key:
        made = keyed(key, region)
        serve_with, call_with, names = made.serve_with, made.call_with, made.gate.names
    gate = Gate(region=region, names=names)
    async with PeerClient(tls=call_with, names=names) as client:
        joins = (join.roster.itself.serf,) if join else ()
        server = Host(me, clock, lambda _: client, joins)
        table = routes(server.exchange, gate)
        for path, handle in (streams or {}).items():
            table["POST", path] = StreamRoute(handle, 1 << 20)
        app = Internal(table, gate, clock, server.report)
        async with (
            serve(
                app,
                [listener],
                ssl_context=serve_with,
                limits=limits,
                waiting=Waiting(),
                log=server.report,
                graceful_s=0.1,
            ),
            asyncio.TaskGroup() as group,
        ):
            if run:
                server.start(group)
            try:
                yield server
            finally:
                await server.stop()


def with_clock_ahead(seconds: float) -> Clock:
    return _Ahead(seconds)


class _Ahead(SystemClock):
    def __init__(self, seconds: float) -> None:
        self._ahead_ns = round(seconds * NS_PER_S)

    def wall_ns(self) -> int:
        return super().wall_ns() + self._ahead_ns
