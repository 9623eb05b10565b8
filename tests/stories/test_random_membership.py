"""Random membership from a seed: servers die, come back, join, are taken out; calls lose answers.

After each step the promises are checked. A failure names its seed: `run_seed(SEED)` repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from tests.sim.herd import Herd
from tests.sim.loop import simulate
from tests.sim.peers import flapping
from tests.sim.store import Fault, no_fault, seeded

from bellcow.cluster.peers.changes import DEMOTE, PROMOTE
from bellcow.cluster.peers.quorum import keeps_quorum
from bellcow.errors import Error
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import ONLY, RAFT

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.sim.peers import Change
    from tests.sim.world import SimServer

    from bellcow.model.raft import MembershipChange

SEEDS = 300
STEPS = 60
CHUNKS = 10
NAMES = ("a", "b", "c", "d", "e")
SPARE = ("f", "g")
VOTE_FAULTS = (Fault.UNAVAILABLE, Fault.UNKNOWN_DONE, Fault.UNKNOWN_NOT_DONE)


class Unrest:
    """One run: what was done to the herd, and what was observed."""

    def __init__(self, herd: Herd, seed: int) -> None:
        self.herd = herd
        self.chance = random.Random(seed)
        self.group = asyncio.TaskGroup()
        self.seen = 0
        self.index = 0
        self.leaders: dict[int, str] = {}
        self.before = RaftConfiguration()
        self.made: list[str] = []  # kinds of changes that were started

    # Acts

    async def step(self) -> None:
        actions = {
            self.wait: 25,
            self.kill: 8,
            self.start: 14,
            self.join: 10,
            self.remove: 6,
            self.transfer: 4,
            self.demote: 3,
            self.kill_at_step: 6,
            self.lose_answers: 6,
            self.break_store: 3,
            self.cut_off: 3,
            self.flap: 3,
            self.wipe: 2,
            self.heal: 8,
        }
        (action,) = self.chance.choices(list(actions), list(actions.values()))
        await action()
        await asyncio.sleep(self.chance.choice((0, 0.02, 0.3, 1)))
        self.check()

    def ask(self, work: Coroutine[None, None, object]) -> None:
        self.group.create_task(_without_refusal(work))

    def any_server(self) -> SimServer | None:
        servers = list(self.herd.servers.values())
        return self.chance.choice(servers) if servers else None

    async def wait(self) -> None:
        await asyncio.sleep(self.chance.choice((0.1, 1, 4, 11)))

    async def kill(self) -> None:
        """Servers to hit, mostly a minority at most, so that the herd goes on."""
        down = len(self.herd.names) - len(self.herd.servers)
        if (server := self.any_server()) and (down < 2 or self.chance.random() < 0.2):
            await self.herd.stop(server.name)

    async def start(self) -> None:
        down = [name for name in self.herd.names if name not in self.herd.servers]
        if down:
            name = self.chance.choice(down)
            self.herd.start(name)
            self.ask(self.herd.ask_to_join(name))

    async def join(self) -> None:
        name = self.chance.choice((*self.herd.names, *SPARE))
        if name not in self.herd.servers:
            self.herd.start(name)
        self.ask(self.herd.ask_to_join(name))

    async def remove(self) -> None:
        if leader := self.herd.leader():
            name = self.chance.choice(self.herd.names)
            self.ask(leader.membership.remove(name))

    async def transfer(self) -> None:
        if leader := self.herd.leader():
            self.ask(leader.membership.transfer(self.chance.choice(self.herd.names)))

    async def demote(self) -> None:
        if leader := self.herd.leader():
            self.ask(leader.membership.demote(self.chance.choice(self.herd.names)))

    async def kill_at_step(self) -> None:
        if leader := self.herd.leader():
            self.herd.dies = leader.name, self.chance.choice(("add", "start", "promote"))

    async def lose_answers(self) -> None:
        chance = random.Random(self.chance.randrange(1 << 30))

        def ask(change: Change) -> Fault | None:
            del change
            return chance.choice(VOTE_FAULTS) if chance.random() < 0.4 else None

        self.herd.votes.fault = ask

    async def break_store(self) -> None:
        if server := self.any_server():
            server.store.fault = seeded(
                self.chance.randrange(1 << 30), 0.3, VOTE_FAULTS, ("commit", "confirm")
            )

    async def cut_off(self) -> None:
        if server := self.any_server():
            server.peers.cut_off()

    async def flap(self) -> None:
        if server := self.any_server():
            server.peers.reachable = flapping(self.chance.randrange(1 << 30), 0.4)

    async def wipe(self) -> None:
        """Remove the disk of a server that is down, unless that loses the quorum for good."""
        down = [name for name in self.herd.names if name not in self.herd.servers]
        voters = self.herd.votes.voters()
        if down and not self.herd.wiped:
            name = self.chance.choice(down)
            if keeps_quorum(voters, {*voters} - {name}):
                self.herd.wiped.add(name)

    async def heal(self) -> None:
        self.herd.votes.fault = lambda change: None
        self.herd.dies = None
        for server in self.herd.servers.values():
            server.store.fault = no_fault
            server.peers.reachable = lambda: True
            server.peers.frozen = None

    # What must hold

    def check(self) -> None:
        assert not self.herd.violations, self.herd.violations
        disk = self.herd.disk
        for change in disk.log[max(0, self.seen - disk.forgotten) :]:
            head = change.head
            assert head.index > self.index
            assert self.leaders.setdefault(head.term, head.leader) == head.leader
            self.index = head.index
            row = change.changes.get((RAFT.name, ONLY))
            if row is not None:
                self._check_configuration(RAFT.decoder.decode(row))
        self.seen = disk.forgotten + len(disk.log)

    def _check_configuration(self, stored: RaftConfiguration) -> None:
        """There is one change at a time, at least one voter, and no server twice."""
        before, self.before = self.before, stored
        assert any(server.voter for server in stored.servers)
        assert len({server.id for server in stored.servers}) == len(stored.servers)
        assert len({server.address for server in stored.servers}) == len(stored.servers)
        if stored.change is None or before.change is None:
            if stored.change is not None:
                self.made.append(stored.change.kind)
            return
        assert _goes_on(before.change, stored.change), f"{before.change} and {stored.change}"

    async def end(self) -> None:
        """End all faults: no change is under way, and the configuration matches the members."""
        await self.heal()
        for name in self.herd.names:
            if name not in self.herd.servers:
                self.herd.start(name)
        for _ in range(20):  # a promotion that failed often waits for minutes
            await asyncio.sleep(12)
            self.check()
            if self._all_vote():
                return
            for name in NAMES:
                await _without_refusal(self.herd.ask_to_join(name))
        assert self._all_vote(), f"{self.herd.stored()} {self.herd.votes.members}"

    def _all_vote(self) -> bool:
        stored, members = self.herd.stored(), self.herd.votes.members.values()
        voters = {server.id for server in stored.servers if server.voter}
        agreed = all(each.voter for each in members) and voters == {m.server_id for m in members}
        return stored.change is None and agreed and {*NAMES} <= voters


def _goes_on(before: MembershipChange, after: MembershipChange) -> bool:
    """Whether it is the same change, or a promotion that is being undone."""
    same = before.server_id == after.server_id
    return same and (before.kind == after.kind or (before.kind, after.kind) == (PROMOTE, DEMOTE))


async def _without_refusal(work: Coroutine[None, None, object]) -> None:
    with contextlib.suppress(Error):
        await work


async def _story(seed: int) -> Unrest:
    async with Herd(*NAMES, seed=seed) as herd:
        unrest = Unrest(herd, seed)
        await herd.begin()
        async with unrest.group:
            for _ in range(STEPS):
                await unrest.step()
            await unrest.end()
        return unrest


def run_seed(seed: int) -> Unrest:
    try:
        return simulate(_story(seed))
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_guarantees_of_membership_hold_under_random_faults(chunk):
    for seed in range(chunk, SEEDS, CHUNKS):
        run_seed(seed)


def test_random_membership_meets_every_kind_of_change():
    runs = [run_seed(seed) for seed in range(SEEDS, SEEDS + 6)]
    made = [kind for run in runs for kind in run.made]
    assert {"promote", "demote", "remove"} <= set(made)
    assert len(made) > 30
    assert sum(len(run.leaders) for run in runs) > 20


def test_same_seed_gives_the_same_membership():
    first, second = run_seed(7), run_seed(7)
    assert first.before == second.before
    assert first.index == second.index
