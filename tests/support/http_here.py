"""A whole server inside the test's own loop, in memory: for what a process hides.

Its leadership can be taken away, its two doors can be asked one after the other, and it listens on
a socket besides.
"""

from __future__ import annotations

import contextlib
import copy
import io
from typing import TYPE_CHECKING, NamedTuple

import httpx
import msgspec

from bellcow.agent.build import Environment, build, facts_of
from bellcow.agent.gauges import measure
from bellcow.agent.identity import itself_of
from bellcow.agent.log import Log
from bellcow.agent.metrics import Metrics
from bellcow.agent.peer_tls import peer_security
from bellcow.agent.running import running
from bellcow.agent.storage import open_storage
from bellcow.api.http.asgi import asgi
from bellcow.api.http.server import bind, serve
from bellcow.api.message import Request
from bellcow.api.pipeline.guards import Guards
from bellcow.api.pipeline.pipeline import Pipeline
from bellcow.api.routes.catalog import routes
from bellcow.clock import SystemClock, new_uuid
from bellcow.cluster.members.lookup import Lookups
from bellcow.cluster.transport.client import PeerClient
from bellcow.config.addresses import resolve_addresses
from bellcow.config.load import load
from bellcow.events import Level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bellcow.config.load import Loaded
    from bellcow.server import Server


class Here(NamedTuple):
    """One server, what answers for it, and where it listens."""

    server: Server
    pipeline: Pipeline
    port: int

    def request(self, method: str, target: str, token: str = "") -> Request:
        """A request as the protocol would hand it on."""
        path, _, query = target.partition("?")
        headers = [(b"host", b"localhost")]
        if token:
            headers.append((b"x-nomad-token", token.encode()))
        return Request(method, path, path.encode(), query.encode(), headers, "127.0.0.1")

    def copy_with(self, **parts: object) -> Pipeline:
        """Another pipeline of the same server, with parts of it replaced."""
        server = copy.copy(self.server)
        for name, part in parts.items():
            object.__setattr__(server, name, part)
        return Pipeline(server, Guards(loopback_only=True, names=[]), routes())

    def client(self) -> httpx.AsyncClient:
        """Through plain ASGI, without a socket."""
        transport = httpx.ASGITransport(asgi(self.pipeline))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@contextlib.asynccontextmanager
async def built(loaded: Loaded, *, prometheus: bool = True) -> AsyncIterator[Server]:
    """The product's server in memory, none of its tasks running."""
    settings, clock = loaded.settings, SystemClock()
    log = Log(clock, Level.ERROR, out=io.StringIO())
    metrics = Metrics(clock, host="", prometheus=prometheus)
    addresses = resolve_addresses(settings, True)
    itself = itself_of(settings, addresses, new_uuid(clock))
    security = peer_security(settings, [], None)
    storage = await open_storage(settings, addresses, itself, security, None, clock, log.report)
    assert storage.store is not None
    async with PeerClient(tls=security.call_with, names=security.gate.names) as transport:
        server = build(
            settings,
            itself=itself,
            storage=storage,
            folder=None,
            environment=Environment(
                clock=clock, transport=transport, lookup=Lookups().addresses, report=log.report
            ),
            facts=facts_of(loaded, addresses, log, metrics),
        )
        try:
            yield server
        finally:
            await storage.store.close()


@contextlib.asynccontextmanager
async def leading(loaded: Loaded, *, prometheus: bool = True) -> AsyncIterator[Server]:
    """The same server with all its tasks, from its first leadership on."""
    async with built(loaded, prometheus=prometheus) as server, running(server):
        yield server


@contextlib.asynccontextmanager
async def here(*, acl: bool = False, prometheus: bool = True) -> AsyncIterator[Here]:
    """The server running, and listening."""
    loaded = load([], dev=True)
    settings = loaded.settings
    settings = msgspec.structs.replace(
        settings, acl=msgspec.structs.replace(settings.acl, enabled=acl)
    )
    loaded = msgspec.structs.replace(loaded, settings=settings)
    async with leading(loaded, prometheus=prometheus) as server:
        pipeline = Pipeline(server, Guards(loopback_only=True, names=[]), routes())
        measure(server.facts.metrics, server, pipeline)
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        async with serve(
            pipeline, [listener], waiting=server.waiting, log=server.report, graceful_s=1.0
        ):
            yield Here(server, pipeline, port)
