"""Calls between the lifecycles of two servers: form a cluster together, start a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.internal.gate import Route
from bellcow.model.membership_calls import (
    BOOTSTRAP_PATH,
    MEMBER_PATH,
    BootstrapRequest,
    MemberOrder,
    decode,
    encode,
)

if TYPE_CHECKING:
    from bellcow.api.message import Request
    from bellcow.cluster.lifecycle.protocol import Lifecycle

REQUEST_BYTES = 256 << 10


def routes(lifecycle: Lifecycle) -> dict[tuple[str, str], Route]:
    async def bootstrap(request: Request, body: bytes) -> bytes:
        del request
        return encode(await lifecycle.promise(decode(body, BootstrapRequest)))

    async def member(request: Request, body: bytes) -> bytes:
        del request
        return encode(await lifecycle.obey(decode(body, MemberOrder)))

    return {
        ("POST", BOOTSTRAP_PATH): Route(bootstrap, REQUEST_BYTES),
        ("POST", MEMBER_PATH): Route(member, REQUEST_BYTES),
    }
