"""Random foundings from a seed: servers with nothing start, die at any write of a file or find no
space for it, are cut off for minutes, and lose messages, while they look for each other.

However that goes, no two clusters are founded that share a server, and once all is well again they
are one. A failure names its seed: `run_seed(SEED)` repeats it.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

import pytest
from tests.sim.camp import Camp, Dies
from tests.sim.loop import simulate

from bellcow.model.membership_calls import BOOTSTRAP_PATH

SEEDS = 120
STEPS = 16
CHUNKS = 6
NAMES = ("a", "b", "c", "d", "e")
EXPECT = 3
PAUSES_S = (
    0,
    0,
    0.1,
    0.5,
    1,
    3,
    12,
    70,
    70,
)  # a promise is old after 10 s, and given up after 60 s


class Rush:
    """One run."""

    def __init__(self, camp: Camp, seed: int) -> None:
        self.camp = camp
        self.chance = random.Random(seed)
        self.deaths = 0
        self.promises = 0
        camp.on_answer = self.heed

    def heed(self, path: str) -> None:
        """Often the network splits while promises are made, which is the hardest time."""
        if path == BOOTSTRAP_PATH:
            self.promises += 1
            if self.chance.random() < 0.3:
                delay_s = self.chance.choice((0, 0.01))
                asyncio.get_running_loop().call_later(delay_s, self.split)

    async def step(self) -> None:
        actions = {
            self.start: 12,
            self.doom: 6,
            self.kill: 3,
            self.cut: 6,
            self.mend: 3,
            self.fill: 3,
        }
        (action,) = self.chance.choices(list(actions), list(actions.values()))
        await action()
        await asyncio.sleep(self.chance.choice(PAUSES_S))
        self.check()

    async def start(self) -> None:
        down = [name for name in NAMES if name not in self.camp.servers]
        if down:
            server = self.camp.start(self.chance.choice(down))
            if self.chance.random() < 0.5:
                server.dies = self.death()

    def death(self) -> Dies:
        return Dies(self.chance.randint(1, 4), before=self.chance.random() < 0.5)

    async def doom(self) -> None:
        """Make one server die at one of its next writes."""
        if self.camp.servers:
            server = self.chance.choice(list(self.camp.servers.values()))
            server.dies = self.death()

    async def kill(self) -> None:
        if self.camp.servers:
            await self.camp.stop(self.chance.choice(list(self.camp.servers)))

    async def cut(self) -> None:
        self.split(self.chance.choice((0.3, 1.0)))

    def split(self, share: float = 1.0) -> None:
        """Split the network in two sides, completely or in part."""
        side = self.chance.sample(NAMES, self.chance.randint(1, 2))
        for one in side:
            for other in NAMES:
                if other not in side and self.chance.random() < share:
                    self.camp.net.cut(one, other)

    async def mend(self) -> None:
        self.camp.net.mend()

    async def fill(self) -> None:
        """Fill the disk of one server, or free it."""
        if self.camp.servers:
            server = self.chance.choice(list(self.camp.servers.values()))
            server.full = not server.full

    def check(self) -> None:
        founded = self.camp.founded()
        assert len(founded) <= 1, [(group.token, group.members) for group in founded]

    async def end(self) -> None:
        """End all faults: in the end all servers must be in one cluster."""
        self.camp.on_answer = lambda path: None
        await asyncio.sleep(0.01)  # the last split may not have happened yet
        self.camp.net.mend()
        self.camp.net.loss = 0.0
        for name in NAMES:
            if name in self.camp.servers:
                self.camp.servers[name].dies, self.camp.servers[name].full = None, False
            else:
                self.camp.start(name)
        self.deaths = len(self.camp.buried)
        for _ in range(60):
            await asyncio.sleep(5)
            self.check()
            if self._are_one():
                return
        raise AssertionError(self.picture())

    def picture(self) -> str:
        lines = [f"{group.token}: {group.votes.members}" for group in self.camp.groups.values()]
        for name, server in self.camp.servers.items():
            where = f"{server.lifecycle.cluster}, leader {server.leadership.leader_id!r}"
            lines.append(f"{name}: {where}, {server.events[-6:]}")
        return "\n".join(lines)

    def _are_one(self) -> bool:
        servers = self.camp.servers.values()
        led = {server.leadership.leader_id for server in servers}
        clusters = {server.lifecycle.cluster for server in servers}
        return len(led) == 1 == len(clusters) and led != {""} and None not in clusters


async def _story(seed: int, folder: Path) -> Rush:
    loss = random.Random(seed).choice((0.0, 0.0, 0.05, 0.2))
    async with Camp(folder, *NAMES, seed=seed, loss=loss) as camp:
        for name in NAMES:
            camp.settle_in(name, EXPECT, *NAMES)
        rush = Rush(camp, seed)
        for _ in range(STEPS):
            await rush.step()
        await rush.end()
        return rush


def run_seed(seed: int) -> Rush:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return simulate(_story(seed, Path(folder)))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_two_clusters_are_formed_under_random_faults(chunk):
    for seed in range(chunk, SEEDS, CHUNKS):
        run_seed(seed)
