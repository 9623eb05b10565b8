"""What this server has promised about founding a cluster, in memory and in `bootstrap.json`.

Only this changes either, one change at a time, and a promise is on the disk before anybody is told
of it. Which ones bind is judged in `rules.py`. How a cluster is sought, and what becomes of
one that was founded, it must not know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster import datadir as files
from bellcow.cluster.datadir import Promise, Promises
from bellcow.cluster.formation.rules import (
    binds,
    check_request,
    is_forsaken,
    may_found,
    still_open,
    with_promise,
)
from bellcow.cluster.members.queries import leader_of_region
from bellcow.errors import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.members.roster import Roster
    from bellcow.model.hello import Cluster
    from bellcow.model.membership_calls import BootstrapRequest


class PromiseBook:
    """The promises of one server. `read` them before anything else."""

    def __init__(self, folder: Path, roster: Roster, clock: Clock) -> None:
        self._path = folder / files.PROMISE
        self._roster = roster
        self._clock = clock
        self._changing = asyncio.Lock()  # of two who ask, the second is told of the first
        self._kept: tuple[Promise, ...] = ()

    def read(self) -> None:
        promises = files.read(self._path, Promises)
        self._kept = promises.open if promises else ()

    # What they say

    def of(self, cluster: Cluster | None) -> Promise | None:
        """What was promised about this cluster."""
        found = (each for each in self._kept if cluster and each.cluster_id == cluster.id)
        return next(found, None)

    def to_found(self, cluster: Cluster) -> Promise | None:
        """That we would found this cluster, if it still holds, now that its proposer shows it."""
        held = self._open()[-1:]
        now, now_ns = self._now()
        led = bool(leader_of_region(self._roster.table, now))
        return next((each for each in held if may_found(each, cluster, now_ns, led=led)), None)

    def is_forsaken(self, cluster: Cluster | None, elsewhere: Mapping[str, Cluster | None]) -> bool:
        """Whether the others with whom we would found this cluster are all elsewhere by now.

        `elsewhere` tells of those that are not in the roster, for they are in another cluster.
        """
        promise = self.of(cluster)
        contacts = self._roster.contacts()
        answering = {server_id: contact.cluster for server_id, (_, contact) in contacts.items()}
        answering.update(elsewhere)
        me = self._roster.itself.server_id
        return promise is not None and is_forsaken(promise, me, answering)

    # How they change

    async def give(self, request: BootstrapRequest, cluster: Callable[[], Cluster | None]) -> None:
        """Promise what another asks of us, who are in `cluster` by then. Raises Error(REFUSED)."""
        async with self._changing:
            check_request(request, self._roster.table, cluster(), self._open(), *self._now())
            try:
                await self._add(request.cluster_id, request.proposer, request.members)
            except OSError as error:
                raise refused(f"the promise cannot be written down: {error.strerror}") from None

    async def propose(self, cluster_id: str, members: tuple[tuple[str, str], ...]) -> Promise:
        """Promise what we are about to ask of others.

        Raises Error(REFUSED) while an earlier promise forbids it.
        """
        async with self._changing:
            if holding := self._binding(members):
                raise refused(_waits_for(holding))
            return await self._add(cluster_id, self._roster.itself.server_id, members)

    async def take_back(self, promise: Promise) -> None:
        """Nobody will ever be shown its cluster, so this server is free for another one."""
        async with self._changing:
            await self._write(tuple(each for each in self._kept if each is not promise))

    async def forget_own(self) -> None:
        """What we asked of others ourselves has ended with the process that asked."""
        me = self._roster.itself.server_id
        async with self._changing:
            kept = (each for each in self._kept if each.proposer != me or each.given_up)
            await self._write(tuple(kept))

    async def give_up(self, cluster: Cluster) -> None:
        """We begin this cluster no more, but some of the others may, at this very moment.

        So the promise goes on binding: no other cluster without most of them.
        """
        promise = self.of(cluster)
        kept = (msgspec.structs.replace(promise, given_up=True),) if promise else ()
        async with self._changing:
            await self._write(kept)

    async def drop(self) -> None:
        async with self._changing:
            await self._write(())

    def _binding(self, members: tuple[tuple[str, str], ...]) -> Promise | None:
        """What keeps us from founding a cluster of these. Of what we asked for ourselves only a
        cluster that was begun does.
        """
        me, table = self._roster.itself.server_id, self._roster.table
        binding = (each for each in self._open() if each.proposer != me or each.given_up)
        return next((each for each in binding if binds(each, members, table, *self._now())), None)

    def _open(self) -> tuple[Promise, ...]:
        return still_open(self._kept, self._roster.table, *self._now())

    def _now(self) -> tuple[float, int]:
        return self._clock.monotonic(), self._clock.wall_ns()

    async def _add(
        self, cluster_id: str, proposer: str, members: tuple[tuple[str, str], ...]
    ) -> Promise:
        promise = Promise(
            cluster_id=cluster_id,
            proposer=proposer,
            members=members,
            time_ns=self._clock.wall_ns(),
        )
        await self._write(with_promise(self._open(), promise))
        return promise

    async def _write(self, promises: tuple[Promise, ...]) -> None:
        """For who holds the lock."""
        if promises == self._kept:
            return
        if promises:
            await _to_the_end(files.write, self._path, Promises(promises))
        else:
            await _to_the_end(files.remove, self._path)
        self._kept = promises


async def _to_the_end(work: Callable[..., None], *args: object) -> None:
    """In a thread. Who is cancelled meanwhile goes only when it is done: the next one may begin."""
    doing = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


def _waits_for(promise: Promise) -> str:
    if promise.given_up:
        servers = ", ".join(address for _, address in promise.members)
        return f"a cluster was begun with {servers} and may still come to be, waiting for them"
    return f"promised to server {promise.proposer} already, waiting for it"
