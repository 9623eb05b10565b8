"""What the settings say about joining others: once, or for so many tries, and then the agent ends.

The hellos themselves are the exchange's; this only looks whether anybody has answered.
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

LOOK_S = 0.2


class JoinError(Exception):
    """Nobody to join was found. The message is the last one the agent says."""


async def join_at_start(
    settings: model.Settings, exchange: Exchange, roster: Roster, knock: Knock = knock_over_tcp
) -> None:
    """Try `start_join` once; then count the time that `retry_join` has. Raises JoinError.

    Nomad: N further tries are N + 1 in all.
    """
    told = server_join(settings)
    if told.start_join:
        await _once(told.start_join, exchange, knock)
    if not told.retry_join or not told.retry_max:
        return
    for _ in range(told.retry_max + 1):
        if await _somebody(roster, told.retry_interval.s):
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


async def _somebody(roster: Roster, seconds: float) -> bool:
    """Whether another server of our region answers within this time."""
    waited = 0.0
    while waited < seconds:
        if roster.contacts() or len(roster.alive()) > 1:
            return True
        await asyncio.sleep(LOOK_S)
        waited += LOOK_S
    return False
