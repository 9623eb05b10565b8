"""The part a server takes in its cluster: outside, without a vote, with one; and how it changes.

A loop of steps, each of which ends with the next one. It owns their order: files are written before
what they stand for is done, and store and votes are put where the rest of the server finds them.
By which rules a server promises, proposes or counts as away, and how a file is written, it must not
know; whom to admit and promote is decided on the leader.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from bellcow.cluster.engine.protocol import Start
from bellcow.cluster.formation.initial_state import Charter
from bellcow.cluster.formation.promises import PromiseBook
from bellcow.cluster.formation.proposer import Proposer
from bellcow.cluster.formation.rules import GIVEN_UP_S
from bellcow.cluster.lifecycle.leader_client import LeaderClient
from bellcow.cluster.lifecycle.local_state import LocalFiles
from bellcow.cluster.lifecycle.removal import (
    RemovalWatch,
    is_configured,
    is_going,
    is_led_ahead,
    look,
    removal_of,
    seen,
    was_taken_for_dead,
)
from bellcow.cluster.members.queries import clusters_here
from bellcow.deadline import timeout
from bellcow.errors import refused
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import BootstrapRequest, Done, MemberOrder, Standing
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import RAFT
from bellcow.store.protocol import NO_HEAD, Corrupt, StoreError
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.datadir import Promise
    from bellcow.cluster.engine.protocol import Engine, ReplaceablePeers, Running
    from bellcow.cluster.lifecycle.removal import Inputs
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.roster import Roster
    from bellcow.events import Report
    from bellcow.state.tables import Tables
    from bellcow.store.protocol import Head, Key, Store
    from bellcow.store.replaceable import ReplaceableStore

LOOK_S = 0.1  # between two looks at what may end a step
AROUND_S = 1.0  # to hear, before a member starts, whether its cluster went on without it
TWIN_S = 10.0  # after which another server with our id is not our own past
AGAIN_S = 1.0  # between two tries to be admitted
RECALL_S = 2.0  # without a leader after the start of a member, before its files are read
DOWN_S = 5.0  # between two questions whether a member that does not run is still wanted


def _nobody() -> str:
    """A server whose id nobody else has."""
    return ""


async def _forgetful(head: Head, items: list[tuple[Key, bytes]]) -> None:
    """A memory that takes nothing in but from its store."""
    del head, items


class Lifecycle(Protocol):
    """What the rest of the server knows of its part."""

    @property
    def cluster(self) -> Cluster | None: ...

    @property
    def has_member(self) -> bool:
        """Whether a member of this server takes part in the consensus."""

    def serves(self) -> Cluster | None:
        """The cluster whose truth this server holds itself; None for a copy."""

    def charter(self) -> Charter | None: ...

    def troubles(self) -> Mapping[str, Mapping[str, object]]:
        """What has kept it out of a cluster lately: events of the log, with their fields."""

    async def run(self) -> None: ...

    async def promise(self, request: BootstrapRequest) -> Done: ...

    async def obey(self, order: MemberOrder) -> Done: ...

    async def rejoin(self) -> None: ...


class _Discover(msgspec.Struct, frozen=True):
    """In no cluster: find one, or found one."""


class _Join(msgspec.Struct, frozen=True):
    """Ask the leader to be admitted without a vote."""


class _Replicate(msgspec.Struct, frozen=True):
    """Without a vote: follow the commits of those who have one."""


class _Vote(msgspec.Struct, frozen=True):
    """With a member of our own. `start` is for its first start."""

    start: Start | None = None


_Step = _Discover | _Join | _Replicate | _Vote


class ClusterLifecycle:
    """A server among others. `run` is its life."""

    def __init__(
        self,
        *,
        folder: Path,
        engine: Engine,
        follow: Callable[[Cluster], Store],
        recover: Callable[[], Awaitable[bool | None]],
        roster: Roster,
        line: Transport,
        slot: ReplaceableStore,
        votes: ReplaceablePeers,
        tables: Tables,
        joins: bool,
        clock: Clock,
        report: Report,
        twin: Callable[[], str] = _nobody,
        elsewhere: Callable[[], Mapping[str, Cluster]] = dict,
        recall: Callable[[Head, list[tuple[Key, bytes]]], Awaitable[None]] = _forgetful,
    ) -> None:
        """`twin` tells of another server with our id, `elsewhere` of those in other clusters.

        `recall` takes a state that may be old into a memory that has none.
        """
        self._engine = engine
        self._open_follower = follow
        self._recover = recover
        self._roster = roster
        self._slot = slot
        self._votes = votes
        self._tables = tables
        self._twin = twin
        self._elsewhere = elsewhere
        self._recall = recall
        self._clock = clock
        self._report = report
        self._reminders = Reminders(clock, report)
        self._changed = asyncio.Event()
        self._order: MemberOrder | None = None
        self._rejoin = False
        self._absence = RemovalWatch()
        self._has_recalled = False
        self._serves = False  # the store is that of our own member
        self.has_member = False
        self._leader = LeaderClient(roster, line, clock, self._reminders)
        self._promises = PromiseBook(folder, roster, clock)
        self._proposer = Proposer(
            promises=self._promises,
            roster=roster,
            line=line,
            joins=joins,
            clock=clock,
            reminders=self._reminders,
            report=report,
        )
        self._files = LocalFiles(folder, engine.directory, roster, clock, report)
        self._read_files()

    # What others ask

    def troubles(self) -> Mapping[str, Mapping[str, object]]:
        return self._reminders.latest()

    @property
    def cluster(self) -> Cluster | None:
        return self._files.cluster

    @property
    def known_addresses(self) -> tuple[tuple[str, int], ...]:
        """Where servers of the cluster were when they were last seen."""
        local_state = self._files.local_state
        return local_state.servers if local_state else ()

    def serves(self) -> Cluster | None:
        return self.cluster if self._serves else None

    def charter(self) -> Charter | None:
        """What the first leader writes into the cluster that it has founded with others."""
        promise = self._promises.of(self.cluster)
        if promise is None:
            return None
        names = self._roster.names()
        servers = (
            RaftServer(id=server_id, address=address, name=names.get(server_id, server_id))
            for server_id, address in promise.members
        )
        return Charter(cluster_id=promise.cluster_id, servers=tuple(servers))

    async def promise(self, request: BootstrapRequest) -> Done:
        """Promise to found this cluster with these servers. Raises Error(REFUSED)."""
        await self._promises.give(request, lambda: self.cluster)
        return Done()

    async def obey(self, order: MemberOrder) -> Done:
        """Start a member, as the leader has put it into the list. Raises Error(REFUSED)."""
        me = self._roster.itself.server_id
        if order.server_id != me:
            raise refused(f"this is server {me}")
        if self.cluster != Cluster(order.cluster_id, order.epoch, order.founding):
            raise refused("this server is in another cluster, or in another epoch of it")
        local_state = self._files.local_state
        if local_state and local_state.role == "voter":
            if self._files.member_id != order.member_id:
                raise refused("this server still has the member it had before")
            return Done()
        self._order = order
        self._changed.set()
        return Done()

    async def rejoin(self) -> None:
        """Ask to be admitted again if we were taken out, which the leader knows before we do."""
        if self._files.local_state is None:
            return  # it looks for a cluster anyway
        standing = await self._own_standing()
        if is_configured(self._look()) if standing is None else standing.configured:
            return
        self._rejoin = True
        self._changed.set()

    # The steps

    async def run(self) -> None:
        try:
            await self._live()
        finally:
            await self._slot.close()

    async def _live(self) -> None:
        recovered = await self._recover()
        step: _Step | None = None
        if recovered is not None:
            self._read_files()
            step = _Vote() if recovered else _Join()
        while True:
            try:
                step = await (self._first() if step is None else self._take(step))
            except OSError as error:
                # What a write that failed has left is what a crash would have left.
                self._reminders.say("local_state_write_failed", reason=str(error))
                await self._pause(AGAIN_S)
                self._read_files()
                step = None

    async def _take(self, step: _Step) -> _Step:
        match step:
            case _Discover():
                return await self._discover()
            case _Join():
                return await self._join()
            case _Replicate():
                return await self._replicate()
            case _Vote():
                return await self._vote(step.start)

    async def _first(self) -> _Step:
        """By what is on the disk."""
        local_state = self._files.local_state
        if local_state is None:
            await self._promises.forget_own()
            return _Discover()
        if local_state.role == "non-voter":
            await self._serve_copy(local_state.cluster)
            return _Join()
        if self._engine.has_data():
            self.has_member = True
            await self._hear_for(AROUND_S)
            await self._must_be_the_only_one()
            return _Vote()
        promise = self._promises.of(local_state.cluster)
        if promise is not None and promise.given_up:
            await self._files.leave_place()
            return _Discover()
        return _Vote(_start_of(promise)) if promise else _Join()

    async def _must_be_the_only_one(self) -> None:
        """Raise Corrupt while others hear another server with our id: its member may vote twice.

        One that has moved is heard at its old address for some seconds.
        """
        end = self._clock.monotonic() + TWIN_S
        while problem := self._twin():
            if self._clock.monotonic() >= end:
                raise Corrupt(problem)
            await self._pause(LOOK_S)

    async def _hear_for(self, seconds: float) -> None:
        """Wait until somebody shows a later epoch of our cluster, or the time is over."""
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            table = self._roster.table
            if table.ahead is not None or any(c.raft for c in table.contacts.values()):
                return
            await self._pause(LOOK_S / 2)

    async def _discover(self) -> _Step:
        while True:
            found = clusters_here(self._roster.table)
            if len(found) > 1:
                ids = sorted(cluster.id for cluster in found)
                self._reminders.say("several_clusters", clusters=", ".join(ids))
            elif found:
                (cluster,) = found
                promise = self._promises.to_found(cluster)
                return await self._found(promise) if promise else _Join()
            elif promise := await self._proposer.propose():
                return await self._found(promise)
            await self._pause(LOOK_S)

    async def _found(self, promise: Promise) -> _Vote:
        """Whatever an earlier member has left must not be taken up by the first start."""
        cluster = Cluster(promise.cluster_id, 0)
        await self._files.set_aside(cluster)
        await self._files.record_role(cluster, "voter")
        return _Vote(_start_of(promise))

    async def _join(self) -> _Step:
        """Until the leader has admitted us, or the cluster that we have seen is gone."""
        self._rejoin = self.has_member = False
        while self._files.local_state is not None or len(clusters_here(self._roster.table)) == 1:
            standing = await self._leader.join(self._cluster_id())
            # Admitted is who is there without a vote: with one, it still stands for a member lost.
            if standing is not None and not standing.voter and self._is_no_step_back(standing):
                cluster = Cluster(standing.cluster_id, standing.epoch, standing.founding)
                await self._leave_history(cluster)
                await self._files.record_role(cluster, "non-voter")
                self._report("joined", cluster=cluster.id, epoch=cluster.epoch)
                removal = removal_of(self._look())
                self._absence = self._absence.over(removal.removed_ns if removal else 0)
                return _Replicate()
            await self._pause(AGAIN_S if self._leader.target() else LOOK_S)
        return _Discover()

    def _is_no_step_back(self, standing: Standing) -> bool:
        cluster = self.cluster
        return (
            cluster is None
            or cluster.id != standing.cluster_id
            or (standing.epoch >= cluster.epoch)
        )

    async def _leave_history(self, cluster: Cluster) -> None:
        """Files of another membership are set aside before the next one begins."""
        await self._files.set_aside(cluster)
        await self._promises.drop()

    async def _replicate(self) -> _Step:
        local_state = self._files.local_state
        assert local_state is not None  # noqa: S101  it was taken before
        await self._serve_copy(local_state.cluster)
        self._order = None
        while True:
            order, self._order = self._order, None
            if order is not None and await self._is_in_force(order):
                return await self._prepare(order)
            view = self._note_absence()
            # A server that was removed while it answered stays out.
            taken_for_dead = was_taken_for_dead(self._absence, view)
            if is_led_ahead(view) or self._rejoin or taken_for_dead:
                return _Join()
            await self._files.remember_addresses()
            await self._pause(LOOK_S)

    async def _serve_copy(self, cluster: Cluster) -> None:
        """Stale reads are answered from what was kept of the state, whoever can be reached."""
        await self._slot.put(None)
        await self._slot.put(self._open_follower(cluster))

    async def _is_in_force(self, order: MemberOrder) -> bool:
        """Whether the leader still wants it: one that was held up on its way may be given up."""
        standing = await self._leader.standing(order.member_id)
        return standing is not None and standing.is_member

    def _note_absence(self) -> Inputs:
        view = self._look()
        self._absence = seen(self._absence, view)
        return view

    def _look(self) -> Inputs:
        return look(self._roster, self._tables, self.cluster, self._clock.monotonic())

    async def _prepare(self, order: MemberOrder) -> _Vote:
        """Make room for a member, and write down whose it is before it starts."""
        cluster = Cluster(order.cluster_id, order.epoch, order.founding)
        await self._leave_history(cluster)
        await self._files.make_room(cluster, order.member_id)
        return _Vote(Start(existing=True, members=order.members, token=order.token))

    async def _vote(self, start: Start | None) -> _Step:
        try:
            async with self._engine.running(start) as running:
                self.has_member = True
                try:
                    return await self._with_member(running)
                finally:
                    self._votes.put(None)
                    self.has_member = self._serves = False
        except StoreError as error:
            return await self._after_end(error)

    async def _with_member(self, running: Running) -> _Step:
        """Until it is no member, or its cluster has gone on without it."""
        began = self._clock.monotonic()
        self._files.forget_member()
        while True:
            if running.ended.done():
                if self._serves and is_going(self._look()):
                    self._absence = self._absence.over()
                self.has_member = self._serves = False
                return await self._after_end(running.ended.exception())
            if not self._serves:
                self._serves = await self._begin_to_vote(running)
            else:
                await self._tidy_up()
            if is_led_ahead(self._note_absence()):
                # Its files are given up only for an admission, never for a mere hello.
                if await self._leader.join(self._cluster_id()) is not None:
                    return _Join()
                await self._pause(AGAIN_S)
            if not self._serves and self._clock.monotonic() - began >= RECALL_S:
                await self._remember_last_state()
            if self._serves:
                began = self._clock.monotonic()
            elif self._clock.monotonic() - began >= GIVEN_UP_S:
                if self._promises.is_forsaken(self.cluster, self._elsewhere()):
                    return await self._give_up_founding()
                if await self._is_left_behind():
                    return await self._after_end(None)
                began = self._clock.monotonic()
            await self._correct_address()
            await self._files.remember_addresses()
            await self._pause(LOOK_S if self._serves else LOOK_S / 5)

    async def _remember_last_state(self) -> None:
        """Without a quorum the member serves no read: answer `stale` from what its files hold."""
        if self._has_recalled or self._tables.head != NO_HEAD:
            return
        self._has_recalled = True
        try:
            head, items = await self._engine.last_state()
            if head != NO_HEAD:
                await self._recall(head, items)
                self._report("stale_state_loaded", index=head.index, term=head.term)
        except StoreError as error:
            self._report("state_unreadable", reason=str(error))

    async def _begin_to_vote(self, running: Running) -> bool:
        """Take the store of our own member once it may be read; whether it may."""
        try:
            status = await running.peers.status()
        except StoreError:
            return False
        if status.is_learner or not status.leader_id:
            return False
        self._files.note_member(status.member_id)
        await self._tidy_up()
        await self._slot.put(running.store)
        self._votes.put(running.peers)
        return True

    async def _tidy_up(self) -> None:
        """Files that a vote does not wait for: on a full disk they are tried again."""
        try:
            await self._files.write_mark()
            if self._serves and self._tables.one(RAFT) is not None:
                await self._promises.drop()
        except OSError as error:
            self._reminders.say("local_state_write_failed", reason=str(error))

    async def _give_up_founding(self) -> _Step:
        """The cluster that we began never was: look again for one.

        The place goes last: a promise of ours that is not marked as given up is forgotten at a
        start without a place, and others may still found that cluster.
        """
        cluster = self.cluster
        assert cluster is not None  # noqa: S101  it has a place in it
        self._report("bootstrap_abandoned", cluster=cluster.id)
        await self._files.set_aside(cluster)
        await self._promises.give_up(cluster)
        await self._files.leave_place()
        return _Discover()

    async def _after_end(self, failure: BaseException | None) -> _Step:
        """The member says it is none, or does not run. Only the leader is believed.

        Till it answers, and while it says that this is a member, the rest goes on: memory answers
        stale reads, all else is forwarded.
        """
        if failure is not None:
            self._report("etcd_down", reason=str(failure))
        while True:
            if is_led_ahead(self._look()):
                return _Join()
            standing = await self._own_standing()
            if standing is None:
                await self._pause(AGAIN_S)
                continue
            cluster = Cluster(standing.cluster_id, standing.epoch, standing.founding)
            if not standing.is_member or cluster != self.cluster:
                break
            if failure is None:
                return _Vote()
            await self._pause(DOWN_S)
        await self._leave_history(cluster)
        await self._files.record_role(cluster, "non-voter")
        # Who was taken out while it was away asks to be let in again; who was there stays out.
        return _Join() if self._absence.away else _Replicate()

    async def _own_standing(self) -> Standing | None:
        return await self._leader.standing(self._files.member_id or 0)

    async def _is_left_behind(self) -> bool:
        """Whether the leader has our member no more, though nobody could tell the member so."""
        standing = await self._own_standing()
        return standing is not None and not standing.is_member

    def _cluster_id(self) -> str:
        return self.cluster.id if self.cluster else ""

    async def _correct_address(self) -> None:
        """Tell the leader that we have moved."""
        configuration, itself = self._tables.one(RAFT) or RaftConfiguration(), self._roster.itself
        entry = next((each for each in configuration.servers if each.id == itself.server_id), None)
        if entry is None or entry.address == itself.rpc_address or self._leader.target() is None:
            return
        await self._leader.join(self._cluster_id())
        await self._pause(AGAIN_S)

    # Files

    def _read_files(self) -> None:
        self._files.read()
        self._promises.read()

    async def _pause(self, seconds: float) -> None:
        """Until the time is over, or somebody asks for something."""
        with contextlib.suppress(TimeoutError):
            async with timeout(seconds):
                await self._changed.wait()
        self._changed.clear()


def _start_of(promise: Promise) -> Start:
    return Start(existing=False, members=promise.members, token=f"{promise.cluster_id}.0")
