"""Recovers a cluster that has lost its quorum for good, from the operator's peers.json.

Each listed server shows in hello what copy it has. When all of them have the same file, the one
with the newest copy rebuilds the cluster and the others join it. The rule is in `rules.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from bellcow.clock import new_uuid
from bellcow.cluster import datadir
from bellcow.cluster.members.table import FAILED_AFTER_S
from bellcow.cluster.recovery import offline_state, peers_json
from bellcow.cluster.recovery.convert import as_founder
from bellcow.cluster.recovery.rebuild import Rebuild, only_server, rebuild_cluster, set_file_aside
from bellcow.cluster.recovery.rules import INDEX_STEP, Join, RebuildHere, Seen, decide
from bellcow.errors import invalid
from bellcow.model.hello import Cluster, Recovery
from bellcow.state.tables import CLUSTER, ONLY, RAFT
from bellcow.store.sqlite import open_store
from bellcow.throttle import Reminders
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.members.exchange import Exchange
    from bellcow.cluster.members.roster import Roster
    from bellcow.cluster.members.table import Contact
    from bellcow.cluster.recovery.offline_state import OfflineState
    from bellcow.cluster.recovery.peers_json import Listed
    from bellcow.etcd.flags import Plan
    from bellcow.events import Report
    from bellcow.model.hello import Itself, Record
    from bellcow.model.raft import RaftServer
    from bellcow.store.protocol import Head, Key

HEAR_S = 2.0  # before the first decision: one round of hello and one time limit of a call
LOOK_S = 0.2  # between two decisions
FILE_BYTES = 1 << 20  # far more than `ENTRIES_MAX` entries need


class Outcome(msgspec.Struct, frozen=True):
    """How the recovery ended for this server, and in which cluster and epoch.

    `rebuilt`: this server rebuilt the cluster and is its only voter. `join`: its old files are set
    aside, and it joins as a new server.
    """

    kind: Literal["rebuilt", "join"]
    cluster: Cluster


def file_of(server_dir: Path) -> Path:
    return server_dir / datadir.RAFT / peers_json.NAME


async def recover(
    *,
    server_dir: Path,
    me: Itself,
    roster: Roster,
    exchange: Exchange,
    clock: Clock,
    report: Report,
    plan_of: Callable[[Path], Plan],
) -> Outcome:
    """Follow peers.json until this server has rebuilt the cluster or must join; may take forever.

    The exchange runs meanwhile, and none of this server's stores is open. After an error nothing
    has changed.

    Raises:
        invalid: the file is wrong.
        StoreError: a copy cannot be read.
    """
    listed = await asyncio.to_thread(read_listed, server_dir, me)
    copy = await offline_state.read(server_dir, plan_of, clock, report)
    known = datadir.read(server_dir / datadir.LOCAL_STATE, datadir.LocalState)
    mine = _own(me, peers_json.digest(listed), copy, known)
    cluster_id = copy.cluster_id if copy else known.cluster_id if known else ""
    with _shown(roster, exchange, mine.recovery):
        epochs = _EpochsSeen(server_dir, known, cluster_id)
        decision = await _decided(listed, mine, epochs, roster, clock, report)
        if isinstance(decision, Join):
            return await _set_old_aside(server_dir, decision, roster, clock, report)
        assert copy is not None  # noqa: S101  a server without a copy is never chosen
        rebuild = Rebuild(
            server_dir=server_dir,
            plan=plan_of(server_dir / datadir.RAFT),
            copy=copy,
            founder=as_founder(me),
            cluster=Cluster(copy.cluster_id, decision.epoch),
            index=decision.index,
        )
        rebuilt = await rebuild_cluster(rebuild, clock, report)
        return Outcome("rebuilt", rebuilt.cluster)


def read_listed(server_dir: Path, me: Itself) -> tuple[Listed, ...]:
    """The servers of peers.json, this one among them.

    Raises:
        invalid: the file is wrong or lacks this server; the text says what is wrong.
    """
    path = file_of(server_dir)
    with path.open("rb") as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise invalid(f"recovery failed to parse peers.json: {path}: over {FILE_BYTES} bytes")
    listed = peers_json.parse(data, str(path))
    own = peers_json.normal(me.rpc_address)
    if own not in {server.address for server in listed}:
        raise invalid(
            f"recovery failed: {path}: no entry is this server, whose address is {own}: add it, "
            "or leave this server stopped until the others have recovered"
        )
    return listed


def _own(
    me: Itself, file: str, copy: OfflineState | None, known: datadir.LocalState | None
) -> Seen:
    """This server, as the others will see it; `file` is the digest of its peers.json."""
    recovery = Recovery(file=file, role="none", epoch=0, index=0)
    if copy is not None:
        head, role = copy.head, copy.role(me.server_id)
        recovery = Recovery(file=file, role=role, epoch=head.epoch, index=head.index)
    return Seen(
        server_id=me.server_id,
        address=peers_json.normal(me.rpc_address),
        recovery=recovery,
        epoch=known.epoch if known else 0,
        index=recovery.index,
        epoch_seen=known.epoch_seen if known else 0,
    )


@contextmanager
def _shown(roster: Roster, exchange: Exchange, recovery: Recovery | None) -> Iterator[None]:
    """Put this server's recovery into its hello messages."""
    roster.table = msgspec.structs.replace(roster.table, recovery=recovery)
    exchange.nudge()
    try:
        yield
    finally:
        roster.table = msgspec.structs.replace(roster.table, recovery=None)


class _EpochsSeen:
    """The highest epoch of our cluster that any server has shown.

    It is written to cluster.json before it counts. Otherwise a second recovery could reuse the
    epoch of one whose servers are gone.
    """

    def __init__(self, server_dir: Path, known: datadir.LocalState | None, cluster_id: str) -> None:
        self._path = server_dir / datadir.LOCAL_STATE
        self._known = known
        self.cluster_id = cluster_id
        self.highest = known.epoch_seen if known else 0

    async def look(self, roster: Roster) -> None:
        shown = [each.cluster for each in roster.table.contacts.values()] + [roster.table.ahead]
        ours = (each.epoch for each in shown if each is not None and each.id == self.cluster_id)
        epoch = max(ours, default=0)
        if epoch <= self.highest:
            return
        self.highest = epoch
        if self._known is not None:
            self._known = msgspec.structs.replace(self._known, epoch_seen=epoch)
            await asyncio.to_thread(datadir.write, self._path, self._known)


async def _decided(
    listed: Sequence[Listed],
    mine: Seen,
    epochs: _EpochsSeen,
    roster: Roster,
    clock: Clock,
    report: Report,
) -> RebuildHere | Join:
    reminders = Reminders(clock, report)
    await asyncio.sleep(HEAR_S)
    while True:
        await epochs.look(roster)
        mine = msgspec.structs.replace(mine, epoch_seen=epochs.highest)
        decision = decide(listed, mine, _seen(roster, epochs.cluster_id, clock.monotonic()))
        if isinstance(decision, RebuildHere | Join):
            return decision
        reminders.report("recovery_waiting", reason="; ".join(decision.reasons))
        await asyncio.sleep(LOOK_S)


def _seen(roster: Roster, cluster_id: str, now: float) -> list[Seen]:
    """The other servers of our region and cluster that answered within `FAILED_AFTER_S`."""
    table = roster.table
    found = []
    for server_id, contact in table.contacts.items():
        record = table.known[server_id].record
        home = record.itself.region == table.me.itself.region
        theirs = contact.cluster.id if contact.cluster else cluster_id
        lately = contact.raft is not None and now - contact.answered < FAILED_AFTER_S
        if home and lately and cluster_id in {"", theirs}:
            found.append(_as_seen(record, contact))
    return found


def _as_seen(record: Record, contact: Contact) -> Seen:
    return Seen(
        server_id=record.server_id,
        address=peers_json.normal(record.itself.rpc_address),
        recovery=contact.recovery,
        epoch=contact.cluster.epoch if contact.cluster else 0,
        index=contact.raft.index if contact.raft else 0,
        leads=contact.raft is not None and contact.raft.role == "leader",
    )


async def _set_old_aside(
    server_dir: Path, decision: Join, roster: Roster, clock: Clock, report: Report
) -> Outcome:
    """Rename etcd's old directory, with peers.json in it, and the old embedded store."""
    stamp = datadir.stamp_of(clock.wall_ns())
    cluster = roster.table.contacts[decision.leader].cluster
    assert cluster is not None  # noqa: S101  a leader's hello names it
    await asyncio.to_thread(set_file_aside, server_dir / datadir.STORE, f"old-{stamp}")
    await asyncio.to_thread(datadir.set_aside, server_dir / datadir.RAFT, stamp)
    report("recovery_joining", cluster=cluster.id, epoch=cluster.epoch, leader=decision.leader)
    return Outcome("join", cluster)


# On the embedded store


async def recover_embedded(*, server_dir: Path, me: Itself, clock: Clock, report: Report) -> None:
    """Follow peers.json, if there is one, on a server with the embedded store.

    It waits for no other server: only this one votes, and no copy is newer. The store must not be
    open yet. One commit makes this server the only one; then the file is removed.

    Raises:
        invalid: the file is wrong.
        StoreError: the store cannot be read or written.
    """
    if not _exists(file_of(server_dir)):
        return
    listed = await asyncio.to_thread(read_listed, server_dir, me)
    file = peers_json.digest(listed)
    path = server_dir / datadir.STORE
    copy = await asyncio.to_thread(offline_state.read_file, path) if _exists(path) else None
    if copy is not None and copy.head.commit and not _is_committed(copy.head, file):
        head, changes = _embedded_founding(copy, as_founder(me), file, clock)
        store = await open_store(path, clock)
        try:
            await store.commit(copy.head, head, changes)
        finally:
            await store.close()
        report("cluster_rebuilt", cluster=copy.cluster_id, epoch=head.epoch, index=head.index)
    datadir.remove(file_of(server_dir))


def _exists(path: Path) -> bool:
    return path.exists()


def _embedded_founding(
    copy: OfflineState, founder: RaftServer, file: str, clock: Clock
) -> tuple[Head, dict[Key, bytes | None]]:
    """The one commit. Its id starts with `_mark`, so that a repeated start recognizes it."""
    known = copy.head
    index, epoch = known.index + INDEX_STEP, known.epoch + 1
    commit = f"{_mark(file, epoch)}{new_uuid(clock)}"
    changes: dict[Key, bytes | None] = {(RAFT.name, ONLY): only_server(copy, founder, index)}
    if copy.identity is not None:
        identity = msgspec.structs.replace(copy.identity, founding=commit, modify_index=index)
        changes[CLUSTER.name, ONLY] = to_msgpack(identity)
    head = msgspec.structs.replace(
        known,
        index=index,
        floor=index,
        commit=commit,
        prev=known.commit,
        ops=len(changes),
        epoch=epoch,
        leader="",
        time_ns=clock.wall_ns(),
    )
    return head, changes


def _is_committed(head: Head, file: str) -> bool:
    """Whether an earlier start made the commit and was killed before it removed the file."""
    return head.commit.startswith(_mark(file, head.epoch))


def _mark(file: str, epoch: int) -> str:
    """How the commit's id begins: with the digest of the file it follows."""
    return f"{file[:32]}.{epoch}."
