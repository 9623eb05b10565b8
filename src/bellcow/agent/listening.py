"""What the listeners take from the settings: how much a client or a server may ask, and TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.api import internal
from bellcow.api.limits import HttpLimits

if TYPE_CHECKING:
    from bellcow.config import model


# Nomad: one connection between servers carries many requests at once. Here each has its own.
REQUESTS_PER_CONNECTION = 40


def http_limits(limits: model.Limits) -> HttpLimits:
    return HttpLimits(
        handshake_s=limits.https_handshake_timeout.s,
        connections_per_client=limits.http_max_conns_per_client,
    )


def peer_limits(limits: model.Limits) -> HttpLimits:
    """Of the port between servers."""
    return msgspec.structs.replace(
        internal.LIMITS,
        handshake_s=limits.rpc_handshake_timeout.s,
        connections_per_client=limits.rpc_max_conns_per_client * REQUESTS_PER_CONNECTION,
    )
