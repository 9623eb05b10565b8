"""Calls to the leader on the port between servers: join, leave, check one's own membership."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.internal.gate import Route
from bellcow.model.membership_calls import (
    JOIN_PATH,
    LEAVE_PATH,
    STANDING_PATH,
    JoinRequest,
    LeaveRequest,
    StandingRequest,
    decode,
    encode,
)

if TYPE_CHECKING:
    from bellcow.api.message import Request
    from bellcow.cluster.peers.requests import Membership

REQUEST_BYTES = 16 << 10


def routes(membership: Membership) -> dict[tuple[str, str], Route]:
    """A server that does not lead refuses all of them."""

    async def join(request: Request, body: bytes) -> bytes:
        del request
        return encode(await membership.admit(decode(body, JoinRequest)))

    async def leave(request: Request, body: bytes) -> bytes:
        del request
        return encode(await membership.leave(decode(body, LeaveRequest).server_id))

    async def standing(request: Request, body: bytes) -> bytes:
        del request
        return encode(await membership.standing(decode(body, StandingRequest)))

    return {
        ("POST", JOIN_PATH): Route(join, REQUEST_BYTES),
        ("POST", LEAVE_PATH): Route(leave, REQUEST_BYTES),
        ("POST", STANDING_PATH): Route(standing, REQUEST_BYTES),
    }
