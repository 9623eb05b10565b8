"""A server's directory with a state in it, and a founding from it, in this process or in one that
dies at a named point.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sim.net import itself
from tests.support.etcd import Events, free_address, plan_of_one, run

from bellcow.clock import SystemClock, new_uuid
from bellcow.cluster.recovery import convert as conversion
from bellcow.cluster.recovery import offline_state
from bellcow.cluster.recovery.rebuild import NEW, Rebuild, finish, rebuild_cluster
from bellcow.failpoint import VARIABLE
from bellcow.model.agent import ClusterIdentity
from bellcow.model.hello import Cluster
from bellcow.model.namespace import Namespace
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import CLUSTER, NAMESPACES, ONLY, RAFT, with_indexes
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.store.sqlite import open_store
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from bellcow.etcd.flags import Plan
    from bellcow.store.protocol import Store

CLOCK = SystemClock()
US = "the-cluster"
VOTERS = ("one", "two", "three")
DIED = -9


def me(name: str = "one", port: int = 4647):
    return itself(name, server_id=name, rpc=("127.0.0.1", port))


def server(name: str, *, voter: bool = True) -> RaftServer:
    return RaftServer(id=name, address=f"{name}:4647", name=f"{name}.global", voter=voter)


def rows(count: int, *voters: str) -> dict[tuple[str, str], bytes | None]:
    """A cluster of these servers with so many namespaces."""
    raft = RaftConfiguration(servers=tuple(server(name) for name in voters or VOTERS))
    identity = ClusterIdentity(cluster_id=US, create_time="then", region="global")
    changes: dict[tuple[str, str], bytes | None] = {
        (RAFT.name, ONLY): to_msgpack(with_indexes(raft, 2, 5)),
        (CLUSTER.name, ONLY): to_msgpack(with_indexes(identity, 3, 3)),
    }
    for number in range(count):
        name = f"n{number:05}"
        changes[NAMESPACES.name, name] = to_msgpack(with_indexes(Namespace(name=name), 6, 6))
    return changes


async def write(store: Store, count: int, *, index: int = 10, epoch: int = 0) -> Head:
    """Fill an empty store, in two commits."""
    head = NO_HEAD
    for number, changes in enumerate(({}, rows(count))):
        after = Head(
            index=index - 1 + number,
            commit=new_uuid(CLOCK),
            prev=head.commit,
            ops=len(changes),
            gen=1,
            gens=1,
            epoch=epoch,
            leader="one",
            term=7,
            time_ns=CLOCK.wall_ns(),
        )
        head = await store.commit(head, after, changes)
    return head


async def fill_embedded(server_dir: Path, count: int = 2_300, index: int = 10) -> Head:
    store = await open_store(server_dir / "store.db", CLOCK)
    try:
        return await write(store, count, index=index)
    finally:
        await store.close()


def plan_of(directory: Path) -> Plan:
    return plan_of_one(directory)


async def copy_of(server_dir: Path) -> offline_state.OfflineState:
    copy = await offline_state.read(server_dir, plan_of, CLOCK, Events())
    assert copy is not None
    return copy


async def found_again(server_dir: Path) -> None:
    """What the newest copy holds becomes a cluster of one, an epoch later."""
    copy = await copy_of(server_dir)
    rebuild = Rebuild(
        server_dir=server_dir,
        plan=plan_of(server_dir / NEW),
        copy=copy,
        founder=server("one"),
        cluster=Cluster(US, copy.head.epoch + 1),
        index=copy.head.index + 1_000,
    )
    await rebuild_cluster(rebuild, CLOCK, Events())


async def convert(server_dir: Path) -> None:
    port = int(free_address().rpartition(":")[2])
    await conversion.convert(
        server_dir=server_dir,
        me=me(port=port),
        plan=plan_of(server_dir / NEW),
        clock=CLOCK,
        report=Events(),
    )


def dying(what: str, server_dir: Path, point: str) -> int:
    """Do it in a process that dies at this point; how it ended."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster.founding", what, str(server_dir)],
        env={**os.environ, VARIABLE: point, "PYTHONPATH": path},
        cwd=root,
        timeout=120,
        check=False,
    ).returncode


if __name__ == "__main__":
    done = {"found": found_again, "convert": convert, "finish": finish}[sys.argv[1]]
    run(asyncio.wait_for(done(Path(sys.argv[2])), 100))
