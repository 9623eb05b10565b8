"""Rebuilds a cluster on one server from a copy of its state: for recovery, and for the conversion
from the embedded store to etcd.

etcd's new directory is filled beside the old one. A file then marks it as complete, and renames put
it in the place of the old one. A server that is killed at any point has the old state or the new
one; `finish` completes the switch at its next start. `rules.py` decides which server rebuilds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bellcow import failpoint, files
from bellcow.clock import new_uuid
from bellcow.cluster import datadir
from bellcow.cluster.recovery.offline_state import READ, OfflineState
from bellcow.cluster.recovery.temporary_member import stopped, with_member
from bellcow.etcd.flags import Plan
from bellcow.model.hello import Cluster
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import ONLY, RAFT, with_indexes
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.store.staging import chunks
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.etcd.client import Client
    from bellcow.events import Report

NEW = "raft.new"
COMPLETE = "complete"
_SQLITE = (
    "-wal",
    "-shm",
    ".mark",
    "",
)  # the file itself last: its presence means the rename is not done


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """The rebuilt cluster. `replaces` is the file whose content the new member holds, or "".

    `time_ns` (wall clock) makes the names of the old files the same at each attempt.
    """

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


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster to rebuild in `server_dir` from `copy`, with `founder` as its only server.

    `cluster` has the new epoch, and `index` is the first one after the rebuild. `plan` is what
    this server will start etcd with.
    """

    server_dir: Path
    plan: Plan
    copy: OfflineState
    founder: RaftServer
    cluster: Cluster
    index: int


async def rebuild_cluster(rebuild: Rebuild, clock: Clock, report: Report) -> Rebuilt:
    """Rebuild the cluster on this server.

    Raises:
        StoreError: etcd does not run or does not store it, and the old state is unchanged.
    """
    new = rebuild.server_dir / NEW
    await _clear(new)
    head = _first_head(rebuild, new_uuid(clock), clock.wall_ns())
    member_id = await with_member(_plan(rebuild), partial(_fill, rebuild, head), clock, report)
    failpoint.reach("rebuild-stopped")
    rebuilt = _rebuilt(rebuild, head, member_id)
    await asyncio.to_thread(_complete, new, rebuilt)
    failpoint.reach("rebuild-complete")
    await asyncio.to_thread(_switch, rebuild.server_dir, rebuilt)
    report("cluster_rebuilt", cluster=rebuilt.cluster_id, epoch=rebuilt.epoch, index=rebuilt.index)
    return rebuilt


def _first_head(rebuild: Rebuild, commit: str, now_ns: int) -> Head:
    """The head of the only commit: the consensus configuration, over the staged copy."""
    gen = rebuild.copy.head.gens + 1
    return Head(
        index=rebuild.index,
        floor=rebuild.index,
        commit=commit,
        prev=NO_HEAD.commit,
        ops=1,
        gen=gen,
        gens=gen,
        epoch=rebuild.cluster.epoch,
        time_ns=now_ns,
    )


def _rebuilt(rebuild: Rebuild, head: Head, member_id: int) -> Rebuilt:
    source = rebuild.copy.source
    return Rebuilt(
        cluster_id=rebuild.cluster.id,
        epoch=head.epoch,
        index=head.index,
        member_id=member_id,
        time_ns=head.time_ns,
        replaces=source if source != datadir.RAFT else "",
        founding=head.commit,
    )


def _plan(rebuild: Rebuild) -> Plan:
    from bellcow.etcd.flags import Founding

    plan, cluster = rebuild.plan, rebuild.cluster
    # etcd's members with another token do not talk to this one. The epoch makes it another.
    founding = Founding(
        state="new",
        members=((plan.server_id, plan.advertise),),
        token=f"{cluster.id}.{cluster.epoch}",
    )
    return msgspec.structs.replace(plan, directory=rebuild.server_dir / NEW, founding=founding)


def only_server(copy: OfflineState, founder: RaftServer, index: int) -> bytes:
    """The encoded raft configuration with `founder` as the only server and voter."""
    before = copy.configuration or RaftConfiguration(create_index=index)
    alone = RaftConfiguration(servers=(msgspec.structs.replace(founder, voter=True),))
    return to_msgpack(with_indexes(alone, before.create_index, index))


async def _fill(rebuild: Rebuild, head: Head, client: Client, member_id: int) -> int:
    """Write the whole state into etcd; returns the member's id for `Rebuilt`."""
    from bellcow.store.etcd import EtcdStore

    store = EtcdStore(client)
    changes = {(RAFT.name, ONLY): only_server(rebuild.copy, rebuild.founder, rebuild.index)}
    failpoint.reach("rebuild-started")
    items = (item for item in rebuild.copy.items if item[0] not in changes)
    for chunk in chunks(items):
        await store.stage(NO_HEAD, head.gen, chunk)
        failpoint.reach("rebuild-first-chunk-staged")
    failpoint.reach("rebuild-staged")
    await store.commit(NO_HEAD, head, changes)
    failpoint.reach("rebuild-committed")
    return member_id


def _complete(new: Path, rebuilt: Rebuilt) -> None:
    """Sync the whole directory, then write the file that marks it. No return after that."""
    mark = datadir.MemberMark(
        cluster_id=rebuilt.cluster_id, epoch=rebuilt.epoch, member_id=rebuilt.member_id
    )
    datadir.write(new / datadir.MEMBER, mark)
    for folder, _, _ in os.walk(new):
        files.sync_directory(new / folder)
    files.sync_directory(new.parent)
    datadir.write(new / COMPLETE, rebuilt)


# The switch, which each start resumes


async def finish(server_dir: Path) -> Rebuilt | None:
    """Complete an interrupted rebuild, or remove what it left if it was not complete.

    Each start calls this before it reads anything else in the directory.

    Raises:
        Unreadable: a file is damaged.
        Unavailable: a leftover etcd cannot be ended.
    """
    await _clear(server_dir / READ)
    new = server_dir / NEW
    rebuilt = datadir.read(new / COMPLETE, Rebuilt)
    if rebuilt is None:
        await _clear(new)
        rebuilt = datadir.read(server_dir / datadir.RAFT / COMPLETE, Rebuilt)
    if rebuilt is not None:
        await asyncio.to_thread(_switch, server_dir, rebuilt)
    return rebuilt


async def _clear(directory: Path) -> None:
    """End the etcd that may still run in this directory, then remove the directory."""
    if await asyncio.to_thread(directory.exists):
        await stopped(directory)
        await asyncio.to_thread(shutil.rmtree, directory)


def _switch(server_dir: Path, rebuilt: Rebuilt) -> None:
    """Rename the old files, then put the new directory in their place.

    Each start repeats all steps until the file that marks the directory as complete is gone.
    """
    stamp = datadir.stamp_of(rebuilt.time_ns)
    raft = server_dir / datadir.RAFT
    if (server_dir / NEW).exists():
        datadir.set_aside(raft, stamp)
        failpoint.reach("rebuild-old-aside")
        (server_dir / NEW).rename(raft)
        files.sync_directory(server_dir)
        failpoint.reach("rebuild-renamed")
    if rebuilt.replaces:
        set_file_aside(server_dir / rebuilt.replaces, f"before-etcd-{stamp}")
        failpoint.reach("rebuild-copy-aside")
    _become_voter(server_dir, rebuilt)
    failpoint.reach("rebuild-recorded")
    datadir.remove(raft / COMPLETE)


def _become_voter(server_dir: Path, rebuilt: Rebuilt) -> None:
    """Record this server as a voter of the new epoch."""
    before = datadir.read(server_dir / datadir.LOCAL_STATE, datadir.LocalState)
    now = datadir.LocalState(
        cluster_id=rebuilt.cluster_id,
        epoch=rebuilt.epoch,
        role="voter",
        servers=before.servers if before else (),
        founding=rebuilt.founding,
    )
    datadir.write(server_dir / datadir.LOCAL_STATE, now)


def set_file_aside(path: Path, why: str) -> None:
    """Rename a SQLite file with its log and mark, so that it can be opened by the new name."""
    aside = f"{path.name}.{why}"
    for suffix in _SQLITE:
        before = path.with_name(f"{path.name}{suffix}")
        if before.exists():
            before.rename(path.with_name(f"{aside}{suffix}"))
    files.sync_directory(path.parent)
