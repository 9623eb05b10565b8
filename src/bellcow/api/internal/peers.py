"""Calls to the leader on the port between servers: join, leave, check one's own membership."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.internal.gate import call_route
from bellcow.model.membership_calls import (
    JOIN_PATH,
    LEAVE_PATH,
    STANDING_PATH,
    JoinRequest,
    LeaveRequest,
    StandingRequest,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bellcow.api.internal.gate import Route
    from bellcow.cluster.peers.requests import Membership
    from bellcow.model.membership_calls import Standing

REQUEST_BYTES = 16 << 10


def routes(membership: Membership) -> dict[tuple[str, str], Route]:
    """A server that does not lead refuses all of them."""

    def leave(asked: LeaveRequest) -> Awaitable[Standing]:
        return membership.leave(asked.server_id)

    return {
        ("POST", JOIN_PATH): call_route(JoinRequest, membership.admit, REQUEST_BYTES),
        ("POST", LEAVE_PATH): call_route(LeaveRequest, leave, REQUEST_BYTES),
        ("POST", STANDING_PATH): call_route(StandingRequest, membership.standing, REQUEST_BYTES),
    }
