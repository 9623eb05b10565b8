"""What the leader reads and writes for changes of membership, shared by its loop and the requests.

The raft configuration is written by compare-and-set, and each write wakes the loop. Which write is
right is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from bellcow.cluster.peers.changes import Inputs, removed_for_dead
from bellcow.deadline import timeout
from bellcow.errors import Code, Error, no_leader
from bellcow.gocompat.time import rfc3339_seconds
from bellcow.model.raft import RaftConfiguration
from bellcow.state.commands import put_setting
from bellcow.state.tables import CLUSTER, RAFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Peers
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.schedule import Target
    from bellcow.cluster.peers.inputs import ClusterView
    from bellcow.events import Report
    from bellcow.model.raft import MembershipChange
    from bellcow.state.committer import Committer
    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting


class Lead(Protocol):
    """What membership needs of leadership."""

    @property
    def is_leader(self) -> bool: ...

    @property
    def leader_id(self) -> str: ...

    async def hand_over(self, member_id: int) -> None:
        """Drop the claim, then transfer leadership to that member.

        Raises:
            StoreError: the member was not elected.
        """


class LeaderState:
    """`written` is set by each write of the configuration."""

    def __init__(
        self,
        *,
        me: str,
        tables: Tables,
        waiting: Waiting,
        committer: Committer,
        peers: Peers,
        lead: Lead,
        look: Callable[[], ClusterView],
        transport: Transport,
        clock: Clock,
        report: Report,
        founding: Callable[[], str] = str,
    ) -> None:
        """`founding` returns that of our cluster, "" for one that was never recovered."""
        self.me = me
        self.peers = peers
        self.lead = lead
        self.look = look
        self.clock = clock
        self.report = report
        self.founding = founding
        self.written = asyncio.Event()
        self._tables = tables
        self._waiting = waiting
        self._committer = committer
        self._transport = transport

    def check_leads(self) -> None:
        """Check that this server leads.

        Raises:
            no_leader: it does not.
        """
        if not self.lead.is_leader:
            raise no_leader()

    @property
    def stored(self) -> RaftConfiguration:
        """The configuration as this server's memory has it."""
        return self._tables.one(RAFT) or RaftConfiguration()

    @property
    def cluster_id(self) -> str:
        """Empty until the first state is loaded."""
        identity = self._tables.one(CLUSTER)
        return identity.cluster_id if identity else ""

    def cluster(self) -> tuple[str, int]:
        """Id and epoch.

        Raises:
            no_leader: the first state is not loaded yet.
        """
        if not self.cluster_id:
            raise no_leader()
        return self.cluster_id, self._tables.head.epoch

    async def gather(self) -> Inputs:
        """What the rules need to know.

        Raises:
            StoreError: the members of the consensus cannot be listed.
        """
        peers = await self.peers.members()
        return Inputs(
            me=self.me,
            configuration=self.stored,
            peers=tuple(peers),
            view=self.look(),
            now_ns=self.clock.wall_ns(),
        )

    async def write(self, before: RaftConfiguration, after: RaftConfiguration) -> bool:
        """Commit, unless the configuration has changed since `before`; returns whether it did.

        Raises:
            Error: as `Committer.commit` does.
        """
        done: Any = await self._committer.commit(put_setting(RAFT, after, before.modify_index))
        for server in removed_for_dead(before, after) if done.updated else ():
            self.report(
                "server_removed",
                name=server.name,
                server=server.id,
                silent_since=rfc3339_seconds(server.silent_since_ns),
                hint="start it, or a server in its place",
            )
        if done.updated and after.change is not None and before.change is None:
            kind = after.change.kind
            self.report("server_change_started", kind=kind, server=subject_of(after.change))
        self.written.set()
        return bool(done.updated)

    async def until(self, holds: Callable[[], bool], limit_s: float | None = None) -> bool:
        """Wait up to `limit_s` seconds until this holds of the configuration; whether it does."""
        while not holds():
            if not await self._waiting.changed((RAFT.name,), limit_s):
                return holds()
        return True

    async def post(self, target: Target, path: str, body: bytes, limit_s: float) -> bytes:
        """Send a message between servers; returns the answer.

        Raises:
            Error: UNAVAILABLE, there is no answer in that many seconds; or as `Transport.post`
                does.
        """
        try:
            async with timeout(limit_s):
                return await self._transport.post(target, path, body)
        except TimeoutError:
            raise Error(Code.UNAVAILABLE, f"no answer within {limit_s:g} s") from None


def subject_of(change: MembershipChange) -> str:
    """The server that a change is about; of a member that never started, its address."""
    return change.server_id or change.address
