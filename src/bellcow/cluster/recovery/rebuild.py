"""Founds a cluster anew on one server, from a copy of its state: for recovery, and to leave the
embedded store.

The new member is made beside the old directory and takes its place by renames, after one file that
says it is complete. Killed anywhere, a server has the old state or the new one; `finish` at its
next start brings the switch to its end. Who founds, and when, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from bellcow import failpoint, files
from bellcow.clock import new_uuid
from bellcow.cluster import datadir
from bellcow.cluster.recovery.offline_state import READ
from bellcow.cluster.recovery.temporary_member import stopped, with_member
from bellcow.model.hello import Cluster
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import ONLY, RAFT, with_indexes
from bellcow.store.protocol import NO_HEAD, Head, Key
from bellcow.store.staging import chunks
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.recovery.offline_state import OfflineState
    from bellcow.etcd.client import Client
    from bellcow.etcd.flags import Plan
    from bellcow.events import Report
    from bellcow.store.protocol import Store

NEW = "raft.new"
COMPLETE = "complete"
_SQLITE = ("-wal", "-shm", ".mark", "")  # the file itself last, for it is what we look for


class Founded(msgspec.Struct, frozen=True, kw_only=True):
    """What was founded. `replaces` is the file whose content the new member took over."""

    cluster_id: str
    epoch: int
    index: int
    member_id: int
    time_ns: int
    replaces: str = ""
    founding: str = ""

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.cluster_id, self.epoch, self.founding)


async def found(
    *,
    server_dir: Path,
    plan: Plan,
    copy: OfflineState,
    founder: RaftServer,
    cluster: Cluster,
    index: int,
    clock: Clock,
    report: Report,
) -> Founded:
    """Found `cluster`, whose epoch is the new one, with `founder` as its only server.

    `plan` is the one that the server will start its member with. Raises StoreError; then all is as
    it was.
    """
    new = server_dir / NEW
    await _clear(new)
    now_ns = clock.wall_ns()
    changes = {(RAFT.name, ONLY): only_server(copy, founder, index)}
    head = Head(
        index=index,
        floor=index,
        commit=new_uuid(clock),
        prev=NO_HEAD.commit,
        ops=len(changes),
        gen=copy.head.gens + 1,
        gens=copy.head.gens + 1,
        epoch=cluster.epoch,
        time_ns=now_ns,
    )

    async def fill(client: Client, member_id: int) -> int:
        from bellcow.store.etcd import EtcdStore

        await _fill(EtcdStore(client), head, copy, changes)
        return member_id

    member_id = await with_member(_plan(plan, new, cluster), fill, clock, report)
    failpoint.reach("found-stopped")
    founded = Founded(
        cluster_id=cluster.id,
        epoch=cluster.epoch,
        index=index,
        member_id=member_id,
        time_ns=now_ns,
        replaces=copy.source if copy.source != datadir.RAFT else "",
        founding=head.commit,
    )
    await asyncio.to_thread(_complete, new, founded)
    failpoint.reach("found-complete")
    await asyncio.to_thread(_switch, server_dir, founded)
    report("cluster_rebuilt", cluster=cluster.id, epoch=cluster.epoch, index=index)
    return founded


def _plan(plan: Plan, new: Path, cluster: Cluster) -> Plan:
    from bellcow.etcd.flags import Founding

    # The epoch in the token: members of the time before cannot talk to this one.
    founding = Founding(
        state="new",
        members=((plan.server_id, plan.advertise),),
        token=f"{cluster.id}.{cluster.epoch}",
    )
    return msgspec.structs.replace(plan, directory=new, founding=founding)


def only_server(copy: OfflineState, founder: RaftServer, index: int) -> bytes:
    """The row of the consensus configuration in which there is nobody else."""
    before = copy.configuration or RaftConfiguration(create_index=index)
    alone = RaftConfiguration(servers=(msgspec.structs.replace(founder, voter=True),))
    return to_msgpack(with_indexes(alone, before.create_index, index))


async def _fill(store: Store, head: Head, copy: OfflineState, changes: dict[Key, bytes]) -> None:
    failpoint.reach("found-started")
    items = (item for item in copy.items if item[0] not in changes)
    for chunk in chunks(items):
        await store.stage(NO_HEAD, head.gen, chunk)
        failpoint.reach("found-first-chunk-staged")
    failpoint.reach("found-staged")
    await store.commit(NO_HEAD, head, changes)
    failpoint.reach("found-committed")


def _complete(new: Path, founded: Founded) -> None:
    """The point of no return: all of the directory is on disk, and then the file that says so."""
    mark = datadir.MemberMark(
        cluster_id=founded.cluster_id, epoch=founded.epoch, member_id=founded.member_id
    )
    datadir.write(new / datadir.MEMBER, mark)
    for folder, _, _ in os.walk(new):
        files.sync_directory(new / folder)
    files.sync_directory(new.parent)
    datadir.write(new / COMPLETE, founded)


# The switch, which each start takes up where it was left


async def finish(server_dir: Path) -> Founded | None:
    """Bring a founding that was cut short to its end, or leave no trace of it.

    Each start calls this before it looks at anything else in the directory.
    """
    await _clear(server_dir / READ)
    new = server_dir / NEW
    founded = datadir.read(new / COMPLETE, Founded)
    if founded is None:
        await _clear(new)
        founded = datadir.read(server_dir / datadir.RAFT / COMPLETE, Founded)
    if founded is not None:
        await asyncio.to_thread(_switch, server_dir, founded)
    return founded


async def _clear(directory: Path) -> None:
    """Remove a directory that is in nobody's use, and the member that may still run in it."""
    if await asyncio.to_thread(directory.exists):
        await stopped(directory)
        await asyncio.to_thread(shutil.rmtree, directory)


def _switch(server_dir: Path, founded: Founded) -> None:
    """Let the new directory take the old one's place; the old files stay under other names.

    Done again from its beginning until the file that says "complete" is gone.
    """
    stamp = datadir.stamp_of(founded.time_ns)
    raft = server_dir / datadir.RAFT
    if (server_dir / NEW).exists():
        datadir.set_aside(raft, stamp)
        failpoint.reach("found-old-aside")
        (server_dir / NEW).rename(raft)
        files.sync_directory(server_dir)
        failpoint.reach("found-renamed")
    if founded.replaces:
        set_file_aside(server_dir / founded.replaces, f"before-etcd-{stamp}")
        failpoint.reach("found-copy-aside")
    _take_place(server_dir, founded)
    failpoint.reach("found-place-taken")
    datadir.remove(raft / COMPLETE)


def _take_place(server_dir: Path, founded: Founded) -> None:
    """From now on this server is a voter of the new epoch."""
    before = datadir.read(server_dir / datadir.LOCAL_STATE, datadir.LocalState)
    now = datadir.LocalState(
        cluster_id=founded.cluster_id,
        epoch=founded.epoch,
        role="voter",
        servers=before.servers if before else (),
        founding=founded.founding,
    )
    datadir.write(server_dir / datadir.LOCAL_STATE, now)


def set_file_aside(path: Path, why: str) -> None:
    """Rename a SQLite file and what belongs to it; under the new name it can be opened again."""
    aside = f"{path.name}.{why}"
    for suffix in _SQLITE:
        before = path.with_name(f"{path.name}{suffix}")
        if before.exists():
            before.rename(path.with_name(f"{aside}{suffix}"))
    files.sync_directory(path.parent)
