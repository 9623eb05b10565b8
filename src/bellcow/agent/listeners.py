"""What the listeners take from the settings: how much a client or a server may ask, and TLS."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

import msgspec

from bellcow.api.http.limits import HttpLimits, rooms
from bellcow.api.internal import gate

if TYPE_CHECKING:
    from bellcow.config import model


# Nomad: one connection between servers carries many requests at once. Here each has its own.
REQUESTS_PER_CONNECTION = 40


MOST_FILES = 1 << 20  # what is asked of the system


def raise_file_limit() -> None:
    """Let this process have as many open files as the system gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _bounded(soft) < _bounded(hard):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (_bounded(hard), hard))


def _bounded(files: int) -> int:
    return MOST_FILES if files == resource.RLIM_INFINITY else min(files, MOST_FILES)


def open_file_limit() -> int:
    """Open files that this process may have."""
    return _bounded(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def http_limits(limits: model.Limits) -> HttpLimits:
    clients, _ = rooms(open_file_limit())
    return HttpLimits(
        connections=clients,
        handshake_s=limits.https_handshake_timeout.s,
        connections_per_client=limits.http_max_conns_per_client,
    )


def peer_limits(limits: model.Limits) -> HttpLimits:
    """Of the port between servers."""
    _, servers = rooms(open_file_limit())
    return msgspec.structs.replace(
        gate.LIMITS,
        connections=servers,
        handshake_s=limits.rpc_handshake_timeout.s,
        connections_per_client=limits.rpc_max_conns_per_client * REQUESTS_PER_CONNECTION,
    )
