"""Whole servers without processes: the parts that `agent/build.py` makes, on fakes.

One `Disk` and one set of `Votes` are shared by all servers of a `World`; a server that is started
again begins with empty memory and a new client of the same disk.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from tests.sim.clock import VirtualClock
from tests.sim.peers import ScriptedPeers, Votes
from tests.sim.store import Disk, MemoryStore, no_fault

from bellcow.agent.build import Environment, Others, build_leading, build_snapshots, build_state
from bellcow.agent.data_dir import SNAPSHOTS
from bellcow.autopilot.rules import Contact, Silence
from bellcow.cluster.formation.initial_state import Founder
from bellcow.cluster.lifecycle.embedded import EmbeddedLifecycle
from bellcow.cluster.members.schedule import Target
from bellcow.cluster.peers.inputs import ClusterView
from bellcow.errors import Code, Error
from bellcow.gocompat.duration import Duration
from bellcow.model.agent import ALIVE, FAILED, LEFT, Member
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.namespace import DEFAULT, Namespace
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.commands import put_setting
from bellcow.state.mirror import no_leader_index
from bellcow.state.tables import RAFT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.sim.store import Call, Fault

    from bellcow.cluster.formation.initial_state import AgreedCluster
    from bellcow.state.draft import Draft
    from bellcow.state.tables import Tables
    from bellcow.store.protocol import Change, Head, Limits, Reload


class LossyStore(MemoryStore):
    """A store whose watchers miss the next `lose` commits."""

    lose = 0

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        async for change in super().changes(after):
            if self.lose:
                self.lose -= 1
            else:
                yield change


class _Lifecycle(EmbeddedLifecycle):
    """Of a server whose cluster the test forms."""

    def __init__(self, tables: Tables, world: World) -> None:
        super().__init__(tables)
        self._world = world

    def agreed_cluster(self) -> AgreedCluster | None:
        return self._world.agreed_cluster()


class SimServer:
    """One server, from start to stop. To start it again, make another."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.events: list[tuple[str, dict[str, object]]] = []
        self.clock = world.clock
        self.store = LossyStore(world.disk)
        self.peers = ScriptedPeers(world.votes, name)
        self.store.term = lambda: self.peers.seen().term
        environment = Environment(
            clock=self.clock, transport=world, lookup=world.lookup, report=self.report
        )
        self._state = state = build_state(self.store, self.peers, no_leader_index, environment)
        self.tables, self.waiting = state.tables, state.waiting
        self.mirror, self.committer = state.mirror, state.committer
        leading = build_leading(
            founder(name, acts=world.tended),
            state=state,
            lifecycle=_Lifecycle(self.tables, world),
            others=Others(
                view=lambda: world.view(name),
                contacts=SimContacts(world, name),
                leader=lambda: world.leader_for(name),
                greeter=world,
                nudge=lambda: None,
            ),
            grows=True,
            environment=environment,
        )
        self.leadership, self.membership = leading.leadership, leading.membership
        self.autopilot = leading.autopilot
        self.snapshots = build_snapshots(state, self.autopilot, world.folder, environment)
        self._loops: list[Callable[[], Awaitable[None]]] = [
            *([self.membership.run] if world.tended else []),
            self.autopilot.run,
            self.snapshots.housekeeping,
        ]
        self._task: asyncio.Task[None] | None = None

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def limit(self, limits: Limits) -> None:
        """What one commit of this server may hold from now on."""
        self.store.limits = self._state.store.limits = limits

    def saw(self, event: str) -> int:
        """How often `event` was reported."""
        return sum(name == event for name, _ in self.events)

    def start(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._live(), name=self.name)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.mirror.run())
            await self.mirror.loaded.wait()
            group.create_task(self.leadership.run(self._loops))

    async def stop(self) -> None:
        """Kill it, with what it had in memory."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._state.store.close()

    async def write(self, command: Callable[[Draft], Any]) -> Any:
        """A write as the API does it: wait for a leader here, then commit."""
        await self.leadership.wait_for_leader()
        return await self.committer.commit(command)


class World:
    """Servers on one disk. Use as `async with World(...)`, inside a virtual loop.

    Who votes and how servers seem to each other is what the test says; `Herd` lives by itself.
    """

    tended = False  # whether membership and autopilot change the members

    def __init__(self, *names: str, seed: int = 0, folder: Path | None = None) -> None:
        self.names = names or ("a",)
        self.folder = folder
        if folder is not None:
            (folder / SNAPSHOTS).mkdir(exist_ok=True)
        self.clock = VirtualClock(seed)
        self.disk = Disk()
        self.votes = Votes(self.names)
        self.servers: dict[str, SimServer] = {}
        self.statuses = dict.fromkeys(self.names, ALIVE)
        self.contact_ms = dict.fromkeys(self.names, 50.0)
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for name in list(self.servers):
            await self.stop(name)
        await self._group.__aexit__(*failure)  # type: ignore[arg-type]

    def start(self, name: str, fault: Callable[[Call], Fault | None] = no_fault) -> SimServer:
        server = self.servers[name] = SimServer(self, name)
        server.store.fault = fault
        server.start(self._group)
        return server

    async def stop(self, name: str) -> None:
        await self.servers.pop(name).stop()

    def elect(self, name: str | None) -> None:
        self.votes.elect(None if name is None else self.votes.member_of(name))

    async def begin(self) -> SimServer:
        """Start all servers and return the first, which leads."""
        for name in self.names:
            self.start(name)
        self.elect(self.names[0])
        first = self.servers[self.names[0]]
        await first.write(put_setting(RAFT, configuration(self.names)))
        return first

    # How a server sees the others

    def agreed_cluster(self) -> AgreedCluster | None:
        return None

    def leader_for(self, name: str) -> str:
        """The leader as another server sees it."""
        del name
        return ""

    def status(self, name: str) -> str:
        return self.statuses[name]

    def silence(self, name: str) -> Silence:
        """When a failed server answered last: long ago."""
        del name
        return Silence(failed_s=60.0, silent_s=65.0)

    def view(self, name: str) -> ClusterView:
        alive = frozenset(each for each in self.names if self.status(each) == ALIVE)
        return ClusterView(
            alive=alive,
            answering=frozenset(each for each in alive if each in self.servers) | {name},
            names={each: f"{each}.global" for each in self.names},
            targets={each: target(each) for each in self.names if each != name},
        )

    async def join(self, address: tuple[str, int]) -> None:
        """Do nothing: all servers know each other."""

    def force_leave(self, member_name: str, *, prune: bool = False) -> None:
        name = member_name.removesuffix(".global")
        if name in self.statuses and self.status(name) != ALIVE:
            self.statuses[name] = "none" if prune else LEFT

    async def lookup(self, name: str) -> tuple[str, ...]:
        """No name has an address."""
        del name
        return ()

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        """A call to another server."""
        raise Error(Code.UNAVAILABLE, f"nobody carries {path} to {target.server_id}: {body!r}")


def target(name: str) -> Target:
    return Target(server_id=name, address=(name, 4648), region="global")


class SimContacts:
    """The servers of a world, as their leader sees them."""

    def __init__(self, world: World, me: str) -> None:
        self._world = world
        self._me = me

    def members_by_id(self) -> Mapping[str, Member]:
        return {
            name: Member(
                addr="127.0.0.1",
                name=f"{name}.global",
                port=4648,
                status=status,
                tags={"id": name, "build": "1.0.18"},
            )
            for name, status in ((each, self._world.status(each)) for each in self._world.names)
        }

    def silences(self) -> Mapping[str, Silence]:
        names = (name for name in self._world.names if self._world.status(name) == FAILED)
        return {name: self._world.silence(name) for name in names}

    async def contacts(self, server_ids: tuple[str, ...]) -> Mapping[str, Contact]:
        found = {}
        for server_id in server_ids:
            server = self._world.servers.get(server_id)
            if server is not None and self._world.status(server_id) == ALIVE:
                ms = 0.0 if server_id == self._me else self._world.contact_ms[server_id]
                found[server_id] = Contact(
                    last_contact=Duration.seconds(ms / 1_000),
                    last_term=server.tables.head.term,
                    last_index=server.tables.index,
                )
        return found


def configuration(names: tuple[str, ...]) -> RaftConfiguration:
    servers = (RaftServer(id=n, address=f"{n}:4647", name=f"{n}.global") for n in names)
    return RaftConfiguration(servers=tuple(servers))


def founder(name: str, *, acts: bool = True) -> Founder:
    """`acts` is whether autopilot may remove the dead."""
    return Founder(
        server_id=name,
        name=f"{name}.global",
        address=f"{name}:4647",
        region="global",
        autopilot=AutopilotConfiguration(cleanup_dead_servers=acts),
        scheduler=SchedulerConfiguration(),
        default_namespace=Namespace(name=DEFAULT, description="Default shared namespace"),
    )
