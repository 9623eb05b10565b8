"""The data directory: its id, its lock, its rights, and removal of partial files."""

from __future__ import annotations

import re

import pytest
from tests.sim.clock import FixedClock

from bellcow.agent.data_dir import DataDirectory, DataDirectoryError

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def opened(path, seed: int = 0) -> DataDirectory:
    return DataDirectory(path, FixedClock(seed=seed))


def test_id_is_made_once(tmp_path):
    first = opened(tmp_path / "server", seed=1)
    assert UUID.fullmatch(first.node_id)
    assert first.made_id
    first.close()
    second = opened(tmp_path / "server", seed=2)
    assert (second.node_id, second.made_id) == (first.node_id, False)
    second.close()


def test_everything_made_is_for_its_owner_alone(tmp_path):
    data = opened(tmp_path / "data/server")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "data": 0o700,
        "server": 0o700,
        "snapshots": 0o700,
        "lock": 0o600,
        "node-id": 0o600,
    }
    data.close()


def test_directory_open_to_others_is_closed(tmp_path):
    path = tmp_path / "server"
    path.mkdir(mode=0o755)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o700


def test_directory_above_is_left_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    opened(tmp_path / "server").close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_second_one_is_refused_while_the_first_is_open(tmp_path):
    import os

    first = opened(tmp_path)
    with pytest.raises(DataDirectoryError, match=f"in use by process {os.getpid()}; stop it"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


@pytest.mark.parametrize("text", ["", "x", "12345678-1234-1234-1234-12345678901g"])
def test_file_without_an_id_is_refused_and_not_replaced(tmp_path, text):
    (tmp_path / "node-id").write_text(text)
    with pytest.raises(DataDirectoryError, match="does not hold a server id"):
        opened(tmp_path)
    assert (tmp_path / "node-id").read_text() == text


def test_id_may_be_written_in_capitals_and_with_a_newline(tmp_path):
    (tmp_path / "node-id").write_text("12345678-1234-1234-1234-12345678901A\n")
    data = opened(tmp_path)
    assert data.node_id == "12345678-1234-1234-1234-12345678901a"
    data.close()


def test_partial_files_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "raft").mkdir()
    for name in (
        "node-id.partial",
        "snapshots/x.snap.partial",
        "raft/peers.json.1.partial",
        "snapshots/x.snap",
    ):
        (tmp_path / name).write_text("half")
    opened(tmp_path).close()
    assert not list(tmp_path.rglob("*.partial"))
    assert (tmp_path / "snapshots/x.snap").exists()


def test_path_that_cannot_be_a_directory_is_refused_with_its_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match="cannot use the data directory"):
        opened(tmp_path / "file/server")
