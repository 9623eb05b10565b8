"""Reads the newest whole copy of the state from the disk of a server that does not run.

The embedded store and a non-voter's copy are read as files. A directory of etcd is read by etcd
itself, from a temporary copy. Without a quorum a member answers no call unless it drops the other
members from its configuration, and the real directory must never be changed in that way: it could
then run as a second cluster. Nothing in the server's directory is changed.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from bellcow.cluster.datadir import FOLLOW, RAFT, STORE
from bellcow.cluster.recovery.temporary_member import NOWHERE, stopped, with_member
from bellcow.state.tables import CLUSTER, ONLY
from bellcow.state.tables import RAFT as RAFT_TABLE
from bellcow.store import offline
from bellcow.store.protocol import NO_HEAD, Head, Key, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.etcd.client import Client
    from bellcow.etcd.flags import Plan
    from bellcow.events import Report
    from bellcow.model.agent import ClusterIdentity
    from bellcow.model.raft import RaftConfiguration
    from bellcow.state.tables import Table

READ = "raft.read"  # the temporary copy

T = TypeVar("T")


class OfflineState(msgspec.Struct, frozen=True, kw_only=True):
    """One whole copy of the state. `source` is the name of its file or directory."""

    source: str
    head: Head
    items: tuple[tuple[Key, bytes], ...]

    @property
    def cluster_id(self) -> str:
        return self.identity.cluster_id if self.identity else ""

    @property
    def identity(self) -> ClusterIdentity | None:
        return self._only(CLUSTER)

    @property
    def configuration(self) -> RaftConfiguration | None:
        return self._only(RAFT_TABLE)

    def role(self, server_id: str) -> Literal["voter", "non-voter"]:
        """Whether the server votes according to its own copy."""
        servers = self.configuration.servers if self.configuration else ()
        votes = any(server.id == server_id and server.voter for server in servers)
        return "voter" if votes else "non-voter"

    def _only(self, table: Table[T]) -> T | None:
        wanted = (table.name, ONLY)
        raw = next((value for key, value in self.items if key == wanted), None)
        return table.decoder.decode(raw) if raw is not None else None


async def read(
    server_dir: Path, plan_of: Callable[[Path], Plan], clock: Clock, report: Report
) -> OfflineState | None:
    """The newest copy in a server's directory by epoch, then index; None if none was written.

    `plan_of` is called only if there is a directory of etcd.

    Raises:
        StoreError: a copy cannot be read, which never falls back to an older one.
    """
    copies = [
        await asyncio.to_thread(read_file, server_dir / name)
        for name in (STORE, FOLLOW)
        if (server_dir / name).exists()
    ]
    if has_etcd(server_dir):
        copies.insert(0, await _read_etcd(server_dir, plan_of, clock, report))
    written = [copy for copy in copies if copy.head != NO_HEAD]
    return max(written, key=lambda copy: (copy.head.epoch, copy.head.index), default=None)


async def read_stopped(
    server_dir: Path, etcd_path: str, clock: Clock, report: Report
) -> OfflineState | None:
    """`read`, for a caller that has only the directory and perhaps the path of etcd.

    Raises:
        StoreError: a copy cannot be read, or etcd is needed and cannot be found.
    """
    plan = await _bare_plan(etcd_path, server_dir, report) if has_etcd(server_dir) else None

    def plan_of(_directory: Path) -> Plan:
        assert plan is not None  # noqa: S101  called only if has_etcd
        return plan

    return await read(server_dir, plan_of, clock, report)


async def _bare_plan(etcd_path: str, server_dir: Path, report: Report) -> Plan:
    from bellcow.etcd.flags import Plan
    from bellcow.etcd.process import look_for_etcd
    from bellcow.etcd.version import CannotRun

    try:
        program, version = await look_for_etcd(etcd_path, report)
    except CannotRun as error:
        raise Unavailable(str(error)) from None
    return Plan(
        server_id="reader",
        directory=server_dir / READ,
        program=program,
        version=version,
        bind=NOWHERE,
        advertise=NOWHERE,
    )


def has_etcd(server_dir: Path) -> bool:
    """Whether etcd has ever written its log in this server's directory."""
    return any((server_dir / RAFT / "data" / "member" / "wal").glob("*.wal"))


def read_file(path: Path) -> OfflineState:
    """The state in a SQLite file: an embedded store or a non-voter's copy.

    Raises:
        StoreError: the file is damaged, or cannot be read.
    """
    with offline.opened(path) as (head, items):
        return OfflineState(source=path.name, head=head, items=tuple(items))


async def _read_etcd(
    server_dir: Path, plan_of: Callable[[Path], Plan], clock: Clock, report: Report
) -> OfflineState:
    copy = server_dir / READ
    await stopped(server_dir / RAFT)  # a running etcd would write during the copy
    await stopped(copy)
    try:
        await asyncio.to_thread(_copy, server_dir / RAFT / "data", copy / "data")
        plan = msgspec.structs.replace(
            plan_of(copy), directory=copy, advertise=NOWHERE, founding=None, tls=None, alone=True
        )
        return await with_member(plan, _load, clock, report)
    finally:
        await asyncio.to_thread(shutil.rmtree, copy, ignore_errors=True)


def _copy(data: Path, copy: Path) -> None:
    shutil.rmtree(copy.parent, ignore_errors=True)
    try:
        copy.parent.mkdir(mode=0o700)
        shutil.copytree(data, copy)
    except (OSError, shutil.Error) as error:
        raise Unavailable(f"{data} cannot be copied for reading: {_reason(error)}") from error


def _reason(error: Any) -> str:
    """The first reason; shutil.Error holds one per file."""
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        return str(error.args[0][0][-1])
    return str(error.strerror or error)


async def _load(client: Client, _member_id: int) -> OfflineState:
    from bellcow.store.etcd import EtcdStore

    head, items = await EtcdStore(client).load()
    return OfflineState(source=RAFT, head=head, items=await asyncio.to_thread(tuple, items))
