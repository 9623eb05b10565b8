"""Requests of a server to the leader of its region: admission, and its own standing.

A failed request raises nothing; it is logged once a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import leader_of_region
from bellcow.cluster.members.schedule import target_of
from bellcow.deadline import timeout
from bellcow.errors import Error
from bellcow.model.membership_calls import (
    JOIN_PATH,
    STANDING_PATH,
    JoinRequest,
    Standing,
    StandingRequest,
    decode,
    encode,
)

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.roster import Roster
    from bellcow.cluster.members.schedule import Target
    from bellcow.throttle import Reminders

CALL_S = 2.0  # for an answer of the leader


class LeaderClient:
    """The requests of one server. Each goes to the server that leads at that time."""

    def __init__(
        self, roster: Roster, transport: Transport, clock: Clock, reminders: Reminders
    ) -> None:
        self._roster = roster
        self._transport = transport
        self._clock = clock
        self._reminders = reminders

    def target(self) -> Target | None:
        """The leader; None when there is none, or when this server leads."""
        table = self._roster.table
        known = table.known.get(leader_of_region(table, self._clock.monotonic()))
        return None if known is None else target_of(known.record)

    async def join(self, cluster_id: str) -> Standing | None:
        """Ask for admission with our present address and name; None without an answer.

        `cluster_id` is "" for a server in no cluster.
        """
        itself = self._roster.itself
        request = JoinRequest(
            server_id=itself.server_id,
            address=itself.rpc_address,
            name=itself.member_name,
            version=itself.version,
            cluster_id=cluster_id,
            non_voting=itself.non_voting,
            zone=itself.zone,
            upgrade_version=itself.upgrade_version,
        )
        return await self._ask(JOIN_PATH, encode(request), "join_refused")

    async def standing(self, member_id: int) -> Standing | None:
        """Our entry in the configuration, and whether this member still is one.

        None without an answer.
        """
        me = self._roster.itself.server_id
        request = StandingRequest(server_id=me, member_id=member_id)
        return await self._ask(STANDING_PATH, encode(request), "membership_unconfirmed")

    async def _ask(self, path: str, request: bytes, event: str) -> Standing | None:
        leader = self.target()
        if leader is None:
            return None
        try:
            async with timeout(CALL_S):
                return decode(await self._transport.post(leader, path, request), Standing)
        except (Error, TimeoutError) as error:
            self._reminders.report(event, reason=str(error) or "no answer in time")
            return None
