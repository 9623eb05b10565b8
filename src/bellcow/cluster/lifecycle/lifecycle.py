"""The lifecycle of a server in its cluster: discover, join, replicate, vote.

A loop of steps, each of which returns the next one. A step is recorded in the files before it
begins, and its store is put into the `ReplaceableStore` that the rest of the server uses. The rules
are in `rules.py`; the step of a voter is in `voting.py`. The leader decides which servers to admit
and to promote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.engine.protocol import Start
from bellcow.cluster.formation.initial_state import AgreedCluster
from bellcow.cluster.lifecycle.context import AGAIN_S, LOOK_S
from bellcow.cluster.lifecycle.removal import is_configured, is_led_ahead, was_taken_for_dead
from bellcow.cluster.lifecycle.rules import (
    Discover,
    Join,
    Replicate,
    Vote,
    cluster_of,
    founding_start,
    is_admitted,
)
from bellcow.cluster.members.queries import clusters_here
from bellcow.errors import refused
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import BootstrapRequest, Done, MemberOrder
from bellcow.model.raft import RaftServer
from bellcow.store.protocol import Corrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bellcow.cluster.datadir import Promise
    from bellcow.cluster.engine.protocol import Engine
    from bellcow.cluster.formation.proposer import Proposer
    from bellcow.cluster.lifecycle.context import Context
    from bellcow.cluster.lifecycle.rules import Step
    from bellcow.cluster.lifecycle.voting import Voting
    from bellcow.store.protocol import Store
    from bellcow.store.replaceable import ReplaceableStore

NEWS_S = 1.0  # before a member starts, to hear whether its cluster went on without it
DUPLICATE_S = 10.0  # before a duplicate id counts as another server, not our previous address


class ClusterLifecycle:
    """The `Lifecycle` of a server that can have others beside it."""

    def __init__(
        self,
        context: Context,
        voting: Voting,
        *,
        proposer: Proposer,
        engine: Engine,
        slot: ReplaceableStore,
        follow: Callable[[Cluster], Store],
        recover: Callable[[], Awaitable[bool | None]],
        duplicate: Callable[[], str],
    ) -> None:
        """`follow` opens the store that copies a cluster's commits.

        `recover` returns whether this server votes after a recovery; None when there was none.
        `duplicate` describes another server with our id; "" while none was heard.

        Raises:
            Unreadable: a file of the data directory does not hold what was written.
        """
        self._context = context
        self._voting = voting
        self._proposer = proposer
        self._engine = engine
        self._slot = slot
        self._open_follower = follow
        self._recover = recover
        self._duplicate = duplicate
        self._order: MemberOrder | None = None
        self._rejoin = False
        context.read_files()

    # What others ask

    def troubles(self) -> Mapping[str, Mapping[str, object]]:
        return self._context.reminders.latest()

    @property
    def cluster(self) -> Cluster | None:
        return self._context.cluster

    @property
    def has_member(self) -> bool:
        return self._context.has_member

    is_alone = False

    @property
    def known_addresses(self) -> tuple[tuple[str, int], ...]:
        """Last known addresses of the cluster's servers, of the port between servers."""
        local_state = self._context.files.local_state
        return local_state.servers if local_state else ()

    def serves(self) -> Cluster | None:
        return self.cluster if self._context.serving else None

    def agreed_cluster(self) -> AgreedCluster | None:
        promise = self._context.promises.of(self.cluster)
        if promise is None:
            return None
        names = self._context.roster.names()
        servers = (
            RaftServer(id=server_id, address=address, name=names.get(server_id, server_id))
            for server_id, address in promise.members
        )
        return AgreedCluster(cluster_id=promise.cluster_id, servers=tuple(servers))

    async def promise(self, request: BootstrapRequest) -> Done:
        """Promise to form this cluster with these servers.

        Raises:
            refused: a rule of formation forbids it.
        """
        await self._context.promises.give(request, lambda: self.cluster)
        return Done()

    async def obey(self, order: MemberOrder) -> Done:
        """Start a member that the leader has added to the consensus.

        Raises:
            refused: the order is for another server, cluster or member.
        """
        files, me = self._context.files, self._context.roster.itself.server_id
        if order.server_id != me:
            raise refused(f"this is server {me}")
        if self.cluster != Cluster(order.cluster_id, order.epoch, order.founding):
            raise refused("this server is in another cluster, or in another epoch of it")
        if files.local_state and files.local_state.role == "voter":
            if files.member_id != order.member_id:
                raise refused("this server still has the member it had before")
            return Done()
        self._order = order
        self._context.wake()
        return Done()

    async def rejoin(self) -> None:
        """Ask for admission again if this server was removed.

        The leader is asked whether it was, for the leader learns of a removal first.
        """
        if self._context.files.local_state is None:
            return  # it searches for a cluster anyway
        standing = await self._context.own_standing()
        if standing is None:
            configured = is_configured(self._context.look())
        else:
            configured = standing.configured
        if not configured:
            self._rejoin = True
            self._context.wake()

    # The steps

    async def run(self) -> None:
        """Take one step after another, for ever.

        Raises:
            Corrupt: another server has our id.
        """
        try:
            await self._steps()
        finally:
            await self._slot.close()

    async def _steps(self) -> None:
        recovered = await self._recover()
        step: Step | None = None
        if recovered is not None:
            self._context.read_files()
            step = Vote() if recovered else Join()
        while True:
            try:
                step = await (self._first() if step is None else self._take(step))
            except OSError as error:
                # A failed write leaves the files as a crash would: begin again with them.
                self._context.reminders.report("local_state_write_failed", reason=str(error))
                await self._context.pause(AGAIN_S)
                self._context.read_files()
                step = None

    async def _take(self, step: Step) -> Step:
        match step:
            case Discover():
                return await self._discover()
            case Join():
                return await self._join()
            case Replicate():
                return await self._replicate()
            case Vote():
                return await self._voting.run(step.start)

    async def _first(self) -> Step:
        """The step to begin with, by the files on the disk."""
        context = self._context
        local_state = context.files.local_state
        if local_state is None:
            await context.promises.forget_own()
            return Discover()
        if local_state.role == "non-voter":
            await self._serve_copy(local_state.cluster)
            return Join()
        if self._engine.has_data():
            context.has_member = True
            await self._wait_for_news()
            await self._check_duplicate()
            return Vote()
        promise = context.promises.of(local_state.cluster)
        if promise is not None and promise.given_up:
            await context.files.remove_local_state()
            return Discover()
        return Vote(founding_start(promise)) if promise else Join()

    async def _wait_for_news(self) -> None:
        """Return when a server has shown its epoch of our cluster, or after `NEWS_S`."""
        context = self._context
        end = context.clock.monotonic() + NEWS_S
        while context.clock.monotonic() < end:
            table = context.roster.table
            if table.ahead is not None or any(c.raft for c in table.contacts.values()):
                return
            await context.pause(LOOK_S / 2)

    async def _check_duplicate(self) -> None:
        """Check that no other server has our id: two processes could vote as one member.

        After a move the others know this server by its previous address for some seconds.

        Raises:
            Corrupt: another server still has our id after that time.
        """
        context = self._context
        end = context.clock.monotonic() + DUPLICATE_S
        while problem := self._duplicate():
            if context.clock.monotonic() >= end:
                raise Corrupt(problem)
            await context.pause(LOOK_S)

    async def _discover(self) -> Step:
        context = self._context
        while True:
            found = clusters_here(context.roster.table)
            if len(found) > 1:
                ids = sorted(cluster.id for cluster in found)
                context.reminders.report("several_clusters", clusters=", ".join(ids))
            elif found:
                (cluster,) = found
                promise = context.promises.to_form(cluster)
                return await self._form(promise) if promise else Join()
            elif promise := await self._proposer.propose():
                return await self._form(promise)
            await context.pause(LOOK_S)

    async def _form(self, promise: Promise) -> Vote:
        """The first step of a voter, once no files of an earlier member are left."""
        cluster = Cluster(promise.cluster_id, 0)
        await self._context.files.set_aside(cluster)
        await self._context.files.record_role(cluster, "voter")
        return Vote(founding_start(promise))

    async def _join(self) -> Step:
        """Ask for admission until the leader grants it, or the cluster that we saw is gone."""
        context = self._context
        self._rejoin = context.has_member = False
        while context.files.local_state or len(clusters_here(context.roster.table)) == 1:
            standing = await context.leader.join(context.cluster_id)
            if standing is not None and is_admitted(standing, self.cluster):
                cluster = cluster_of(standing)
                await context.set_old_files_aside(cluster)
                await context.files.record_role(cluster, "non-voter")
                context.report("joined", cluster=cluster.id, epoch=cluster.epoch)
                context.note_admission()
                return Replicate()
            await context.pause(AGAIN_S if context.leader.target() else LOOK_S)
        return Discover()

    async def _replicate(self) -> Step:
        context = self._context
        local_state = context.files.local_state
        assert local_state is not None  # noqa: S101  its role was recorded before
        await self._serve_copy(local_state.cluster)
        self._order = None
        while True:
            order, self._order = self._order, None
            if order is not None and await self._is_in_force(order):
                return await self._prepare(order)
            view = context.observe()
            # A server that was removed while it answered does not ask to join again.
            taken_for_dead = was_taken_for_dead(context.watch, view)
            if is_led_ahead(view) or self._rejoin or taken_for_dead:
                return Join()
            await context.files.remember_addresses()
            await context.pause(LOOK_S)

    async def _serve_copy(self, cluster: Cluster) -> None:
        """Put the copy in place at once: it answers stale reads without any other server."""
        await self._slot.put(None)
        await self._slot.put(self._open_follower(cluster))

    async def _is_in_force(self, order: MemberOrder) -> bool:
        """Whether the order still holds: while it was delayed, the leader may have given it up."""
        standing = await self._context.leader.standing(order.member_id)
        return standing is not None and standing.is_member

    async def _prepare(self, order: MemberOrder) -> Vote:
        """Before the member starts, create its directory and record which member it belongs to."""
        cluster = Cluster(order.cluster_id, order.epoch, order.founding)
        await self._context.set_old_files_aside(cluster)
        await self._context.files.create_member_directory(cluster, order.member_id)
        return Vote(Start(existing=True, members=order.members, token=order.token))
