"""What the settings say about joining others: once, or for so many tries, and then the agent ends.

The hellos themselves are the exchange's; this only looks whether anybody has answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.acl.policy import several_errors
from bellcow.config.derive import server_join
from bellcow.config.joins import split_join_address
from bellcow.errors import Error

if TYPE_CHECKING:
    from bellcow.cluster.hello import Exchange
    from bellcow.cluster.roster import Roster
    from bellcow.config import model

LOOK_S = 0.2


class JoinError(Exception):
    """Nobody to join was found. The message is the last one the agent says."""


async def join_at_start(settings: model.Settings, exchange: Exchange, roster: Roster) -> None:
    """Try `start_join` once; then count the time that `retry_join` has. Raises JoinError.

    Nomad: N further tries are N + 1 in all.
    """
    join = server_join(settings)
    if join.start_join:
        await _once(join.start_join, exchange)
    if not join.retry_join or not join.retry_max:
        return
    for _ in range(join.retry_max + 1):
        if await _somebody(roster, join.retry_interval.s):
            return
    raise JoinError("max join retry exhausted, exiting")


async def _once(addresses: tuple[str, ...], exchange: Exchange) -> None:
    failures = []
    for text in addresses:
        try:
            await exchange.join(split_join_address(text))
        except Error as error:
            failures.append(f"Failed to join {text}: {error.message}")
        else:
            return
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
