"""The lifecycle of one server, with fakes around it: a member, a leader that answers, a disk."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.clock import BEGIN_NS, VirtualClock
from tests.sim.loop import simulate
from tests.sim.net import itself, meet
from tests.sim.store import Disk, MemoryStore

from bellcow.cluster import datadir
from bellcow.cluster.datadir import LocalState, MemberMark, Promise, Promises
from bellcow.cluster.engine.protocol import ReplaceablePeers, Single, Status
from bellcow.cluster.lifecycle.assembly import assemble
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Leader, Table
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import (
    BOOTSTRAP_PATH,
    JOIN_PATH,
    STANDING_PATH,
    BootstrapRequest,
    JoinRequest,
    MemberOrder,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import ONLY, RAFT, Tables
from bellcow.store.protocol import Head
from bellcow.store.replaceable import ReplaceableStore
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from bellcow.cluster.engine.protocol import Start
    from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
    from bellcow.cluster.members.schedule import Target

ALWAYS = 1e12  # seconds: a server that answered then still counts as answering
OURS = Cluster("ours", 2)
HERE = LocalState(cluster_id="ours", epoch=2, role="non-voter", servers=(("a", 4648),))
VOTES = LocalState(cluster_id="ours", epoch=2, role="voter")
MARK = MemberMark(cluster_id="ours", epoch=2, member_id=7)
FOUNDERS = (("a", "a:4647"), ("b", "b:4647"), ("c", "c:4647"))
KINDS = {
    BOOTSTRAP_PATH: BootstrapRequest,
    JOIN_PATH: JoinRequest,
    STANDING_PATH: StandingRequest,
}


class Clock(VirtualClock):
    """A virtual clock that shows 0 while no loop runs."""

    def monotonic(self) -> float:
        try:
            return super().monotonic()
        except RuntimeError:
            return 0.0


class Votes(Single):
    """The votes of this server: member 7, with a leader unless a test changes that."""

    def __init__(self) -> None:
        super().__init__("b", "b:4647", 1)
        self.now = Status(member_id=7, leader_id=1, term=1)

    async def status(self) -> Status:
        return self.now


class Member:
    """A fake etcd. `starts` has the arguments of each start, and the files that it found."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / datadir.RAFT
        self.starts: list[tuple[Start | None, set[str]]] = []
        self.votes = Votes()
        self.store = MemoryStore(Disk())
        self.peers = self.votes
        self.ended: asyncio.Future[None] | None = None

    def has_data(self) -> bool:
        return (self.directory / "data").exists()

    @asynccontextmanager
    async def running(self, start: Start | None) -> AsyncIterator[Member]:
        folder = self.directory.parent
        self.starts.append((start, {path.name for path in folder.rglob("*")}))
        self.directory.mkdir(exist_ok=True)
        (self.directory / "data").touch()
        self.ended = asyncio.get_running_loop().create_future()
        yield self


class Scene:
    """The lifecycle of server b, with fakes around it."""

    def __init__(self, folder: Path, *others: str, **fields: object) -> None:
        self.folder = folder
        self.clock = Clock()
        self.events: list[str] = []
        self.asked: list[Any] = []
        self.answers: dict[str, Any] = {}
        self.member = Member(folder)
        self.tables = Tables()
        self.slot, self.votes = ReplaceableStore(), ReplaceablePeers()
        self.duplicate = ""
        self.recovered: bool | None = None
        me = itself("b", server_id="b", bootstrap_expect=3, **fields)
        self.roster = Roster(me, self.clock)
        for name in others:
            self.meet(name)
        self.lifecycle = self.assemble()

    def assemble(self) -> ClusterLifecycle:
        """A lifecycle on the present files, as after a crash."""
        return assemble(
            folder=self.folder,
            engine=self.member,  # type: ignore[arg-type]
            follow=lambda _cluster: MemoryStore(Disk()),
            recover=self.recover,
            roster=self.roster,
            transport=self,  # type: ignore[arg-type]
            slot=self.slot,
            votes=self.votes,
            tables=self.tables,
            joins=True,
            clock=self.clock,
            report=lambda event, /, **_fields: self.events.append(event),
            duplicate=lambda: self.duplicate,
        )

    async def recover(self) -> bool | None:
        return self.recovered

    def meet(self, name: str, cluster: Cluster | None = None) -> None:
        """Another server answers from now on."""
        meet(self.roster, name, cluster, answered=ALWAYS)

    def led_by(self, name: str, cluster: Cluster = OURS) -> None:
        self.meet(name, cluster)
        table = self.roster.table
        leader = Leader(server_id=name, epoch=cluster.epoch, term=1, heard=ALWAYS)
        self.roster.table = Table(
            me=table.me, known=table.known, contacts=table.contacts, leader=leader
        )

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        message = decode(body, KINDS[path])
        self.asked.append(message)
        await asyncio.sleep(0.001)
        answer = self.answers.get(path, Error(Code.UNAVAILABLE, f"{target.server_id} is silent"))
        answer = answer(message) if callable(answer) else answer
        if isinstance(answer, Error):
            raise answer
        return encode(answer)

    def configured(self, *servers: RaftServer) -> None:
        row = to_msgpack(RaftConfiguration(servers=servers))
        self.tables.apply(Head(index=self.tables.index + 1), {(RAFT.name, ONLY): row})

    def written(self) -> LocalState | None:
        return datadir.read(self.folder / datadir.LOCAL_STATE, LocalState)

    def promised(self) -> tuple[str, ...]:
        """The proposers of the promises on the disk."""
        promises = datadir.read(self.folder / datadir.PROMISE, Promises)
        return tuple(each.proposer for each in promises.open) if promises else ()

    def plays(self, *acts: tuple[float, Callable[[], object]], until: float = 5.0) -> None:
        """Run until that second, with acts at given seconds."""

        async def life() -> None:
            async with asyncio.TaskGroup() as group:
                lifecycle = group.create_task(self.lifecycle.run())
                for at, act in acts:
                    await asyncio.sleep(at - self.clock.monotonic())
                    done = act()
                    if asyncio.iscoroutine(done):
                        await done
                await asyncio.sleep(until - self.clock.monotonic())
                lifecycle.cancel()

        simulate(life())


def standing(*, cluster: Cluster = OURS, **fields: bool) -> Standing:
    values = {"configured": True, "voter": False, **fields}
    return Standing(cluster_id=cluster.id, epoch=cluster.epoch, founding=cluster.founding, **values)


def request(proposer: str = "a", cluster_id: str = "new") -> BootstrapRequest:
    members = tuple(pair for pair in FOUNDERS if pair[0] >= proposer)
    return BootstrapRequest(cluster_id=cluster_id, proposer=proposer, members=members)


def order(**fields: object) -> MemberOrder:
    values: dict[str, object] = {
        "cluster_id": "ours",
        "epoch": 2,
        "server_id": "b",
        "member_id": 7,
        "members": FOUNDERS,
        "token": "ours.2",
    }
    return MemberOrder(**{**values, **fields})  # type: ignore[arg-type]


def refusal(call: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(Error) as caught:
        simulate(call)
    assert caught.value.code is Code.REFUSED
    return caught.value.message


def promise(proposer: str, cluster_id: str = "ours", epoch_s: float = 0.0) -> Promise:
    return Promise(
        cluster_id=cluster_id,
        proposer=proposer,
        members=FOUNDERS,
        time_ns=BEGIN_NS + round(epoch_s * 1e9),
    )


def put_member(folder: Path, mark: MemberMark | None = MARK) -> None:
    """The files of a voter."""
    datadir.write(folder / datadir.LOCAL_STATE, VOTES)
    (folder / datadir.RAFT).mkdir()
    (folder / datadir.RAFT / "data").touch()
    if mark is not None:
        datadir.write(folder / datadir.RAFT / datadir.MEMBER, mark)


class Full:
    """A disk that is full for files of that name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.name, self.full, self.tries = name, True, 0
        self._write = datadir.write
        monkeypatch.setattr(datadir, "write", self.write)

    def write(self, path: Path, value: Any) -> None:
        if path.name == self.name:
            self.tries += 1
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
        self._write(path, value)

    def free(self) -> None:
        self.full = False


def followed(folder: Path) -> Scene:
    """A non-voter, admitted and configured."""
    datadir.write(folder / datadir.LOCAL_STATE, HERE)
    scene = Scene(folder)
    scene.led_by("a")
    scene.answers[JOIN_PATH] = standing()
    scene.answers[STANDING_PATH] = standing(is_member=True)
    scene.configured(RaftServer(id="b", address="b:4647", name="b.global", voter=False))
    return scene
