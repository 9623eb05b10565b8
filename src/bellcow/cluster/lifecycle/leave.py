"""How a server leaves: it announces `leaving`, the leader removes it, it announces `left`.

The leader applies the quorum rule. Where it refuses, or where there is no leader, the server stays.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from bellcow.cluster.members.schedule import target_of
from bellcow.deadline import timeout, timeout_at
from bellcow.errors import Code, Error, no_leader
from bellcow.model.membership_calls import LEAVE_PATH, LeaveRequest, encode
from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.roster import Roster
    from bellcow.model.hello import Status
    from bellcow.model.membership_calls import Standing

ANNOUNCE_S = 0.4  # for an announcement, as dead servers do not answer it


class Announcer(Protocol):
    """What leaving needs of the exchange."""

    async def announce(self, status: Status) -> None: ...


class Lead(Protocol):
    """What leaving needs of leadership."""

    @property
    def is_leader(self) -> bool: ...

    @property
    def leader_id(self) -> str: ...


class Remover(Protocol):
    """What leaving needs of membership."""

    async def leave(self, server_id: str) -> Standing: ...


async def leave(
    *,
    roster: Roster,
    exchange: Announcer,
    lead: Lead,
    membership: Remover,
    transport: Transport,
    within_s: float,
) -> None:
    """Leave the cluster within that many seconds.

    Raises:
        Error: UNAVAILABLE, this server was not removed.
    """
    until = asyncio.get_running_loop().time() + within_s - ANNOUNCE_S
    await _announce(exchange, "leaving")
    try:
        async with timeout_at(until):
            await _be_removed(roster, lead, membership, transport)
    except (Error, StoreError, TimeoutError) as error:
        # It stops all the same, and then must count as failed, not as left.
        await _announce(exchange, "alive")
        reason = str(error) or f"not removed from the cluster within {within_s:.1f} s"
        raise Error(Code.UNAVAILABLE, reason) from None
    await _announce(exchange, "left")


async def _announce(exchange: Announcer, status: Status) -> None:
    with contextlib.suppress(TimeoutError):
        async with timeout(ANNOUNCE_S):
            await exchange.announce(status)


async def _be_removed(
    roster: Roster, lead: Lead, membership: Remover, transport: Transport
) -> None:
    me = roster.itself.server_id
    if lead.is_leader:
        await membership.leave(me)
        return
    known = roster.table.known.get(lead.leader_id)
    if known is None:
        raise no_leader()
    await transport.post(target_of(known.record), LEAVE_PATH, encode(LeaveRequest(server_id=me)))
