"""The listeners' limits, from the settings and the limit of open files; the server port."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

import msgspec

from bellcow.api.http.limits import HttpLimits, connection_limits
from bellcow.api.http.server import serve
from bellcow.api.internal import forward, gate, lifecycle, peers, replication
from bellcow.state.waiting import Waiting

if TYPE_CHECKING:
    import socket

    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.api.http.server import Listener
    from bellcow.api.internal.gate import AnyRoute, Gate
    from bellcow.api.pipeline.pipeline import Pipeline
    from bellcow.config import model
    from bellcow.server import Server


# Nomad: one connection between servers carries many requests at once. Ours carry one at a time.
REQUESTS_PER_CONNECTION = 40


MOST_FILES = 1 << 20  # the most that is requested from the system


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit, at most to MOST_FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _bounded(soft) < _bounded(hard):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (_bounded(hard), hard))


def _bounded(files: int) -> int:
    return MOST_FILES if files == resource.RLIM_INFINITY else min(files, MOST_FILES)


def open_file_limit() -> int:
    """The limit of open files of this process, at most MOST_FILES."""
    return _bounded(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def http_limits(limits: model.Limits) -> HttpLimits:
    clients, _ = connection_limits(open_file_limit())
    return HttpLimits(
        connections=clients,
        handshake_s=limits.https_handshake_timeout.s,
        connections_per_client=limits.http_max_conns_per_client,
    )


def peer_limits(limits: model.Limits) -> HttpLimits:
    """The limits of the port between servers."""
    _, servers = connection_limits(open_file_limit())
    return msgspec.structs.replace(
        gate.LIMITS,
        connections=servers,
        handshake_s=limits.rpc_handshake_timeout.s,
        connections_per_client=limits.rpc_max_conns_per_client * REQUESTS_PER_CONNECTION,
    )


def cluster_routes(server: Server, door: Gate) -> dict[tuple[str, str], AnyRoute]:
    """What the servers of a cluster ask each other, besides the requests of clients."""
    return {
        **gate.routes(server.exchange, door),
        **lifecycle.routes(server.lifecycle),
        **peers.routes(server.membership),
        **replication.routes(server.tables, server.mirror.ring, server.lifecycle.serves),
    }


def serve_peers(
    server: Server, pipeline: Pipeline, security: PeerSecurity, listener: socket.socket
) -> contextlib.AbstractAsyncContextManager[Listener]:
    """Answer other servers at this port while the context lasts."""
    routes = {**cluster_routes(server, security.gate), **forward.routes(pipeline, security.gate)}
    return serve(
        gate.Internal(routes, security.gate, server.clock, server.report),
        [listener],
        ssl_context=security.serve_with,
        limits=peer_limits(server.settings.limits),
        waiting=Waiting(),
        log=server.report,
        graceful_s=0.0,
    )
