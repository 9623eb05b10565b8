"""The commands of stories about the lifecycle: servers start with an empty disk.

Cluster ids are random, so stories name them `first`, `second` and so on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from typing import TYPE_CHECKING

from tests.sim.camp import Dies

from bellcow.cluster import datadir
from bellcow.errors import Error
from bellcow.gocompat.duration import NS_PER_S, parse_duration
from bellcow.model.raft import RaftConfiguration
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.commands import put_setting
from bellcow.state.tables import RAFT, SCHEDULER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from tests.sim.camp import Camp, CampServer

HIDDEN = {"path", "address", "name", "kept"}
QUIET = {
    "cluster_health_changed",
    "copy_resumed",
    "copy_stalled",
    "copy_loaded",
    "health_changed",
    "hello_failed",
}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class CampScript:
    """One story under way."""

    def __init__(self, camp: Camp) -> None:
        self._camp = camp
        self._told: dict[CampServer, int] = {}
        self._clusters: dict[str, str] = {}

    async def run(self, lines: list[str]) -> list[str]:
        """Run commands one after the other; returns the output lines."""
        out: list[str] = []
        for line in lines:
            verb, *words = line.split()
            answer = await getattr(self, f"do_{verb}")(*words)
            out += self._events()
            out += answer or []
        return [UUID.sub(self._named, line) for line in out] or ["ok"]

    def _named(self, found: re.Match[str]) -> str:
        return self._clusters.setdefault(found[0], ORDINALS[len(self._clusters)])

    def _events(self) -> list[str]:
        for server in (*self._camp.servers.values(), *self._camp.buried):
            self._told.setdefault(server, 0)
        out = []
        for server, told in self._told.items():
            for name, fields in server.events[told:]:
                if name not in QUIET and not name.startswith("member_"):
                    words = [f"{k}={v}" for k, v in fields.items() if k not in HIDDEN]
                    out.append(" ".join([f"{server.name}: {name}", *words]))
            self._told[server] = len(server.events)
        return out

    # Servers

    async def do_settle(self, name: str, *words: str) -> None:
        """Configure a server: `expect=N`, `non_voting`, and the servers that it joins."""
        joins = [word for word in words if "=" not in word and word != "non_voting"]
        expect = next((word for word in words if word.startswith("expect=")), "expect=0")
        fields = {"non_voting": True} if "non_voting" in words else {}
        self._camp.settle_in(name, int(expect.removeprefix("expect=")), *joins, **fields)

    async def do_start(self, *names: str) -> None:
        for name in names:
            assert name not in self._camp.servers, f"{name} runs"
            self._camp.start(name)
        await asyncio.sleep(0)

    async def do_stop(self, *names: str) -> None:
        for name in names:
            await self._camp.stop(name)

    async def do_wait(self, time: str) -> None:
        await asyncio.sleep(parse_duration(time) / NS_PER_S)

    async def do_dies(self, name: str, when: str, *what: str) -> None:
        """Kill a running server `before` or `after` a write: `write cluster.json`."""
        self._camp.servers[name].dies = Dies(1, before=when == "before", what=" ".join(what))

    async def do_hang(self, name: str) -> None:
        """Pause a server; the watchdog ends its etcd after ten seconds."""
        await self._camp.hang(name)

    async def do_wipe(self, *names: str) -> None:
        """Remove all files of servers that are down."""
        for name in names:
            self._camp.wipe(name)

    async def do_lose_raft(self, name: str) -> None:
        """Remove only etcd's directory of a server that is down."""
        shutil.rmtree(self._camp.folder / name / datadir.RAFT)

    async def do_found_anew(self, name: str) -> None:
        """Make a server that is down look recovered: alone in the next epoch."""
        self._camp.found_anew(name)

    async def do_move(self, name: str, host: str) -> None:
        """Change a server's address from its next start on."""
        self._camp.hosts[name] = host

    async def do_disk(self, name: str, state: str) -> None:
        """Make a disk `full`, so that no file can be written, or `free`."""
        self._camp.servers[name].full = state == "full"

    async def do_etcd(self, name: str, state: str, *reason: str) -> None:
        """Take etcd `down` or `up`, or make it `broken`, so that it cannot start."""
        for group in self._camp.groups.values():
            (group.halted.add if state == "down" else group.halted.discard)(name)
        self._camp.servers[name].member.breaks(" ".join(reason) if state == "broken" else "")

    # The network

    async def do_cut(self, name: str, *others: str) -> None:
        """Cut one server off from the others, in both directions."""
        for other in others:
            self._camp.net.cut(name, other)

    async def do_deaf(self, name: str) -> None:
        """Cut off a server's port between servers, but not its etcd."""
        self._camp.deaf.add(name)

    async def do_hear(self, name: str) -> None:
        self._camp.deaf.discard(name)

    async def do_mend(self) -> None:
        self._camp.net.mend()

    # Requests

    async def do_set(self, name: str, algorithm: str) -> list[str]:
        """Write a setting on that server, or on the `leader`."""
        setting = SchedulerConfiguration(scheduler_algorithm=algorithm)
        server = await self._camp.led() if name == "leader" else self._camp.servers[name]
        return [await self._outcome_of(server.write(put_setting(SCHEDULER, setting)))]

    async def do_read(self, *names: str) -> list[str]:
        """What the memory of servers holds, as a stale read shows it."""
        stored = {name: self._camp.servers[name].tables.one(SCHEDULER) for name in names}
        return [
            f"{name} has {row.scheduler_algorithm if row else 'nothing'}"
            for name, row in stored.items()
        ]

    async def do_remove(self, name: str) -> list[str]:
        return [await self._outcome_of((await self._camp.led()).membership.remove(name))]

    async def do_demote(self, name: str) -> list[str]:
        return [await self._outcome_of((await self._camp.led()).membership.demote(name))]

    async def do_transfer(self, name: str) -> list[str]:
        return [await self._outcome_of((await self._camp.led()).membership.transfer(name))]

    async def _outcome_of(self, work: Awaitable[object]) -> str:
        try:
            await work
        except Error as error:
            return f"{error.code.value}: {error.message}"
        return "done"

    # Views

    async def do_who(self) -> list[str]:
        """The role of each server, and the configuration of the newest leader."""
        lines = [self._part_of(server) for _, server in sorted(self._camp.servers.items())]
        leader = self._camp.leader()
        if leader is None:
            return [*lines, "nobody leads"]
        stored = leader.tables.one(RAFT) or RaftConfiguration()
        entries = [
            f"{each.id}{'' if each.voter else ' (no vote)'}"
            + ("" if each.address == f"{each.id}:4647" else f" at {each.address}")
            for each in stored.servers
        ]
        return [*lines, f"servers: {', '.join(entries)}; {leader.name} leads"]

    def _part_of(self, server: CampServer) -> str:
        cluster = server.lifecycle.cluster
        if cluster is None:
            return f"{server.name} is in no cluster"
        member = "with" if server.lifecycle.has_member else "without"
        return f"{server.name} is in {cluster.id}, epoch {cluster.epoch}, {member} a member"

    async def do_files(self, *names: str) -> list[str]:
        """The files of a server's local state."""
        wanted = (
            datadir.LOCAL_STATE,
            datadir.PROMISE,
            datadir.RAFT,
            f"{datadir.RAFT}/{datadir.MEMBER}",
        )
        out = []
        for name in names:
            folder = self._camp.folder / name
            there = [each for each in wanted if (folder / each).exists()]
            there += [f"{datadir.RAFT}.old" for _ in folder.glob(f"{datadir.RAFT}.old-*")]
            out.append(f"{name} has {', '.join(there) or 'nothing'}")
        return out

    async def do_time(self) -> list[str]:
        return [f"{asyncio.get_running_loop().time():.0f} s"]


@contextlib.asynccontextmanager
async def camped(camp: Camp) -> AsyncIterator[CampScript]:
    async with camp:
        yield CampScript(camp)
