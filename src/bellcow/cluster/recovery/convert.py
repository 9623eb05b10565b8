"""From the embedded store to etcd, once, at a start: the same cluster, founded anew on one member.

Servers that follow it see the higher epoch and join again. The embedded store must not be open yet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.cluster.datadir import STORE
from bellcow.cluster.recovery.offline_state import read_file
from bellcow.cluster.recovery.rebuild import found
from bellcow.model.hello import Cluster
from bellcow.model.raft import RaftServer
from bellcow.store.protocol import NO_HEAD

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.recovery.rebuild import Founded
    from bellcow.etcd.flags import Plan
    from bellcow.events import Report
    from bellcow.model.hello import Itself


async def convert(
    *, server_dir: Path, me: Itself, plan: Plan, clock: Clock, report: Report
) -> Founded | None:
    """Take the state of the embedded store over into etcd; None when there is none.

    The file stays, under a name that says what it is. Raises StoreError; then nothing has changed.
    """
    path = server_dir / STORE
    if not await asyncio.to_thread(path.exists):
        return None
    copy = await asyncio.to_thread(read_file, path)
    if copy.head == NO_HEAD:
        return None
    return await found(
        server_dir=server_dir,
        plan=plan,
        copy=copy,
        founder=as_founder(me),
        cluster=Cluster(copy.cluster_id, copy.head.epoch + 1),
        index=copy.head.index + 1,
        clock=clock,
        report=report,
    )


def as_founder(me: Itself) -> RaftServer:
    return RaftServer(id=me.server_id, address=me.rpc_address, name=me.member_name)
