"""Joining at the start: `start_join` once, `retry_join` up to its limit; then the agent ends.

The exchange sends the hellos of `retry_join`; this module only checks whether a server answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.cluster.members.join import join, knock_over_tcp
from bellcow.config.derive import server_join
from bellcow.config.joins import split_join_address
from bellcow.gocompat.multierror import several_errors

if TYPE_CHECKING:
    from bellcow.cluster.members.exchange import Exchange
    from bellcow.cluster.members.join import Knock
    from bellcow.cluster.members.roster import Roster
    from bellcow.config import model

LOOK_S = 0.2  # between two checks for an answer


class JoinError(Exception):
    """No server to join was found. The agent prints the message and ends."""


async def join_at_start(
    settings: model.Settings, exchange: Exchange, roster: Roster, knock: Knock = knock_over_tcp
) -> None:
    """Try `start_join` once; then limit the time of `retry_join`.

    Nomad: `retry_max` N allows N + 1 tries.

    Raises:
        JoinError: no server was joined.
    """
    servers = server_join(settings)
    if servers.start_join:
        await _once(servers.start_join, exchange, knock)
    if not servers.retry_join or not servers.retry_max:
        return
    for _ in range(servers.retry_max + 1):
        if await _is_answered(roster, servers.retry_interval.s):
            return
    raise JoinError("max join retry exhausted, exiting")


async def _once(addresses: tuple[str, ...], exchange: Exchange, knock: Knock) -> None:
    failures: list[str] = []
    for text in addresses:
        joined = await join(split_join_address(text), exchange, knock)
        if joined.servers:
            return
        failures += joined.failures
    raise JoinError(several_errors(failures))


async def _is_answered(roster: Roster, seconds: float) -> bool:
    """Whether another server of this region answers within that many seconds."""
    waited = 0.0
    while waited < seconds:
        if roster.contacts() or len(roster.alive()) > 1:
            return True
        await asyncio.sleep(LOOK_S)
        waited += LOOK_S
    return False
