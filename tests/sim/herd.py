"""A world with elections and failure detection, in which servers join and leave.

The test causes the events. Before each change of the members the herd checks that the change was
written down, and that it keeps the quorum.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import msgspec
import pytest
from tests.sim.world import World, configuration, target

from bellcow.autopilot.rules import Silence
from bellcow.cluster.formation.initial_state import AgreedCluster
from bellcow.cluster.peers.changes import DEMOTE, FORCED, PROMOTE, REMOVE, UPDATE
from bellcow.cluster.peers.quorum import keeps_quorum
from bellcow.errors import Code, Error
from bellcow.model.agent import ALIVE, FAILED
from bellcow.model.membership_calls import (
    JOIN_PATH,
    LEAVE_PATH,
    MEMBER_PATH,
    STANDING_PATH,
    Done,
    JoinRequest,
    LeaveRequest,
    MemberOrder,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import ONLY, RAFT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from tests.sim.peers import Change
    from tests.sim.world import SimServer

    from bellcow.cluster.engine.protocol import Peer
    from bellcow.cluster.members.schedule import Target
    from bellcow.cluster.peers.inputs import ClusterView

CLUSTER_ID = "the-herd"
ELECTION_S = 1.0
FAILED_AFTER_S = 5.0
KINDS = {
    "add": {PROMOTE},
    "promote": {PROMOTE},
    "update": {UPDATE},
    "remove": {DEMOTE, REMOVE, FORCED},
}


class Herd(World):
    """Use as `async with Herd(...)`, inside a virtual loop. The first servers vote."""

    tended = True

    def __init__(self, *names: str, seed: int = 0, folder: Path | None = None) -> None:
        super().__init__(*names, seed=seed, folder=folder)
        self.founders = self.names
        self.addresses = {name: f"{name}:4647" for name in self.names}
        self.down: dict[str, float] = {}
        self.wiped: set[str] = set()
        self.going: set[str] = set()  # servers that say that they are leaving
        self.dies: tuple[str, str] | None = None  # the server to kill, and after which step
        self.violations: list[str] = []
        self.refused: dict[str, str] = {}  # by server: why its last admission failed
        self.votes.is_up = self.is_up
        self.votes.on_change = self._check_change
        self._life: asyncio.Task[None] | None = None
        self._stops: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._life = asyncio.get_running_loop().create_task(self._elections())
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        await super().__aexit__(*failure)

    async def begin(self) -> SimServer:
        for name in self.names:
            self.start(name)
        self.elect(self.names[0])
        first = self.servers[self.names[0]]
        await first.leadership.wait_for_leader()
        return first

    # Events

    def start(self, name: str, fault: object = None) -> SimServer:
        if name not in self.names:
            self.names = (*self.names, name)
            self.statuses[name], self.contact_ms[name] = ALIVE, 50.0
            self.addresses.setdefault(name, f"{name}:4647")
        self.down.pop(name, None)
        self.statuses[name] = ALIVE
        return super().start(name) if fault is None else super().start(name, fault)  # type: ignore[arg-type]

    def stray(self, address: str) -> None:
        """Add a non-voting member that no change is about."""
        check, self.votes.on_change = self.votes.on_change, lambda change, peer: None
        self.votes.add(address)
        self.votes.on_change = check

    async def stop(self, name: str) -> None:
        if name in self.servers:
            self.down[name] = self.clock.monotonic()
            await super().stop(name)

    def is_up(self, name: str) -> bool:
        """Whether its member takes part."""
        server = self.servers.get(name)
        return server is not None and name not in self.wiped and server.peers.frozen is None

    def leader(self) -> SimServer | None:
        leading = [each for each in self.servers.values() if each.leadership.is_leader]
        return max(leading, key=lambda each: each.tables.head.term, default=None)

    def request(self, name: str) -> JoinRequest:
        return JoinRequest(
            server_id=name,
            address=self.addresses[name],
            name=f"{name}.global",
            version="1",
            cluster_id="" if name in self.wiped else CLUSTER_ID,
        )

    async def ask_to_join(self, name: str) -> Standing:
        """Ask for admission, as a server does at its start. Raises Error."""
        leader = self.leader()
        if leader is None:
            raise Error(Code.NO_LEADER, "No cluster leader")
        body = encode(self.request(name))
        return decode(await self.post(target(leader.name), JOIN_PATH, body), Standing)

    async def join(self, address: tuple[str, int]) -> None:
        del address

    async def settle(self, limit_s: float = 60.0) -> None:
        """Wait until there is a leader and no change is under way."""
        end = self.clock.monotonic() + limit_s
        while self.leader() is None or self.stored().change is not None:
            await asyncio.sleep(0.05)
            assert self.clock.monotonic() < end, f"not settled: {self.stored()}"

    async def leading(self) -> SimServer:
        """Wait for a leader."""
        end = self.clock.monotonic() + 10.0
        while (leader := self.leader()) is None:
            await asyncio.sleep(0.05)
            assert self.clock.monotonic() < end, "nobody leads"
        return leader

    # Views

    def agreed_cluster(self) -> AgreedCluster | None:
        servers = configuration(self.founders).servers
        return AgreedCluster(cluster_id=CLUSTER_ID, servers=servers)

    def leader_for(self, name: str) -> str:
        leader = self.leader()
        return leader.name if leader is not None and leader.name != name else ""

    def status(self, name: str) -> str:
        since = self.down.get(name)
        if self.statuses[name] != ALIVE or since is None:
            return self.statuses[name]
        return FAILED if self.clock.monotonic() - since >= FAILED_AFTER_S else ALIVE

    def silence(self, name: str) -> Silence:
        silent_s = self.clock.monotonic() - self.down.get(name, 0.0)
        return Silence(failed_s=silent_s - FAILED_AFTER_S, silent_s=silent_s)

    def view(self, name: str) -> ClusterView:
        seen = super().view(name)
        leader = self.votes.leader
        roles = {
            each: "none"
            if not (member := self._member(each))
            else "leader"
            if member == leader
            else "follower"
            for each in seen.answering
        }
        addresses = {each: self.addresses[each] for each in seen.alive}
        clusters = dict.fromkeys(set(self.names) - self.wiped, CLUSTER_ID)
        return msgspec.structs.replace(
            seen,
            roles=roles,
            addresses=addresses,
            clusters=clusters,
            leaving=frozenset(self.going & seen.answering),
        )

    def _member(self, name: str) -> int:
        return self.votes.member_of(name) if self.is_up(name) else 0

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        await asyncio.sleep(0.001)
        server = self.servers.get(target.server_id)
        if server is None:
            raise Error(Code.UNAVAILABLE, "connection refused")
        membership = server.membership
        if path == MEMBER_PATH:
            self._obey(decode(body, MemberOrder))
            return encode(Done())
        if path == STANDING_PATH:
            return encode(await membership.standing(decode(body, StandingRequest)))
        if path == LEAVE_PATH:
            return encode(await membership.leave(decode(body, LeaveRequest).server_id))
        return encode(await membership.admit(decode(body, JoinRequest)))

    def _obey(self, order: MemberOrder) -> None:
        """Start the member that the leader has added."""
        assert order.cluster_id == CLUSTER_ID
        assert order.server_id in dict(order.members)
        self.wiped.discard(order.server_id)
        self.votes.start(order.server_id, order.member_id)
        self._perhaps_die("start")

    async def _elections(self) -> None:
        """Elect a member one second after the leader is lost."""
        alone_s = 0.0
        while True:
            await asyncio.sleep(0.1)
            self.votes.settle()
            alone_s = alone_s + 0.1 if self.votes.leader is None else 0.0
            if alone_s >= ELECTION_S and self.votes.has_quorum():
                up = [name for name in self.votes.voters() if self.is_up(name)]
                number = int(self.clock.uniform(0, len(up) - 0.001))
                self.votes.elect(self.votes.member_of(up[number]))
                alone_s = 0.0

    # What must hold

    def stored(self) -> RaftConfiguration:
        """The configuration in the store."""
        disk = self.disk
        row = disk.objects.get(disk.head.gen, {}).get((RAFT.name, ONLY))
        return RAFT.decoder.decode(row) if row else RaftConfiguration()

    def _check_change(self, change: Change, peer: Peer) -> None:
        """Called before a change of the members is made."""
        wanted = self.stored().change
        if wanted is None or wanted.kind not in KINDS[change]:
            self.violations.append(f"{change} {peer} was not written down: {wanted}")
        elif change == "remove" and peer.voter and wanted.kind != FORCED:
            self._check_quorum(peer)
        if change in {"add", "promote"}:
            self._perhaps_die(change)

    def _check_quorum(self, peer: Peer) -> None:
        left = [name for name in self.votes.voters() if name != peer.server_id]
        now = self.clock.monotonic()
        # A server that died just now cannot be known as dead.
        fresh = {name for name, since in self.down.items() if now - since < 0.1}
        up = {name for name in left if self.is_up(name) or name in fresh}
        if not keeps_quorum(left, up):
            self.violations.append(f"removing {peer.server_id} leaves {left}, of which {up} live")

    def _perhaps_die(self, step: str) -> None:
        if self.dies is None or self.dies[1] != step:
            return
        name, self.dies = self.dies[0], None
        task = asyncio.get_running_loop().create_task(self.stop(name))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)


@asynccontextmanager
async def begun(*names: str) -> AsyncIterator[Herd]:
    """A herd of these servers, or of a, b and c unless named; the first leads."""
    async with Herd(*(names or ("a", "b", "c"))) as herd:
        await herd.begin()
        yield herd


async def refusal(work: Awaitable[object]) -> Error:
    with pytest.raises(Error) as caught:
        await work
    return caught.value
