"""Consensus as a script: who leads in which term, and members whose engine does not answer."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NoReturn

from bellcow.cluster.engine import Peer, Status
from bellcow.store.protocol import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable


class Votes:
    """What the members have agreed on. Shared by all servers of a world."""

    def __init__(self) -> None:
        self.term = 0
        self.leader: int | None = None

    def elect(self, member_id: int | None) -> None:
        """A new term, led by `member_id`; None: nobody has a majority, the term stays."""
        if member_id is not None:
            self.term += 1
        self.leader = member_id


def answers() -> bool:
    return True


def flapping(seed: int, rate: float) -> Callable[[], bool]:
    """An engine that does not answer at `rate` of the looks; the same ones for the same seed."""
    chance = random.Random(seed)
    return lambda: chance.random() >= rate


class ScriptedPeers:
    """One member's `Peers`. `reachable` is asked before each answer and may be replaced."""

    def __init__(self, votes: Votes, member_id: int, names: tuple[str, ...]) -> None:
        self.votes = votes
        self.member_id = member_id
        self.names = names
        self.reachable: Callable[[], bool] = answers
        self.frozen: Status | None = None

    def cut_off(self) -> None:
        """From now on this member believes what it knew last."""
        self.frozen = self.seen()

    async def status(self) -> Status:
        await asyncio.sleep(0)
        if not self.reachable():
            raise Unavailable("the engine beside us does not answer")
        return self.seen()

    def seen(self) -> Status:
        """What this member believes, whether it answers or not."""
        return self.frozen or Status(
            member_id=self.member_id, leader_id=self.votes.leader, term=self.votes.term
        )

    async def members(self) -> list[Peer]:
        return [
            Peer(member_id=number, server_id=name, address=f"{name}:4647", voter=True)
            for number, name in enumerate(self.names, 1)
        ]

    async def add(self, address: str) -> Peer:
        _no_script(address)

    async def promote(self, member_id: int) -> None:
        _no_script(member_id)

    async def update(self, member_id: int, address: str) -> None:
        _no_script(member_id, address)

    async def remove(self, member_id: int) -> None:
        _no_script(member_id)

    async def transfer(self, member_id: int) -> None:
        self.votes.elect(member_id)


def _no_script(*what: object) -> NoReturn:
    raise Unavailable(f"no script for this membership change: {what}")
