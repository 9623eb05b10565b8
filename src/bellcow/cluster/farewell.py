"""A server goes for good: it says that it is leaving, the leader takes it out, it says it has left.

The quorum rule is the leader's. Where it refuses, or nobody leads, the server stays a member.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from bellcow.cluster.calls import target_of
from bellcow.errors import Code, Error, no_leader
from bellcow.model.between import LEAVE_PATH, LeaveRequest, encode
from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from bellcow.cluster.hello import Line
    from bellcow.cluster.roster import Roster
    from bellcow.model.between import Standing
    from bellcow.model.hello import Status

LEAVE_S = 4.0  # for the leader to take it out: a stop shall not wait longer


class Announcer(Protocol):
    """What is needed of the exchange."""

    async def announce(self, status: Status) -> None: ...


class Lead(Protocol):
    """What is needed of leadership."""

    @property
    def is_leader(self) -> bool: ...

    @property
    def leader_id(self) -> str: ...


class Going(Protocol):
    """What is needed of membership."""

    async def leave(self, server_id: str) -> Standing: ...


async def leave(
    *, roster: Roster, exchange: Announcer, lead: Lead, membership: Going, line: Line
) -> None:
    """Leave the cluster. Raises Error with why this server is still one of it."""
    await exchange.announce("leaving")
    try:
        async with asyncio.timeout(LEAVE_S):
            await _be_taken_out(roster, lead, membership, line)
    except (Error, StoreError, TimeoutError) as error:
        # It stops all the same, and shall be missed as any other that stops.
        await exchange.announce("alive")
        reason = str(error) or f"not out of the cluster within {LEAVE_S:g} s"
        raise Error(Code.UNAVAILABLE, reason) from None
    await exchange.announce("left")


async def _be_taken_out(roster: Roster, lead: Lead, membership: Going, line: Line) -> None:
    me = roster.itself.server_id
    if lead.is_leader:
        await membership.leave(me)
        return
    known = roster.table.known.get(lead.leader_id)
    if known is None:
        raise no_leader()
    await line.post(target_of(known.record), LEAVE_PATH, encode(LeaveRequest(server_id=me)))
