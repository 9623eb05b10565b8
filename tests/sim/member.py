"""Simulated consensus members beside servers: members with one token share a disk and votes.

A member follows its leader while the network connects them, ends once it has been removed, and
keeps its identity in its directory. It asserts that a server starts it correctly.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from tests.sim.peers import ScriptedPeers, Votes
from tests.sim.store import Disk, Fault, MemoryStore

from bellcow.cluster import datadir
from bellcow.cluster.engine.protocol import Peer, Status
from bellcow.cluster.peers.quorum import keeps_quorum
from bellcow.store.protocol import Corrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.sim.store import Call

    from bellcow.cluster.engine.protocol import Start, State
    from bellcow.store.protocol import Change, Head, Reload

DATA = "data"  # beside the mark in a member's directory
ELECTION_S = 1.0
REMOVED_S = 0.3  # after that a member knows of its removal


class Identity(msgspec.Struct, frozen=True):
    """The content of a member's directory."""

    token: str
    member_id: int


class Group:
    """All members of one token."""

    def __init__(self, token: str, members: tuple[tuple[str, str], ...]) -> None:
        self.token = token
        self.members = members  # of the first start
        self.disk = Disk()
        self.votes = Votes()
        self.votes.is_up = self.takes_part
        self.votes.members = {
            number: Peer(member_id=number, server_id=name, address=address, voter=True)
            for number, (name, address) in enumerate(members, 1)
        }
        self.votes.count_from(len(members))
        self.running: dict[str, SimRunning] = {}
        self.founders: set[str] = set()  # servers that have started with the first list
        self.halted: set[str] = set()  # servers whose process is down for now
        self.reaches: Callable[[str, str], bool] = lambda one, other: True
        self._alone_s = 0.0
        self._out_s: dict[str, float] = {}

    @property
    def leader(self) -> str:
        """The server whose member leads; "" without a leader."""
        member = self.votes.members.get(self.votes.leader or 0)
        return member.server_id if member else ""

    @property
    def is_founded(self) -> bool:
        """Whether a majority of the first list has started with it."""
        return len(self.founders) > len(self.members) // 2

    def has(self, name: str) -> bool:
        return name in self.running

    def end(self, name: str, running: SimRunning) -> None:
        """Remove that member, unless a later one has replaced it."""
        if self.running.get(name) is running:
            del self.running[name]

    def takes_part(self, name: str) -> bool:
        return name in self.running and name not in self.halted

    def hears_leader(self, name: str) -> bool:
        leader = self.leader
        return bool(leader) and self._together(name, leader)

    def tick(self, passed_s: float, draw: Callable[[int], int]) -> None:
        """Let time pass: lose and elect leaders, and notify removed members."""
        if self.leader and not self._has_majority(self.leader):
            self.votes.elect(None)
        self._alone_s = 0.0 if self.leader else self._alone_s + passed_s
        if self._alone_s >= ELECTION_S:
            able = [name for name in self.votes.voters() if self._has_majority(name)]
            if able:
                self.votes.elect(self.votes.member_of(able[draw(len(able))]))
        for name, running in list(self.running.items()):
            self._notify(name, running, passed_s)

    def _notify(self, name: str, running: SimRunning, passed_s: float) -> None:
        """A removed member learns of its removal from any current member it reaches."""
        others = (other for other in self.votes.voters() if other in self.running)
        out = running.member_id not in self.votes.members
        if not out or not any(self.reaches(name, other) for other in others):
            self._out_s.pop(name, None)
            return
        self._out_s[name] = self._out_s.get(name, 0.0) + passed_s
        if self._out_s[name] >= REMOVED_S and not running.ended.done():
            running.ended.set_result(None)

    def _together(self, one: str, other: str) -> bool:
        return self.takes_part(one) and self.takes_part(other) and self.reaches(one, other)

    def _has_majority(self, name: str) -> bool:
        """Whether this server's member reaches a majority of voters."""
        voters = self.votes.voters()
        near = {other for other in voters if self._together(name, other)}
        return name in near and keeps_quorum(voters, near)


class SimPeers(ScriptedPeers):
    """The votes as one member knows them."""

    def __init__(self, group: Group, name: str, member_id: int) -> None:
        super().__init__(group.votes, name)
        self.group = group
        self.member_id = member_id
        self.reachable = lambda: name not in group.halted

    def seen(self) -> Status:
        me = self.votes.members.get(self.member_id)
        led = me is not None and self.group.hears_leader(self.name)
        return Status(
            member_id=self.member_id,
            leader_id=self.votes.leader if led else None,
            term=self.votes.term,
            is_learner=me is not None and not me.voter,
        )

    async def members(self) -> list[Peer]:
        self.frozen = None if self.group.hears_leader(self.name) else self.seen()
        return await super().members()


class SimStore(MemoryStore):
    """The shared disk, available to a member while it hears a leader."""

    def __init__(self, group: Group, name: str) -> None:
        super().__init__(group.disk, fault=self._cut)
        self.group = group
        self.name = name
        self.extra: Callable[[Call], Fault | None] = lambda call: None
        self.term = lambda: group.votes.term

    def _cut(self, call: Call) -> Fault | None:
        if call != "load" and not self.group.hears_leader(self.name):
            return Fault.UNAVAILABLE
        return self.extra(call)

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        async for change in super().changes(after):
            while not self.group.hears_leader(self.name):
                if self.closed:
                    return
                await asyncio.sleep(0.1)
            yield change


class SimRunning:
    """A member while it runs."""

    def __init__(self, group: Group, name: str, member_id: int) -> None:
        self.member_id = member_id
        self.store = SimStore(group, name)
        self.peers = SimPeers(group, name, member_id)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class SimMember:
    """The member of one server. `groups` maps tokens to groups."""

    def __init__(
        self,
        name: str,
        folder: Path,
        groups: dict[str, Group],
        reaches: Callable[[str, str], bool],
    ) -> None:
        self.name = name
        self.directory = folder / datadir.RAFT
        self._folder = folder
        self._groups = groups
        self._reaches = reaches
        self.broken = ""  # why it cannot run; "" if it can
        self._running: SimRunning | None = None

    def breaks(self, reason: str) -> None:
        """Make all starts fail for this reason, until it is called with ""."""
        self.broken = reason
        if reason and self._running is not None and not self._running.ended.done():
            self._running.ended.set_exception(Corrupt(reason))

    def has_data(self) -> bool:
        return (self.directory / DATA).exists()

    async def last_state(self) -> State:
        disk = self._groups[self._identity(None).token].disk
        return disk.head, list(disk.objects.get(disk.head.gen, {}).items())

    @asynccontextmanager
    async def running(self, start: Start | None) -> AsyncIterator[SimRunning]:
        await asyncio.sleep(0.05)
        if self.broken:
            raise Corrupt(self.broken)
        mine = self._identity(start)
        group = self._groups[mine.token]
        running = SimRunning(group, self.name, mine.member_id)
        assert self.name not in group.running, f"{self.name} has two members"
        group.running[self.name] = self._running = running
        try:
            yield running
        finally:
            self._running = None
            del group.running[self.name]
            await running.store.close()

    def _identity(self, start: Start | None) -> Identity:
        data = self.directory / DATA
        if data.exists():
            return msgspec.json.decode(data.read_bytes(), type=Identity)
        if start is None:
            raise Corrupt("no data, and no cluster to start in")
        mine = self._joined(start) if start.existing else self._founded(start)
        self.directory.mkdir(exist_ok=True)
        data.write_bytes(msgspec.json.encode(mine))
        return mine

    def _founded(self, start: Start) -> Identity:
        """The first start of a first server, after its promise and its local state are written."""
        promises = datadir.read(self._folder / datadir.PROMISE, datadir.Promises)
        mine = datadir.read(self._folder / datadir.LOCAL_STATE, datadir.LocalState)
        assert promises is not None
        assert mine is not None
        kept = [each.members for each in promises.open if f"{each.cluster_id}.0" == start.token]
        assert kept == [start.members], f"{self.name} forms a cluster that it has not promised"
        assert start.token == f"{mine.cluster_id}.{mine.epoch}"
        group = self._groups.setdefault(start.token, Group(start.token, start.members))
        group.reaches = self._reaches
        assert group.members == start.members, "two lists for one cluster"
        group.founders.add(self.name)
        return Identity(start.token, group.votes.member_of(self.name))

    def _joined(self, start: Start) -> Identity:
        """The first start of a server that becomes a voter, after its member mark is written."""
        mark = datadir.read(self.directory / datadir.MEMBER, datadir.MemberMark)
        assert mark is not None
        assert start.token == f"{mark.cluster_id}.{mark.epoch}"
        group = self._groups[start.token]
        group.votes.start(self.name, mark.member_id)
        return Identity(start.token, mark.member_id)
