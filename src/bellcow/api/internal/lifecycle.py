"""Calls between the lifecycles of two servers: form a cluster together, start a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.internal.gate import call_route
from bellcow.model.membership_calls import (
    BOOTSTRAP_PATH,
    MEMBER_PATH,
    BootstrapRequest,
    MemberOrder,
)

if TYPE_CHECKING:
    from bellcow.api.internal.gate import Route
    from bellcow.cluster.lifecycle.protocol import Lifecycle

REQUEST_BYTES = 256 << 10


def routes(lifecycle: Lifecycle) -> dict[tuple[str, str], Route]:
    return {
        ("POST", BOOTSTRAP_PATH): call_route(BootstrapRequest, lifecycle.promise, REQUEST_BYTES),
        ("POST", MEMBER_PATH): call_route(MemberOrder, lifecycle.obey, REQUEST_BYTES),
    }
