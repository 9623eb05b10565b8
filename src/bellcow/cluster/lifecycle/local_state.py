"""A server's own papers: which cluster it is in and in what part, and whose files its member has.

Only this writes `cluster.json`, the mark in etcd's directory, and sets that directory aside. Each
write is whole or did not happen; in which order they are due, and why, only the seat knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING, Literal

import msgspec

from bellcow.cluster import datadir as files
from bellcow.cluster.datadir import LocalState, MemberMark

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.members.roster import Roster
    from bellcow.events import Report
    from bellcow.model.hello import Cluster


class LocalFiles:
    """The papers of one server. `read` them before anything else."""

    def __init__(
        self, folder: Path, directory: Path, roster: Roster, clock: Clock, report: Report
    ) -> None:
        """`directory` is that of its member."""
        self._path = folder / files.LOCAL_STATE
        self._directory = directory
        self._roster = roster
        self._clock = clock
        self._report = report
        self._place: LocalState | None = None
        self._unmarked: MemberMark | None = None  # whose files they are, not written down yet

    def read(self) -> None:
        self._place = files.read(self._path, LocalState)

    # The place

    @property
    def local_state(self) -> LocalState | None:
        return self._place

    @property
    def cluster(self) -> Cluster | None:
        return self._place.cluster if self._place else None

    async def record_role(self, cluster: Cluster, role: Literal["voter", "non-voter"]) -> None:
        before = self._place
        local_state = LocalState(
            cluster_id=cluster.id,
            epoch=cluster.epoch,
            role=role,
            servers=self._addresses(),
            founding=cluster.founding,
            epoch_seen=before.epoch_seen if before and before.cluster_id == cluster.id else 0,
        )
        await asyncio.to_thread(files.write, self._path, local_state)
        self._place = local_state

    async def leave_place(self) -> None:
        await asyncio.to_thread(files.remove, self._path)
        self._place = None

    async def remember_addresses(self) -> None:
        """Where the servers are that are seen now, if they are not where they were."""
        local_state, addresses = self._place, self._addresses()
        if local_state is not None and addresses and set(addresses) != set(local_state.servers):
            fresh = msgspec.structs.replace(local_state, servers=addresses)
            with contextlib.suppress(OSError):  # on a full disk: it is tried again
                await asyncio.to_thread(files.write, self._path, fresh)
                self._place = fresh

    def _addresses(self) -> tuple[tuple[str, int], ...]:
        region = self._roster.itself.region
        alive = self._roster.alive()
        return tuple(
            known.record.itself.serf
            for server_id, known in self._roster.table.known.items()
            if server_id in alive and known.record.itself.region == region
        )

    # The member

    @property
    def member_id(self) -> int | None:
        """Whose files there are, also if that is not written down yet; None while nobody knows."""
        mark = files.read(self._directory / files.MEMBER, MemberMark) or self._unmarked
        return mark.member_id if mark else None

    async def make_room(self, cluster: Cluster, member_id: int) -> None:
        """A directory for a member, with whose it is, and the place of one who has it."""
        mark = MemberMark(cluster_id=cluster.id, epoch=cluster.epoch, member_id=member_id)
        try:
            self._directory.mkdir(mode=0o700)
            await asyncio.to_thread(files.write, self._directory / files.MEMBER, mark)
            await self.record_role(cluster, "voter")
        except OSError:
            # With nothing in it, it must not be set aside in the place of one that has something.
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
            raise

    def note_member(self, member_id: int) -> None:
        """Of a founder: whose files they are is known only when its member runs."""
        if self._place is not None and self.member_id is None:
            self._unmarked = MemberMark(
                cluster_id=self._place.cluster_id, epoch=self._place.epoch, member_id=member_id
            )

    def forget_member(self) -> None:
        """What was noted of another run, and not written down."""
        self._unmarked = None

    async def write_mark(self) -> None:
        """What was noted, if it is not written down yet."""
        if self._unmarked is not None:
            await asyncio.to_thread(files.write, self._directory / files.MEMBER, self._unmarked)
            self._unmarked = None

    async def set_aside(self, cluster: Cluster) -> None:
        """What the member has had, before one of `cluster` begins."""
        stamp = files.stamp_of(self._clock.wall_ns())
        aside = await asyncio.to_thread(files.set_aside, self._directory, stamp)
        if aside is not None:
            self._report(
                "old_raft_files_moved", path=aside, cluster=cluster.id, epoch=cluster.epoch
            )
