"""A server's local state: its cluster and its role, and which member etcd's files belong to.

Only this module writes `cluster.json` and `member.json` in etcd's directory, and only it sets that
directory aside. Each write is complete or did not happen. The callers choose the order of writes.
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
    """The local files of one server. Call `read` first."""

    def __init__(
        self, folder: Path, directory: Path, roster: Roster, clock: Clock, report: Report
    ) -> None:
        """`directory` is etcd's."""
        self._path = folder / files.LOCAL_STATE
        self._directory = directory
        self._roster = roster
        self._clock = clock
        self._report = report
        self._local_state: LocalState | None = None
        self._unmarked: MemberMark | None = None  # for member.json, not written yet

    def read(self) -> None:
        """Read what was recorded.

        Raises:
            Unreadable: the file is damaged.
        """
        self._local_state = files.read(self._path, LocalState)

    # cluster.json

    @property
    def local_state(self) -> LocalState | None:
        return self._local_state

    @property
    def cluster(self) -> Cluster | None:
        return self._local_state.cluster if self._local_state else None

    async def record_role(self, cluster: Cluster, role: Literal["voter", "non-voter"]) -> None:
        """Record that this server belongs to `cluster`, in that role.

        Raises:
            OSError: this cannot be written.
        """
        before = self._local_state
        local_state = LocalState(
            cluster_id=cluster.id,
            epoch=cluster.epoch,
            role=role,
            servers=self._addresses(),
            founding=cluster.founding,
            epoch_seen=before.epoch_seen if before and before.cluster_id == cluster.id else 0,
        )
        await asyncio.to_thread(files.write, self._path, local_state)
        self._local_state = local_state

    async def remove_local_state(self) -> None:
        """Record that this server is in no cluster.

        Raises:
            OSError: the file cannot be removed.
        """
        await asyncio.to_thread(files.remove, self._path)
        self._local_state = None

    async def remember_addresses(self) -> None:
        """Record the addresses of the servers alive now, if they have changed."""
        local_state, addresses = self._local_state, self._addresses()
        if local_state is not None and addresses and set(addresses) != set(local_state.servers):
            fresh = msgspec.structs.replace(local_state, servers=addresses)
            with contextlib.suppress(OSError):  # on a full disk; the caller tries again
                await asyncio.to_thread(files.write, self._path, fresh)
                self._local_state = fresh

    def _addresses(self) -> tuple[tuple[str, int], ...]:
        region = self._roster.itself.region
        alive = self._roster.alive()
        return tuple(
            known.record.itself.serf
            for server_id, known in self._roster.table.known.items()
            if server_id in alive and known.record.itself.region == region
        )

    # member.json

    @property
    def member_id(self) -> int | None:
        """The member that etcd's files belong to, written or noted; None while it is unknown."""
        mark = files.read(self._directory / files.MEMBER, MemberMark) or self._unmarked
        return mark.member_id if mark else None

    async def create_member_directory(self, cluster: Cluster, member_id: int) -> None:
        """Create etcd's directory with member.json in it, then record this server as a voter.

        Raises:
            OSError: something cannot be written; the directory is removed.
        """
        mark = MemberMark(cluster_id=cluster.id, epoch=cluster.epoch, member_id=member_id)
        try:
            self._directory.mkdir(mode=0o700)
            await asyncio.to_thread(files.write, self._directory / files.MEMBER, mark)
            await self.record_role(cluster, "voter")
        except OSError:
            # Do not set an empty directory aside: only two are kept, so one with data would be
            # deleted.
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
            raise

    def note_member(self, member_id: int) -> None:
        """Note the member id of a founder, which is known only when its member runs."""
        if self._local_state is not None and self.member_id is None:
            self._unmarked = MemberMark(
                cluster_id=self._local_state.cluster_id,
                epoch=self._local_state.epoch,
                member_id=member_id,
            )

    def forget_member(self) -> None:
        """Drop what an earlier run noted and did not write."""
        self._unmarked = None

    async def write_mark(self) -> None:
        """Write member.json as noted, if it is not written yet.

        Raises:
            OSError: it cannot be written.
        """
        if self._unmarked is not None:
            await asyncio.to_thread(files.write, self._directory / files.MEMBER, self._unmarked)
            self._unmarked = None

    async def set_aside(self, cluster: Cluster) -> None:
        """Set etcd's directory aside before a member of `cluster` starts.

        Raises:
            OSError: it cannot be renamed.
        """
        stamp = files.stamp_of(self._clock.wall_ns())
        aside = await asyncio.to_thread(files.set_aside, self._directory, stamp)
        if aside is not None:
            self._report(
                "old_raft_files_moved", path=aside, cluster=cluster.id, epoch=cluster.epoch
            )
