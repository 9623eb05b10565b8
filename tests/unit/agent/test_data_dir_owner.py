"""Entries of other users in a data directory are not written to, changed or deleted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.sim.clock import FixedClock

from bellcow.agent.data_dir import DataDirectory
from bellcow.agent.data_dir_owner import DataDirectoryError

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534


def opened(data_dir: Path) -> DataDirectory:
    return DataDirectory(data_dir / "server", FixedClock(seed=1))


def snapshot_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(each): (each.stat().st_mode, each.read_bytes() if each.is_file() else b"")
        for each in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize(
    "name", ["", "lock", "snapshots", "raft", "node-id", "store.db", "raft/peers.json"]
)
def test_no_symbolic_link_in_the_data_directory_is_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (victim / "precious.partial").write_text("text")
    link = tmp_path / "data/server" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim / "precious.partial" if "." in name or name == "lock" else victim)
    before = snapshot_of(victim)
    with pytest.raises(DataDirectoryError, match="is a symbolic link, which is not followed"):
        opened(tmp_path / "data")
    assert snapshot_of(victim) == before


def test_data_dir_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    opened(tmp_path / "data").close()
    assert (tmp_path / "real/server/node-id").exists()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@needs_root
@pytest.mark.parametrize("name", ["server", "server/lock", "server/snapshots", "server/store.db"])
def test_entry_of_another_user_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    opened(tmp_path).close()
    path = tmp_path / name
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(DataDirectoryError, match=r"belongs to user 65534, and .*chown -R"):
        opened(tmp_path)
    os.chown(path, 0, 0)
    opened(tmp_path).close()


@needs_root
def test_foreign_owner_of_data_dir_is_reported(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    data = opened(tmp_path)
    assert f"belongs to user {NOBODY}" in data.above.exposed
    assert f"chown 0 {tmp_path}" in data.above.exposed
    data.close()


@pytest.mark.parametrize(
    ("before", "after", "closed"),
    [(0o777, 0o755, True), (0o770, 0o750, True), (0o755, 0o755, False), (0o1777, 0o1777, False)],
)
def test_data_dir_is_closed_to_the_writing_of_others(
    tmp_path: Path, before: int, after: int, closed: bool
) -> None:
    tmp_path.chmod(before)
    data = opened(tmp_path)
    data.close()
    assert (data.above.closed, data.above.exposed) == (closed, "")
    assert tmp_path.stat().st_mode & 0o7777 == after


def test_writable_data_dir_that_cannot_be_closed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chmod(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    tmp_path.chmod(0o777)
    monkeypatch.setattr(type(tmp_path), "chmod", chmod)
    data = opened(tmp_path)
    data.close()
    assert f"run `chmod go-w {tmp_path}`" in data.above.exposed


@pytest.mark.parametrize("file", ["data", "data/server", "data/server/snapshots"])
def test_file_where_a_directory_is_needed_is_named(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(DataDirectoryError, match=rf"{file} is a file, and .*choose another"):
        opened(tmp_path / "data")


def test_a_file_above_data_dir_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=r"/file is a file, and"):
        opened(tmp_path / "file/data")


def test_inaccessible_data_dir_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdir(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "mkdir", mkdir)
    with pytest.raises(DataDirectoryError, match=rf"run `chown -R {os.geteuid()} {tmp_path}`, or"):
        opened(tmp_path)


def test_full_disk_does_not_keep_a_server_from_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).close()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    opened(tmp_path).close()
