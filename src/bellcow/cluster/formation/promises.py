"""This server's promises to form a cluster, in memory and in `bootstrap.json`.

Only this module changes them, one change at a time, and a promise is on the disk before it is
given. Which promises bind is decided in `rules.py`.
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
    is_abandoned,
    may_form,
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
    """The promises of one server. Call `read` first."""

    def __init__(self, folder: Path, roster: Roster, clock: Clock) -> None:
        self._path = folder / files.PROMISE
        self._roster = roster
        self._clock = clock
        self._changing = asyncio.Lock()  # a second request must see the first one's promise
        self._promises: tuple[Promise, ...] = ()

    def read(self) -> None:
        """Read the promises of earlier runs.

        Raises:
            Unreadable: the file is damaged.
        """
        promises = files.read(self._path, Promises)
        self._promises = promises.open if promises else ()

    # Questions

    def of(self, cluster: Cluster | None) -> Promise | None:
        """The promise to form this cluster, if there is one."""
        found = (each for each in self._promises if cluster and each.cluster_id == cluster.id)
        return next(found, None)

    def to_form(self, cluster: Cluster) -> Promise | None:
        """The promise to form this cluster, if it still holds when the cluster appears."""
        held = self._open()[-1:]
        now, now_ns = self._now()
        led = bool(leader_of_region(self._roster.table, now))
        return next((each for each in held if may_form(each, cluster, now_ns, led=led)), None)

    def is_abandoned(
        self, cluster: Cluster | None, elsewhere: Mapping[str, Cluster | None]
    ) -> bool:
        """Whether all other servers of this cluster's promise are outside it.

        They are in no cluster or in another one. `elsewhere` has the servers of other clusters,
        which the roster does not contain.
        """
        promise = self.of(cluster)
        contacts = self._roster.contacts()
        answering = {server_id: contact.cluster for server_id, (_, contact) in contacts.items()}
        answering.update(elsewhere)
        me = self._roster.itself.server_id
        return promise is not None and is_abandoned(promise, me, answering)

    # Changes

    async def give(self, request: BootstrapRequest, cluster: Callable[[], Cluster | None]) -> None:
        """Promise what another server asks.

        `cluster` returns ours at that time: it may change while an earlier request is served.

        Raises:
            refused: a rule forbids it, or the promise cannot be written.
        """
        async with self._changing:
            check_request(request, self._roster.table, cluster(), self._open(), *self._now())
            try:
                await self._add(request.cluster_id, request.proposer, request.members)
            except OSError as error:
                raise refused(f"the promise cannot be written: {error.strerror}") from None

    async def propose(self, cluster_id: str, members: tuple[tuple[str, str], ...]) -> Promise:
        """Promise what this server is about to ask of others.

        Raises:
            refused: an earlier promise forbids it.
            OSError: the promise cannot be written.
        """
        async with self._changing:
            if holding := self._binding(members):
                raise refused(_why_bound(holding))
            return await self._add(cluster_id, self._roster.itself.server_id, members)

    async def withdraw(self, promise: Promise) -> None:
        """Withdraw our own refused proposal: its cluster id was never published.

        Raises:
            OSError: this cannot be written.
        """
        async with self._changing:
            await self._write(tuple(each for each in self._promises if each is not promise))

    async def forget_own(self) -> None:
        """Drop our own proposals: they ended with the process that made them.

        Raises:
            OSError: this cannot be written.
        """
        me = self._roster.itself.server_id
        async with self._changing:
            kept = (each for each in self._promises if each.proposer != me or each.given_up)
            await self._write(tuple(kept))

    async def give_up(self, cluster: Cluster) -> None:
        """Stop forming this cluster.

        Some of the others may still form it. So the promise still binds: it forbids any cluster
        that leaves out most of its servers.

        Raises:
            OSError: this cannot be written.
        """
        promise = self.of(cluster)
        kept = (msgspec.structs.replace(promise, given_up=True),) if promise else ()
        async with self._changing:
            await self._write(kept)

    async def drop(self) -> None:
        """Drop all promises.

        Raises:
            OSError: this cannot be written.
        """
        async with self._changing:
            await self._write(())

    def _binding(self, members: tuple[tuple[str, str], ...]) -> Promise | None:
        """A promise that forbids a cluster of these servers.

        Our own proposals forbid none, except one that this server had begun and then gave up.
        """
        me, table = self._roster.itself.server_id, self._roster.table
        binding = (each for each in self._open() if each.proposer != me or each.given_up)
        return next((each for each in binding if binds(each, members, table, *self._now())), None)

    def _open(self) -> tuple[Promise, ...]:
        return still_open(self._promises, self._roster.table, *self._now())

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
        """Write and remember them. The caller holds the lock."""
        if promises == self._promises:
            return
        if promises:
            await _uninterrupted(files.write, self._path, Promises(promises))
        else:
            await _uninterrupted(files.remove, self._path)
        self._promises = promises


async def _uninterrupted(work: Callable[..., None], *args: object) -> None:
    """Do the work in a thread, and finish it even if canceled, so that writes do not overlap.

    Raises:
        CancelledError: the caller was canceled; the work is done.
    """
    doing = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


def _why_bound(promise: Promise) -> str:
    if promise.given_up:
        servers = ", ".join(address for _, address in promise.members)
        return f"already started forming a cluster with {servers}; waiting for them"
    return f"already promised to form the cluster of server {promise.proposer}; waiting for it"
