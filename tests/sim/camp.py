"""Servers that start with empty disks: they form a cluster, join, vote, lose files.

Each has the real parts, wired as in `agent/build.py`, on a network in memory and a fake etcd. Its
files are in a real folder and survive it; it can be killed at any write.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
import pytest
from tests.sim.facts import no_facts
from tests.sim.member import DATA, Group, Identity, SimMember
from tests.sim.net import Net, itself

from bellcow.agent.build import Environment, build
from bellcow.agent.listeners import cluster_routes
from bellcow.agent.running import running
from bellcow.agent.storage import Storage
from bellcow.api.internal.gate import Gate
from bellcow.api.message import Request
from bellcow.cluster import datadir
from bellcow.config.load import load
from bellcow.config.server_block import ServerJoin
from bellcow.errors import Code, Error
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import ONLY, RAFT
from bellcow.wire import join_host_port, to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from bellcow.cluster.members.schedule import Target
    from bellcow.config.model import Settings
    from bellcow.model.hello import Itself
    from bellcow.state.draft import Draft

TICK_S = 0.1
WATCHDOG_S = 10.0  # of silence, after which the watchdog ends a member
INDEX_STEP = 1_000_000  # of a recovery
DEFAULTS = load([]).settings


class Killed(Exception):
    """The server dies here."""


class Dies(NamedTuple):
    """When a server dies: at which of its next writes to files, before or after it is done.

    `what` is the one write that counts, as in "write cluster.json"; "" for any.
    """

    at: int
    before: bool
    what: str = ""


class CampServer:
    """One server, from its start to its end."""

    def __init__(self, camp: Camp, me: Itself, joins: tuple[tuple[str, int], ...]) -> None:
        self.name = me.name
        self.folder = camp.folder / me.name
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.clock = camp.clock
        self.events: list[tuple[str, dict[str, object]]] = []
        self.dies: Dies | None = None
        self.full = False  # its disk, so that no file can be written
        self._camp = camp
        self._task: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[Any]] = set()
        self._wire(me, joins)

    def _wire(self, me: Itself, joins: tuple[tuple[str, int], ...]) -> None:
        camp = self._camp
        self.member = SimMember(me.server_id, self.folder, camp.groups, camp.reaches)
        self.server = build(
            _settings(me, joins),
            itself=me,
            storage=Storage(member=self.member),
            folder=self.folder,
            environment=Environment(
                clock=self.clock,
                transport=_Transport(camp, me.serf[0]),
                lookup=_itself,
                report=self.report,
            ),
            facts=no_facts(self.clock),
        )
        self.routes = cluster_routes(self.server, Gate(region=me.region))
        self.tables = self.server.tables
        self.lifecycle = self.server.lifecycle
        self.leadership = self.server.leadership
        self.membership = self.server.membership
        self.autopilot = self.server.autopilot

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def saw(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)

    @property
    def itself(self) -> Itself:
        return self.server.roster.itself

    # Life

    def start(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._live(), name=self.name)

    async def _live(self) -> None:
        try:
            async with running(self.server):
                await asyncio.Event().wait()
        except* Killed:
            self._camp.bury(self)

    async def stop(self) -> None:
        """Kill it."""
        for task in (self._task, *self._answering):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def answer(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Answer another server's call. Raises Error(UNAVAILABLE) when this one dies."""
        task = asyncio.get_running_loop().create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        await asyncio.wait([task])
        if task.cancelled():
            raise Error(Code.UNAVAILABLE, "connection reset")
        try:
            return task.result()
        except Killed:
            if self._task is not None:
                self._task.cancel()
            self._camp.bury(self)
            raise Error(Code.UNAVAILABLE, "connection reset") from None

    async def write(self, command: Callable[[Draft], Any]) -> Any:
        await self.leadership.wait_for_leader()
        return await self.server.commit(command)

    def count_write(self, what: str, *, before: bool) -> None:
        """Called before and after each write of a file."""
        if self.full and before and what.startswith("write"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.dies is None or self.dies.before != before or self.dies.what not in {"", what}:
            return
        self.dies = self.dies._replace(at=self.dies.at - 1)
        if self.dies.at <= 0:
            self.report("killed", at=f"{'before' if before else 'after'} {what}")
            raise Killed


class Camp:
    """Use as `async with Camp(folder)`, inside a virtual loop."""

    def __init__(self, folder: Path, *names: str, seed: int = 0, loss: float = 0.0) -> None:
        self.names = names
        self.folder = folder
        self.net = Net(seed, loss=loss)
        self.clock = self.net.clock
        self.groups: dict[str, Group] = {}
        self.servers: dict[str, CampServer] = {}
        self.expect: dict[str, int] = {}
        self.joins: dict[str, tuple[str, ...]] = {}
        self.fields: dict[str, dict[str, object]] = {}
        self.hosts: dict[str, str] = {}
        self.buried: list[CampServer] = []
        self.deaf: set[str] = set()  # hosts whose port between servers is cut off
        self.on_answer: Callable[[str], None] = lambda path: None  # called before an answer is sent
        self._group = asyncio.TaskGroup()
        self._life: asyncio.Task[None] | None = None
        self._patch = pytest.MonkeyPatch()

    async def __aenter__(self) -> Self:
        for verb in ("write", "remove", "set_aside"):
            self._patch.setattr(datadir, verb, self._watched(verb, getattr(datadir, verb)))
        await self._group.__aenter__()
        self._life = asyncio.get_running_loop().create_task(self._tick())
        return self

    async def __aexit__(self, *failure: object) -> None:
        try:
            for name in list(self.servers):
                await self.stop(name)
            for server in self.buried:
                await server.stop()
            if self._life is not None:
                self._life.cancel()
                await asyncio.wait([self._life])
            await self._group.__aexit__(*failure)  # type: ignore[arg-type]
        finally:
            self._patch.undo()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for group in self.groups.values():
                group.tick(TICK_S, lambda count: int(self.clock.uniform(0, count - 0.001)))

    def _watched(self, verb: str, do: Callable[..., Any]) -> Callable[..., Any]:
        """Do it, unless the server dies before or after it."""

        def write(path: Path, *values: Any) -> Any:
            server = self.servers.get(path.relative_to(self.folder).parts[0])
            what = f"{verb} {path.name}"
            if server is not None:
                server.count_write(what, before=True)
            result = do(path, *values)
            if server is not None:
                server.count_write(what, before=False)
            return result

        return write

    # Events

    def settle_in(self, name: str, expect: int, *joins: str, **fields: object) -> None:
        """Configure a server, from its next start on."""
        self.expect[name], self.joins[name], self.fields[name] = expect, joins, fields

    def start(self, name: str) -> CampServer:
        host = self.hosts.get(name, name)
        me = itself(
            name,
            **{
                "server_id": name,
                "bootstrap_expect": self.expect.get(name, len(self.names)),
                "rpc": (host, 4647),
                "serf": (host, 4648),
                **self.fields.get(name, {}),
            },
        )
        joins = tuple((self.hosts.get(each, each), 4648) for each in self._joins_of(name))
        server = self.servers[name] = CampServer(self, me, joins)
        server.start(self._group)
        return server

    def _joins_of(self, name: str) -> tuple[str, ...]:
        return self.joins.get(name, self.names)

    async def stop(self, name: str) -> None:
        if name in self.servers:
            await self.servers.pop(name).stop()

    async def hang(self, name: str) -> None:
        """Pause its process; its etcd goes on until the watchdog ends it."""
        holding = {group: group.running[name] for group in self.groups.values() if group.has(name)}
        await self.stop(name)
        for group, member in holding.items():
            group.running[name] = member
            asyncio.get_running_loop().call_later(WATCHDOG_S, group.end, name, member)

    def bury(self, server: CampServer) -> None:
        """Note that it has died."""
        if self.servers.get(server.name) is server:
            del self.servers[server.name]
            self.buried.append(server)

    def wipe(self, name: str) -> None:
        """Lose all its files. It must be down."""
        assert name not in self.servers
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def found_anew(self, name: str) -> None:
        """Write what a recovery leaves on its server: the cluster one epoch later."""
        assert name not in self.servers
        folder = self.folder / name
        mine = datadir.read(folder / datadir.LOCAL_STATE, datadir.LocalState)
        assert mine is not None
        old, epoch = self.groups[f"{mine.cluster_id}.{mine.epoch}"], mine.epoch + 1
        token = f"{mine.cluster_id}.{epoch}"
        address = f"{self.hosts.get(name, name)}:4647"
        group = self.groups[token] = Group(token, ((name, address),))
        group.reaches, group.founders = self.reaches, {name}
        index = old.disk.head.index + INDEX_STEP
        group.disk.head = msgspec.structs.replace(
            old.disk.head, index=index, floor=index, epoch=epoch, commit=f"anew-{epoch}", prev=""
        )
        rows = dict(old.disk.objects[old.disk.head.gen])
        alone = RaftServer(id=name, address=address, name=f"{name}.global")
        rows[RAFT.name, ONLY] = to_msgpack(RaftConfiguration(servers=(alone,)))
        group.disk.objects = {old.disk.head.gen: rows}
        shutil.rmtree(folder / datadir.RAFT, ignore_errors=True)
        raft = folder / datadir.RAFT
        raft.mkdir()
        (raft / DATA).write_bytes(msgspec.json.encode(Identity(token, 1)))
        mark = datadir.MemberMark(cluster_id=mine.cluster_id, epoch=epoch, member_id=1)
        datadir.write(raft / datadir.MEMBER, mark)
        datadir.write(
            folder / datadir.LOCAL_STATE, msgspec.structs.replace(mine, epoch=epoch, role="voter")
        )

    # The network

    def reaches(self, one: str, other: str) -> bool:
        """Whether members of two servers can talk to each other, by the servers' names."""
        here, there = self.hosts.get(one, one), self.hosts.get(other, other)
        return self.net.connects(here, there) and self.net.connects(there, here)

    def at(self, address: tuple[str, int]) -> CampServer | None:
        return next((each for each in self.servers.values() if each.itself.serf == address), None)

    # Views

    def leader(self) -> CampServer | None:
        leading = [each for each in self.servers.values() if each.leadership.is_leader]
        return max(leading, key=_rank, default=None)

    async def led(self, limit_s: float = 120.0) -> CampServer:
        """Wait for a leader."""
        end = self.clock.monotonic() + limit_s
        while (leader := self.leader()) is None:
            await asyncio.sleep(0.05)
            assert self.clock.monotonic() < end, "nobody leads"
        return leader

    def founded(self) -> list[Group]:
        """The clusters that a majority of their first servers has started."""
        return [group for group in self.groups.values() if group.is_founded]


def _rank(server: CampServer) -> tuple[int, int]:
    return server.tables.head.epoch, server.tables.head.term


class _Transport:
    """Calls of one server to others."""

    def __init__(self, camp: Camp, host: str) -> None:
        self._camp = camp
        self._host = host

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        net, there = self._camp.net, target.address[0]
        other = await self._reached(target)
        try:
            answer = await other.answer(_handled(other, path, body))
        except Error as error:
            await net.carry(there, self._host)
            if error.code is Code.UNAVAILABLE:
                raise
            raise Error(Code.REFUSED, error.message) from None
        self._camp.on_answer(path)
        await net.carry(there, self._host)
        return bytes(answer)

    async def _reached(self, target: Target) -> CampServer:
        there = target.address[0]
        if not self._camp.deaf.isdisjoint({self._host, there}):
            raise Error(Code.UNAVAILABLE, "connection timed out")
        await self._camp.net.carry(self._host, there)
        other = self._camp.at(target.address)
        if other is None:
            raise Error(Code.UNAVAILABLE, "connection refused")
        return other

    async def stream(self, target: Target, path: str, frames: Any) -> AsyncIterator[bytes]:
        other = await self._reached(target)
        route: Any = other.routes["POST", path]
        pieces: AsyncIterator[bytes] = await route.handle(None, _each(frames))
        return pieces


async def _handled(server: CampServer, path: str, body: bytes) -> bytes:
    route: Any = server.routes["POST", path]
    answer: bytes = await route.handle(Request("POST", path, path.encode(), b"", [], ""), body)
    return answer


async def _each(frames: Any) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame


async def _itself(host: str) -> tuple[str, ...]:
    """The address of a name in the simulated network is the name."""
    return (host,)


def _settings(me: Itself, joins: tuple[tuple[str, int], ...]) -> Settings:
    join = ServerJoin(retry_join=tuple(map(join_host_port, joins)))
    server = msgspec.structs.replace(DEFAULTS.server, server_join=join)
    return msgspec.structs.replace(DEFAULTS, region=me.region, server=server)
