"""Files in the data directory are written atomically and override the settings."""

from __future__ import annotations

import os

import msgspec
import pytest

from bellcow.cluster import datadir
from bellcow.cluster.datadir import (
    LocalState,
    MemberMark,
    Promise,
    Promises,
    Unreadable,
    engine_of,
    read,
    remove,
    set_aside,
    write,
)
from bellcow.model.hello import Cluster

HERE = LocalState(
    cluster_id="ours", epoch=2, role="voter", servers=(("10.0.0.1", 4648),), founding="f"
)
PROMISES = Promises(
    (Promise(cluster_id="ours", proposer="a", members=(("a", "a:4647"),), time_ns=5),)
)
MARK = MemberMark(cluster_id="ours", epoch=2, member_id=2**63 + 1)


@pytest.mark.parametrize("value", [HERE, PROMISES, MARK], ids=["local state", "promises", "mark"])
def test_what_is_written_is_read_again(tmp_path, value):
    write(tmp_path / "file", value)
    assert read(tmp_path / "file", type(value)) == value


def test_local_state_is_of_the_cluster_that_it_names():
    assert HERE.cluster == Cluster("ours", 2, "f")


def test_missing_file_reads_as_none(tmp_path):
    assert read(tmp_path / "file", LocalState) is None


def test_file_is_private_and_leaves_no_temporary_file(tmp_path):
    write(tmp_path / "file", HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_local_state_of_an_earlier_release_is_read(tmp_path):
    (tmp_path / "file").write_text('{"cluster_id": "ours", "epoch": 0, "role": "follower"}')
    assert read(tmp_path / "file", LocalState) == LocalState(
        cluster_id="ours", epoch=0, role="non-voter"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"cluster_id": "x", "epoch": 0, "role": "king"}', b'"\xff"'],
    ids=["empty", "cut off", "of another shape", "with a role nobody has", "not text"],
)
def test_damaged_file_says_what_to_do(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Unreadable, match="restore it from a backup"):
        read(tmp_path / "file", LocalState)


def test_directory_in_the_place_of_a_file_is_unreadable(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(Unreadable):
        read(tmp_path / "file", LocalState)


def test_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    write(tmp_path / "file", HERE)

    def fail(_handle: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "file", msgspec.structs.replace(HERE, epoch=3))
    assert read(tmp_path / "file", LocalState) == HERE


def test_content_is_synced_before_the_rename(tmp_path, monkeypatch):
    seen = []
    fsync = os.fsync

    def watch(handle: int) -> None:
        seen.append((tmp_path / "file").exists())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watch)
    write(tmp_path / "file", HERE)
    assert seen == [False, True]  # its content, then the directory that names it


def test_remove_accepts_a_missing_file(tmp_path):
    write(tmp_path / "file", HERE)
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


# Directories of earlier members


def test_missing_directory_is_not_set_aside(tmp_path):
    assert set_aside(tmp_path / "raft", "1") is None


def test_directory_is_set_aside_with_its_content(tmp_path):
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft" / "data").touch()
    assert set_aside(tmp_path / "raft", "5") == tmp_path / "raft.old-5"
    assert (tmp_path / "raft.old-5" / "data").exists()
    assert not (tmp_path / "raft").exists()


def test_last_two_old_directories_are_kept(tmp_path):
    for stamp in "1234":
        (tmp_path / "raft").mkdir()
        set_aside(tmp_path / "raft", stamp)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raft.old-3", "raft.old-4"]


# Which engine


@pytest.mark.parametrize(
    ("files", "wanted", "several", "engine"),
    [
        ("", "auto", False, "embedded"),
        ("", "auto", True, "etcd"),
        ("", "etcd", False, "etcd"),
        ("", "embedded", True, "embedded"),
        (datadir.STORE, "auto", True, "convert"),
        (datadir.STORE, "auto", False, "embedded"),
        (datadir.STORE, "embedded", True, "embedded"),
        (datadir.STORE, "etcd", False, "convert"),
        (datadir.LOCAL_STATE, "auto", False, "etcd"),
        (f"{datadir.LOCAL_STATE} {datadir.STORE}", "etcd", False, "etcd"),
    ],
    ids=[
        "a server alone is embedded",
        "one of several is on etcd",
        "etcd runs if the settings say so",
        "embedded runs if the settings say so",
        "a store is converted if the settings name other servers",
        "a store of a server alone stays embedded",
        "a store stays embedded if the settings say so",
        "a store is converted if the settings say etcd",
        "a server of a cluster stays on etcd without settings about others",
        "a store that was converted is not converted again",
    ],
)
def test_engine_follows_the_disk_then_the_settings(tmp_path, files, wanted, several, engine):
    for name in files.split():
        write(tmp_path / name, HERE)
    assert engine_of(tmp_path, wanted, several=several) == engine


def test_server_of_a_cluster_is_not_started_embedded(tmp_path):
    write(tmp_path / datadir.LOCAL_STATE, HERE)
    with pytest.raises(Unreadable, match="belongs to cluster ours, which is on etcd"):
        engine_of(tmp_path, "embedded", several=False)


def test_several_servers_need_a_data_dir():
    assert engine_of(None, "auto", several=False) == "embedded"
    with pytest.raises(Unreadable, match="needs a data_dir"):
        engine_of(None, "auto", several=True)
