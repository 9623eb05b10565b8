"""A restore that dies at each of its named points leaves the whole old state or the new one."""

from __future__ import annotations

import http.client
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.cluster.load import answers, generations, namespaces, records_of, save
from tests.harness import Agent, until

from bellcow.failpoint import POINTS, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

NAMES = 2_300  # more than two chunks, more than two slices
SETTINGS = {"acl": {"enabled": True}, "limits": {"http_max_conns_per_client": 0}}
AFTER_SWITCH = POINTS[POINTS.index("restore-switched") : POINTS.index("restore-done") + 1]


class Prepared(NamedTuple):
    """A stopped agent's data directory in the old state, and an archive of the new one."""

    data_dir: Path
    archive: bytes
    token: str
    old: dict[str, Any]
    new: dict[str, Any]
    old_records: frozenset[Any]
    new_records: frozenset[Any]


def fill(agent: Agent, token: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=30)
    for number in range(NAMES):
        body = b'{"Name": "n%d"}' % number
        connection.request("PUT", "/v1/namespace", body, {"X-Nomad-Token": token})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    with Agent(folder, SETTINGS) as agent:
        token = agent.bootstrap()
        fill(agent, token)
        archive, new = save(agent, token), answers(agent, token)
        agent.put("/v1/operator/scheduler/configuration", {"SchedulerAlgorithm": "spread"}, token)
        policy = {"Name": "later", "Rules": 'node { policy = "read" }'}
        agent.put("/v1/acl/policy/later", policy, token)
        agent.delete("/v1/namespace/n1", token)
        agent.put("/v1/namespace", {"Name": "later"}, token)
        old, old_archive = answers(agent, token), save(agent, token)
    return Prepared(
        folder / "data",
        archive,
        token,
        old,
        new,
        frozenset(records_of(old_archive)),
        frozenset(records_of(archive)),
    )


@pytest.fixture
def agent(prepared, tmp_path) -> Iterator[Agent]:
    """An agent on a copy of the old state, not started yet."""
    agent = Agent(tmp_path / "agent", SETTINGS)
    shutil.copytree(prepared.data_dir, agent.data_dir)
    yield agent
    agent.stop()


def state_of(agent: Agent, prepared: Prepared) -> str:
    """`old` or `new`, by all that can be asked and all that is stored; anything else fails."""
    seen, stored = answers(agent, prepared.token), records_of(save(agent, prepared.token))
    if seen == prepared.old:
        assert stored == prepared.old_records
        return "old"
    assert seen == prepared.new
    assert stored == prepared.new_records
    return "new"


def wait_until_clean(agent: Agent) -> None:
    """No generation but the present one, no file that is not complete."""
    lasting = {
        "lock", "node-id", "snapshots", "store.db", "store.db.mark", "store.db-shm", "store.db-wal"
    }  # fmt: skip

    def is_clean() -> bool:
        files = {path.name for path in (agent.data_dir / "server").iterdir()}
        partial = list(agent.data_dir.rglob("*.partial"))
        return len(generations(agent.data_dir)) == 1 and not partial and files <= lasting

    until(is_clean, "one generation and complete files")


def restore(agent: Agent, prepared: Prepared) -> int:
    return agent.put("/v1/operator/snapshot", prepared.archive, prepared.token).status


@pytest.mark.parametrize("point", POINTS)
def test_state_is_wholly_old_or_new_after_dying_at(point, agent, prepared):
    agent._environment = {VARIABLE: point}
    agent.start()
    with suppress(OSError, http.client.HTTPException, AssertionError):
        if point == "save-written":
            save(agent, prepared.token)
        else:
            restore(agent, prepared)
    assert agent.process is not None
    assert agent.process.wait(60) == -9

    agent._environment = {}
    agent.start()
    assert state_of(agent, prepared) == ("new" if point in AFTER_SWITCH else "old")
    wait_until_clean(agent)
    assert restore(agent, prepared) == 200
    assert state_of(agent, prepared) == "new"
    wait_until_clean(agent)


def test_killed_at_random_moments_of_a_restore_it_is_wholly_old_or_new(agent, prepared):
    """The places between the named points: the process is killed after so many milliseconds."""
    agent.start()
    seen = set()
    for milliseconds in (10, 40, 80, 150):
        connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=30)
        headers = {"X-Nomad-Token": prepared.token}
        connection.request("PUT", "/v1/operator/snapshot", prepared.archive, headers)
        time.sleep(milliseconds / 1_000)
        agent.kill()
        connection.close()
        agent.start()
        seen.add(state_of(agent, prepared))
        wait_until_clean(agent)
        agent.put("/v1/namespace", {"Name": "later"}, prepared.token)
        agent.stop()
        shutil.rmtree(agent.data_dir)
        shutil.copytree(prepared.data_dir, agent.data_dir)
        agent.start()
    assert "old" in seen


def test_upload_aborted_at_twenty_points_changes_nothing(agent, prepared):
    agent.start()
    size = len(prepared.archive)
    for point in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=10)
        connection.putrequest("PUT", "/v1/operator/snapshot")
        connection.putheader("X-Nomad-Token", prepared.token)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        connection.send(prepared.archive[: size * point // 20])
        connection.close()
    assert state_of(agent, prepared) == "old"
    wait_until_clean(agent)
    assert restore(agent, prepared) == 200, agent.log
    assert "later" not in namespaces(agent, prepared.token)
