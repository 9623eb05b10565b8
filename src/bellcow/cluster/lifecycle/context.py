"""What the steps of one server's lifecycle share: its files, its promises and what it sees.

It decides nothing, and knows neither the engine nor the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bellcow.cluster.lifecycle.removal import RemovalWatch, look, removal_of, seen
from bellcow.deadline import timeout

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.cluster.formation.promises import PromiseBook
    from bellcow.cluster.lifecycle.leader_client import LeaderClient
    from bellcow.cluster.lifecycle.local_state import LocalFiles
    from bellcow.cluster.lifecycle.removal import Inputs
    from bellcow.cluster.members.roster import Roster
    from bellcow.events import Report
    from bellcow.model.hello import Cluster
    from bellcow.model.membership_calls import Standing
    from bellcow.state.tables import Tables
    from bellcow.throttle import Reminders

LOOK_S = 0.1  # between two looks at what may end a step
AGAIN_S = 1.0  # between two requests to the leader, or two tries to write a file


class Context:
    """Shared by the steps, which run one at a time. `has_member` and `serving` are the voter's."""

    def __init__(
        self,
        *,
        files: LocalFiles,
        promises: PromiseBook,
        leader: LeaderClient,
        roster: Roster,
        tables: Tables,
        clock: Clock,
        report: Report,
        reminders: Reminders,
    ) -> None:
        self.files = files
        self.promises = promises
        self.leader = leader
        self.roster = roster
        self.tables = tables
        self.clock = clock
        self.report = report
        self.reminders = reminders
        self.watch = RemovalWatch()
        self.has_member = False
        self.serving = False  # the store of our own member
        self._woken = asyncio.Event()

    @property
    def cluster(self) -> Cluster | None:
        return self.files.cluster

    @property
    def cluster_id(self) -> str:
        """Empty outside a cluster."""
        return self.cluster.id if self.cluster else ""

    def look(self) -> Inputs:
        """What this server sees of its leader now."""
        return look(self.roster, self.tables, self.cluster, self.clock.monotonic())

    def observe(self) -> Inputs:
        """Look, and update the watch for a removal."""
        view = self.look()
        self.watch = seen(self.watch, view)
        return view

    def note_admission(self) -> None:
        """Note that the leader has admitted this server, even if memory still shows its removal."""
        removal = removal_of(self.look())
        self.watch = self.watch.ended(removal.removed_ns if removal else 0)

    async def own_standing(self) -> Standing | None:
        """The leader's answer about this server and its member; None without an answer."""
        return await self.leader.standing(self.files.member_id or 0)

    async def set_old_files_aside(self, cluster: Cluster) -> None:
        """Set aside the files of an earlier membership, before one of `cluster` begins.

        Raises:
            OSError: they cannot be set aside.
        """
        await self.files.set_aside(cluster)
        await self.promises.drop()

    # Files

    def read_files(self) -> None:
        """Read what this server wrote about its cluster.

        Raises:
            Unreadable: a file does not hold what was written.
        """
        self.files.read()
        self.promises.read()

    # Pauses

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until `wake`."""
        with contextlib.suppress(TimeoutError):
            async with timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    def wake(self) -> None:
        """End the present pause, or the next one, because a request has come in."""
        self._woken.set()
