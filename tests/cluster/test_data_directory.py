"""What an agent makes of a data directory that is full, damaged, deleted, foreign or in use."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.cluster.load import namespaces
from tests.harness import Agent, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


def refused(agent: Agent) -> str:
    """Start an agent that must not start; what it said."""
    agent.start(wait=False)
    assert agent.process is not None
    assert agent.process.wait(60) == 1, agent.log
    assert "Traceback" not in agent.log
    return agent.log


def put(agent: Agent, name: str) -> int:
    return agent.put("/v1/namespace", {"Name": name}).status


def check_full_disk(agent: Agent) -> None:
    """Writes are refused with a reason, reads and leadership go on."""
    answer = agent.put("/v1/namespace", {"Name": "refused"})
    assert answer.status == 500
    assert "not done" in answer.text
    assert "full" in answer.text
    assert "refused" not in namespaces(agent)
    assert agent.get("/v1/operator/autopilot/health").status == 200
    health = agent.get("/v1/agent/health")
    assert (health.status, "no space left" in health.text) == (200, True)


# Disk


def test_writes_are_refused_at_a_file_size_limit_and_taken_again_after_it(start_agent):
    agent = start_agent()
    assert agent.process is not None
    assert put(agent, "before") == 200
    no_limit = resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (1_024, no_limit[1]))
    check_full_disk(agent)
    check_full_disk(agent)
    answer = agent.get("/v1/operator/snapshot")
    assert (answer.status, "no snapshot was made" in answer.text) == (500, True)
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, no_limit)
    assert put(agent, "after") == 200
    agent.restart()
    assert set(namespaces(agent)) == {"default", "before", "after"}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount = shutil.which("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", disk],
        check=False,
        capture_output=True,
    )
    if not made or made.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_agent_outlives_a_full_disk_and_recovers_when_there_is_room(small_disk, tmp_path):
    with Agent(tmp_path / "agent", {"data_dir": str(small_disk / "data")}) as agent:
        filler = small_disk / "filler"
        free = os.statvfs(small_disk)
        filler.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - 16_384))
        for number in range(100):
            if put(agent, f"n{number}") == 500:
                break
        check_full_disk(agent)
        said = "no space left, writes are refused"
        until(lambda: said in agent.log, "word of it")
        assert agent.log.count(said) == 1
        filler.unlink()
        assert put(agent, "after") == 200
        agent.restart()
        assert "after" in namespaces(agent)


@pytest.mark.parametrize("end", [Agent.stop, Agent.kill])
def test_agent_starts_on_a_full_disk_reads_and_writes_when_there_is_room(small_disk, tmp_path, end):
    agent = Agent(tmp_path / "agent", {"data_dir": str(small_disk / "data")})
    agent.start()
    assert put(agent, "before") == 200
    end(agent)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(b"\0" * (free.f_bavail * free.f_frsize))
    assert os.statvfs(small_disk).f_bavail == 0
    agent.start()
    try:
        assert "before" in namespaces(agent)
        check_full_disk(agent)
        filler.unlink()
        assert put(agent, "after") == 200
        agent.restart()
        assert {"before", "after"} <= set(namespaces(agent))
    finally:
        agent.stop()


# Damage


def damage(path: Path) -> None:
    """Flip bits in the middle of what is stored."""
    content = bytearray(path.read_bytes())
    for place in range(4_096, len(content), 512):
        content[place] ^= 0xFF
    path.write_bytes(content)


def test_damaged_store_is_refused_with_its_name_and_left_as_it_is(start_agent):
    agent = start_agent()
    assert put(agent, "before") == 200
    agent.stop()
    store = agent.data_dir / "server/store.db"
    damage(store)
    content = store.read_bytes()
    log = refused(agent)
    assert "store.db is damaged" in log
    assert "snapshot restore" in log
    assert store.read_bytes() == content


def test_missing_store_is_refused_and_not_taken_for_a_new_one(start_agent):
    agent = start_agent()
    agent.stop()
    for path in (agent.data_dir / "server").glob("store.db*"):
        if path.suffix != ".mark":
            path.unlink()
    assert "store.db is damaged" in refused(agent)


def test_store_deleted_while_running_stops_writes_and_not_reads(start_agent):
    agent = start_agent()
    assert put(agent, "before") == 200
    for path in (agent.data_dir / "server").glob("store.db*"):
        path.unlink()
    answer = agent.put("/v1/namespace", {"Name": "lost"})
    assert answer.status == 500, "a write that no file holds was acknowledged"
    assert "the store is damaged; the server's log says more" in answer.text
    assert str(agent.data_dir) not in answer.text
    # The line is written where the writing ends, which may be a moment after the answer.
    until(lambda: f"{agent.data_dir}/server/store.db is damaged" in agent.log, "the log's line")


def test_log_of_the_store_cut_short_is_recovered_or_refused(start_agent):
    agent = start_agent()
    indexes = [put(agent, f"n{number}") for number in range(20)]
    assert set(indexes) == {200}
    agent.kill()
    kept = agent.data_dir.with_name("kept")
    shutil.copytree(agent.data_dir, kept)
    size = (kept / "server/store.db-wal").stat().st_size
    for part in (0.2, 0.5, 0.9, 0.999):
        shutil.rmtree(agent.data_dir)
        shutil.copytree(kept, agent.data_dir)
        os.truncate(agent.data_dir / "server/store.db-wal", int(size * part))
        agent.start(wait=False)
        assert agent.process is not None
        try:
            agent.wait()
        except AssertionError:
            assert "store.db is damaged" in agent.log
            continue
        names = set(namespaces(agent))
        assert names == {"default", *(f"n{number}" for number in range(len(names) - 1))}
        agent.stop()


# Whose it is


def test_second_process_on_a_data_directory_is_refused(start_agent, tmp_path):
    first = start_agent()
    second = Agent(tmp_path / "second", {"data_dir": str(first.data_dir)})
    assert first.process is not None
    log = refused(second)
    assert f"in use by process {first.process.pid}" in log
    assert put(first, "after") == 200


def test_data_directory_of_another_region_is_refused(start_agent):
    agent = start_agent()
    agent.stop()
    text = agent.config_path.read_text().replace('"server":', '"region": "elsewhere", "server":')
    agent.config_path.write_text(text)
    log = refused(agent)
    assert 'belongs to a cluster of region "global"' in log
    assert 'configured for "elsewhere"' in log


def test_acls_stay_on_when_a_file_says_otherwise_after_the_bootstrap(start_agent):
    agent = start_agent({"acl": {"enabled": True}})
    secret = agent.bootstrap()
    agent.stop()
    written = json.loads(agent.config_path.read_text())
    agent.config_path.write_text(json.dumps({**written, "acl": {"enabled": False}}))
    agent.start()
    for path in ("/v1/operator/snapshot?stale", "/v1/operator/scheduler/configuration?stale"):
        assert agent.get(path).status == 403
    assert agent.get("/v1/acl/token/self", secret).status == 200
    assert "event=acl_differs" in agent.log


def test_server_keeps_its_id_and_tells_of_its_new_address(start_agent):
    agent = start_agent()
    (before,) = agent.get("/v1/operator/raft/configuration").json()["Servers"]
    agent.stop()
    old, new = str(agent.rpc_port), str(agent.rpc_port - 1)
    agent.config_path.write_text(agent.config_path.read_text().replace(old, new))
    agent.start()
    (after,) = agent.get("/v1/operator/raft/configuration").json()["Servers"]
    assert after == {**before, "Address": before["Address"].replace(old, new)}
    until(lambda: agent.get("/v1/operator/autopilot/health").json()["Healthy"], "good health")
