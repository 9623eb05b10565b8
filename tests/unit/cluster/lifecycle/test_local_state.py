"""The local state that a server writes, and what a failed write leaves."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.clock import BEGIN_NS, FixedClock
from tests.sim.net import itself

from bellcow.cluster import datadir
from bellcow.cluster.datadir import LocalState, MemberMark
from bellcow.cluster.lifecycle.local_state import LocalFiles
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Known, Table
from bellcow.model.hello import Cluster, Record

if TYPE_CHECKING:
    from pathlib import Path

OURS = Cluster("ours", 2)
HERE = LocalState(
    cluster_id="ours", epoch=2, role="non-voter", servers=(("a", 4648),), epoch_seen=3
)
MARK = MemberMark(cluster_id="ours", epoch=2, member_id=7)


class Scene:
    """The local files of server b, which sees `others`, each as region/name."""

    def __init__(self, folder: Path, *others: str) -> None:
        self.folder, self.directory = folder, folder / datadir.RAFT
        self.events: list[str] = []
        self.clock = FixedClock()
        self.roster = Roster(itself("b", server_id="b"), self.clock)
        for other in others:
            self.meet(*other.split("/"))
        self.files = self.opened()

    def opened(self) -> LocalFiles:
        """The local files as after a crash."""
        files = LocalFiles(self.folder, self.directory, self.roster, self.clock, self.report)
        files.read()
        return files

    def report(self, event: str, /, **_fields: object) -> None:
        self.events.append(event)

    def meet(self, region: str, name: str, status: str = "alive") -> None:
        other = itself(name, region, server_id=name)
        record = Record(itself=other, start_ns=1, status=status, status_seq=0)  # type: ignore[arg-type]
        table = self.roster.table
        self.roster.table = Table(
            me=table.me, known={**table.known, name: Known(record, 0.0)}, contacts={}
        )

    def written(self) -> LocalState | None:
        return datadir.read(self.folder / datadir.LOCAL_STATE, LocalState)

    def mark(self) -> MemberMark | None:
        return datadir.read(self.directory / datadir.MEMBER, MemberMark)


def without_space(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the disk full for files of that name."""
    write = datadir.write

    def fails(path: Path, value: Any) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, value)

    monkeypatch.setattr(datadir, "write", fails)


# cluster.json


def test_local_state_lists_the_live_servers_of_the_region(tmp_path):
    scene = Scene(tmp_path, "global/a", "west/w", "global/d/failed")
    asyncio.run(scene.files.record_role(OURS, "voter"))
    taken = LocalState(cluster_id="ours", epoch=2, role="voter", servers=(("a", 4648),))
    assert scene.written() == scene.files.local_state == taken
    assert scene.files.cluster == OURS


@pytest.mark.parametrize(
    ("cluster", "epoch_seen"),
    [(Cluster("ours", 4), 3), (Cluster("theirs", 0), 0)],
    ids=["in the same cluster", "in another one"],
)
def test_highest_epoch_seen_survives_a_change_of_role(tmp_path, cluster, epoch_seen):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    asyncio.run(scene.files.record_role(cluster, "non-voter"))
    assert scene.files.local_state is not None
    assert scene.files.local_state.epoch_seen == epoch_seen


def test_role_that_cannot_be_written_is_not_taken(tmp_path, monkeypatch):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    without_space(monkeypatch, datadir.LOCAL_STATE)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(scene.files.record_role(Cluster("theirs", 0), "non-voter"))
    assert scene.files.local_state == scene.written() == HERE


def test_removed_local_state_is_gone_from_memory_and_disk(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    asyncio.run(scene.files.remove_local_state())
    assert scene.files.local_state is scene.files.cluster is scene.opened().local_state is None


def test_changed_addresses_are_recorded(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path, "global/a", "global/d")
    asyncio.run(scene.files.remember_addresses())
    written = scene.written()
    assert written is not None
    assert written.servers == (("a", 4648), ("d", 4648))
    assert written == scene.files.local_state


def test_recorded_addresses_stay_without_live_servers_or_disk_space(tmp_path, monkeypatch):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    asyncio.run(scene.files.remember_addresses())
    assert scene.written() == HERE
    without_space(monkeypatch, datadir.LOCAL_STATE)
    scene.meet("global", "d")
    asyncio.run(scene.files.remember_addresses())
    assert scene.written() == scene.files.local_state == HERE


def test_server_in_no_cluster_records_no_addresses(tmp_path):
    scene = Scene(tmp_path, "global/a")
    asyncio.run(scene.files.remember_addresses())
    assert scene.written() is None


# member.json


def test_member_directory_is_created_with_its_member_id_and_the_role(tmp_path):
    scene = Scene(tmp_path, "global/a")
    asyncio.run(scene.files.create_member_directory(OURS, 7))
    assert scene.mark() == MARK
    assert scene.files.member_id == 7
    assert scene.written() == LocalState(
        cluster_id="ours", epoch=2, role="voter", servers=(("a", 4648),)
    )
    assert scene.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", [datadir.MEMBER, datadir.LOCAL_STATE])
def test_failed_creation_leaves_no_member_directory(tmp_path, monkeypatch, name):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    without_space(monkeypatch, name)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(scene.files.create_member_directory(OURS, 7))
    assert not scene.directory.exists()
    assert scene.files.local_state == HERE


def founder(folder: Path) -> Scene:
    """A server whose member runs, without a member.json yet."""
    datadir.write(folder / datadir.LOCAL_STATE, HERE)
    (folder / datadir.RAFT).mkdir()
    return Scene(folder)


def test_founders_member_id_is_used_before_it_is_written(tmp_path):
    scene = founder(tmp_path)
    assert scene.files.member_id is None
    scene.files.note_member(7)
    assert (scene.files.member_id, scene.mark()) == (7, None)
    asyncio.run(scene.files.write_mark())
    assert scene.mark() == MARK


def test_written_member_id_is_not_replaced(tmp_path, monkeypatch):
    scene = founder(tmp_path)
    datadir.write(scene.directory / datadir.MEMBER, MARK)
    without_space(monkeypatch, datadir.MEMBER)
    scene.files.note_member(8)
    asyncio.run(scene.files.write_mark())
    assert (scene.files.member_id, scene.mark()) == (7, MARK)


def test_member_id_that_was_not_written_is_kept_until_it_is_forgotten(tmp_path, monkeypatch):
    scene = founder(tmp_path)
    scene.files.note_member(7)
    without_space(monkeypatch, datadir.MEMBER)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(scene.files.write_mark())
    assert scene.files.member_id == 7
    scene.files.forget_member()
    assert scene.files.member_id is None
    asyncio.run(scene.files.write_mark())


def test_member_directory_is_set_aside_and_reported_once(tmp_path):
    scene = founder(tmp_path)
    asyncio.run(scene.files.set_aside(OURS))
    asyncio.run(scene.files.set_aside(OURS))
    assert [path.name for path in tmp_path.glob("raft*")] == [
        f"raft.old-{datadir.stamp_of(BEGIN_NS)}"
    ]
    assert scene.events == ["old_raft_files_moved"]
