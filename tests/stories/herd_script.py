"""The commands of stories about membership, on a herd."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.sim.store import Fault
from tests.stories.script import Script

from bellcow.errors import Error

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from tests.sim.herd import Herd
    from tests.sim.peers import Change


class HerdScript(Script):
    """One story of membership."""

    def __init__(self, herd: Herd, folder: Path) -> None:
        super().__init__(herd, folder)
        self._herd = herd

    async def do_join(self, name: str) -> list[str]:
        """Start a server if it is down; it asks the leader for admission."""
        if name not in self._herd.servers:
            self._herd.start(name)
            await asyncio.sleep(0.01)
        try:
            standing = await self._herd.ask_to_join(name)
        except Error as error:
            return [f"{error.code.value}: {error.message}"]
        return [f"{name} is in, {'with' if standing.voter else 'without'} a vote"]

    async def do_remove(self, name: str, force: str = "") -> list[str]:
        return [
            await self._outcome_of(
                (await self._herd.leading()).membership.remove(name, force=force == "force")
            )
        ]

    async def do_removing(self, label: str, name: str) -> None:
        """Remove without waiting for the answer."""
        work = self._outcome_of((await self._herd.leading()).membership.remove(name))
        self._sent[label] = asyncio.get_running_loop().create_task(work)
        await asyncio.sleep(0)

    async def do_leave(self, name: str) -> list[str]:
        self._herd.going.add(name)
        return [await self._outcome_of((await self._herd.leading()).membership.leave(name))]

    async def do_force_leave(self, name: str, *words: str) -> list[str]:
        membership = (await self._herd.leading()).membership
        work = membership.force_leave(
            f"{name}.global", prune="prune" in words, force="force" in words
        )
        return [await self._outcome_of(work)]

    async def do_transfer(self, name: str) -> list[str]:
        return [await self._outcome_of((await self._herd.leading()).membership.transfer(name))]

    async def do_promote(self, name: str) -> list[str]:
        return [await self._outcome_of((await self._herd.leading()).membership.promote(name))]

    async def do_demote(self, name: str) -> list[str]:
        return [await self._outcome_of((await self._herd.leading()).membership.demote(name))]

    async def _outcome_of(self, work: Awaitable[object]) -> str:
        began = self._herd.clock.monotonic()
        try:
            await work
        except Error as error:
            return f"{error.code.value}: {error.message}"
        return f"done in {self._herd.clock.monotonic() - began:.1f} s"

    async def do_kill_after(self, step: str) -> None:
        """Kill the leader right after the next `add`, `start` or `promote`."""
        self._herd.dies = ((await self._herd.leading()).name, step)

    async def do_wipe(self, name: str) -> None:
        """Remove the files of a server that is down."""
        self._herd.wiped.add(name)

    async def do_move(self, name: str, address: str) -> None:
        """Change a server's address from its next start on."""
        self._herd.addresses[name] = address

    async def do_stray(self, address: str) -> None:
        """Add a non-voting member that no change is about."""
        self._herd.stray(address)

    async def do_vote_faults(self, change: Change, *faults: str) -> None:
        """Make the next changes of that kind fail, in this order."""
        left = [None if each == "-" else Fault[each.upper()] for each in faults]

        def ask(asked: Change) -> Fault | None:
            return left.pop(0) if asked == change and left else None

        self._herd.votes.fault = ask

    async def do_settle(self) -> None:
        await self._herd.settle()

    async def do_tune(self, *words: str) -> list[str]:
        return await super().do_tune((await self._herd.leading()).name, *words)

    async def do_who(self) -> list[str]:
        """The stored configuration, and the members of the consensus."""
        stored, votes = self._herd.stored(), self._herd.votes
        entries = [
            f"{each.id}{'' if each.voter else ' (no vote)'}"
            + ("" if each.address == f"{each.id}:4647" else f" at {each.address}")
            for each in stored.servers
        ]
        change = stored.change
        under_way = f"; {change.kind} {change.server_id} under way" if change else ""
        members = [
            f"{each.member_id}={each.server_id or '?'}{'' if each.voter else ' (no vote)'}"
            for each in votes.members.values()
        ]
        leader = self._herd.leader()
        return [
            f"servers: {', '.join(entries)}{under_way}",
            f"members: {', '.join(members)}; {leader.name if leader else 'nobody'} leads",
            *self._herd.violations,
        ]
