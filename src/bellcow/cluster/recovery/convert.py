"""Converts a server from the embedded store to etcd, once, at a start: the same cluster, rebuilt
on one etcd member.

Non-voters that copied this server see the higher epoch and join again. The embedded store must not
be open yet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.cluster.datadir import STORE
from bellcow.cluster.recovery.offline_state import read_file
from bellcow.cluster.recovery.rebuild import Rebuild, rebuild_cluster
from bellcow.model.hello import Cluster
from bellcow.model.raft import RaftServer
from bellcow.store.protocol import NO_HEAD

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.recovery.rebuild import Rebuilt
    from bellcow.etcd.flags import Plan
    from bellcow.events import Report
    from bellcow.model.hello import Itself


async def convert(
    *, server_dir: Path, me: Itself, plan: Plan, clock: Clock, report: Report
) -> Rebuilt | None:
    """Move the state of the embedded store into etcd; None when there is no state.

    The old file stays as `store.db.before-etcd-TIME`.

    Raises:
        StoreError: the state cannot be read or written, and nothing has changed.
    """
    path = server_dir / STORE
    if not await asyncio.to_thread(path.exists):
        return None
    copy = await asyncio.to_thread(read_file, path)
    if copy.head == NO_HEAD:
        return None
    rebuild = Rebuild(
        server_dir=server_dir,
        plan=plan,
        copy=copy,
        founder=as_founder(me),
        cluster=Cluster(copy.cluster_id, copy.head.epoch + 1),
        index=copy.head.index + 1,
    )
    return await rebuild_cluster(rebuild, clock, report)


def as_founder(me: Itself) -> RaftServer:
    """This server's entry in the configuration of the rebuilt cluster, still without a vote."""
    return RaftServer(id=me.server_id, address=me.rpc_address, name=me.member_name)
