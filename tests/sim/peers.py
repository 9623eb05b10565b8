"""Scripted consensus: leader, term, members, and engines that do not answer.

`Votes` is the members' agreed state, with etcd's behavior where membership depends on it: one
learner at a time, promotion only of a learner in sync, ids that are never reused.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from tests.sim.store import Fault

from bellcow.cluster.engine.protocol import Peer, Status
from bellcow.cluster.peers.quorum import keeps_quorum
from bellcow.store.protocol import Busy, NotLeader, Unavailable, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

Change: TypeAlias = Literal["add", "promote", "update", "remove", "transfer"]

SYNC_S = 0.5  # a learner is in sync this long after its start


class Votes:
    """The members' agreed state. Shared by all servers of a world."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.term = 0
        self.leader: int | None = None
        self.members = {
            number: Peer(member_id=number, server_id=name, address=f"{name}:4647", voter=True)
            for number, name in enumerate(names, 1)
        }
        self.is_up: Callable[[str], bool] = lambda name: True
        self.fault: Callable[[Change], Fault | None] = lambda change: None
        self.on_change: Callable[[Change, Peer], None] = lambda change, peer: None
        self._started: dict[int, float] = {}
        self._last = len(names)

    def count_from(self, last: int) -> None:
        """The next member's id is the one after `last`."""
        self._last = last

    def elect(self, member_id: int | None) -> None:
        """Begin a term led by `member_id`; None: no member has a majority, the term stays."""
        if member_id is not None:
            self.term += 1
        self.leader = member_id

    def member_of(self, name: str) -> int:
        """The member id of a server; 0 without one."""
        found = (each.member_id for each in self.members.values() if each.server_id == name)
        return next(found, 0)

    def voters(self) -> list[str]:
        return [each.server_id for each in self.members.values() if each.voter]

    def has_quorum(self) -> bool:
        voters = self.voters()
        return keeps_quorum(voters, {name for name in voters if self.is_up(name)})

    def settle(self) -> None:
        """End the leadership of a member that is down or has no quorum."""
        leader = self.members.get(self.leader or 0)
        if leader is None or not self.is_up(leader.server_id) or not self.has_quorum():
            self.leader = None

    def start(self, name: str, member_id: int) -> None:
        """Record that a server has started its member."""
        if member_id in self.members and not self.members[member_id].server_id:
            started = msgspec.structs.replace(self.members[member_id], server_id=name)
            self.members[member_id] = started
            self._started[member_id] = asyncio.get_running_loop().time()

    # Calls of the leader; `Unavailable` and `Busy` are certainly not done

    def add(self, address: str) -> Peer:
        if any(not each.voter for each in self.members.values()):
            raise Busy("too many learner members in cluster")
        if any(each.address == address for each in self.members.values()):
            raise Unavailable("Peer URLs already exists")
        self._last += 1
        peer = Peer(member_id=self._last, server_id="", address=address, voter=False)
        self.on_change("add", peer)
        self.members[peer.member_id] = peer
        return peer

    def promote(self, member_id: int) -> None:
        peer = self._member(member_id)
        if peer.voter:
            raise Unavailable("can only promote a learner member")
        started = self._started.get(member_id)
        if started is None or asyncio.get_running_loop().time() - started < SYNC_S:
            raise Busy("can only promote a learner member which is in sync with leader")
        self.on_change("promote", peer)
        self.members[member_id] = msgspec.structs.replace(peer, voter=True)

    def update(self, member_id: int, address: str) -> None:
        peer = msgspec.structs.replace(self._member(member_id), address=address)
        self.on_change("update", peer)
        self.members[member_id] = peer

    def remove(self, member_id: int) -> None:
        self.on_change("remove", self._member(member_id))
        del self.members[member_id]

    def _member(self, member_id: int) -> Peer:
        if member_id not in self.members:
            raise Unavailable("member not found")
        return self.members[member_id]


def answers() -> bool:
    return True


def flapping(seed: int, rate: float) -> Callable[[], bool]:
    """An engine that leaves a fraction `rate` of calls unanswered; the seed decides which."""
    chance = random.Random(seed)
    return lambda: chance.random() >= rate


class ScriptedPeers:
    """One server's `Peers`. `reachable` is called before each answer and may be replaced."""

    def __init__(self, votes: Votes, name: str) -> None:
        self.votes = votes
        self.name = name
        self.reachable: Callable[[], bool] = answers
        self.frozen: Status | None = None

    def cut_off(self) -> None:
        """Freeze this member's view at its current one."""
        self.frozen = self.seen()

    async def status(self) -> Status:
        await asyncio.sleep(0)
        if not self.reachable():
            raise Unavailable("the engine beside us does not answer")
        return self.seen()

    def seen(self) -> Status:
        """This member's view, whether it answers or not."""
        return self.frozen or Status(
            member_id=self.votes.member_of(self.name),
            leader_id=self.votes.leader,
            term=self.votes.term,
        )

    async def members(self) -> list[Peer]:
        await self._reach()
        return list(self.votes.members.values())

    async def add(self, address: str) -> Peer:
        fault = await self._enter("add")
        peer = self.votes.add(address)
        self._leave(fault)
        return peer

    async def promote(self, member_id: int) -> None:
        fault = await self._enter("promote")
        self.votes.promote(member_id)
        self._leave(fault)

    async def update(self, member_id: int, address: str) -> None:
        fault = await self._enter("update")
        self.votes.update(member_id, address)
        self._leave(fault)

    async def remove(self, member_id: int) -> None:
        fault = await self._enter("remove")
        self.votes.remove(member_id)
        self._leave(fault)
        self.votes.settle()

    async def transfer(self, member_id: int) -> None:
        fault = await self._enter("transfer")
        target = self.votes.members.get(member_id)
        if self.votes.leader != self.votes.member_of(self.name):
            raise NotLeader("not leader")
        if target is None or not target.voter:
            raise Unavailable("bad leader transferee")
        if not self.votes.is_up(target.server_id):
            raise Unknown("request timed out, leader transfer took too long")
        self.votes.elect(member_id)
        self._leave(fault)

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.reachable():
            raise Unavailable("the engine beside us does not answer")
        if self.frozen or self.votes.leader is None:
            raise Unavailable("no leader")

    async def _enter(self, change: Change) -> Fault | None:
        await self._reach()
        fault = self.votes.fault(change)
        if fault is Fault.UNAVAILABLE:
            raise Unavailable("not reachable")
        if fault is Fault.UNKNOWN_NOT_DONE:
            raise Unknown("the answer is lost")
        return fault

    def _leave(self, fault: Fault | None) -> None:
        if fault is Fault.UNKNOWN_DONE:
            raise Unknown("the answer is lost")
