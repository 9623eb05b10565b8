"""A cluster that has lost most of its voters for good comes back by the commands of the page on it.

The commands are read from `docs/operations/outage-recovery.md`, so the page cannot be wrong.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness import Agent, until
from tests.support.etcd import needs_etcd, short_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, needs_etcd]

PAGE = Path(__file__).parents[2] / "docs/operations/outage-recovery.md"
CONFIGURATION = "/v1/operator/raft/configuration"
STEP = 1_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory.parent


@pytest.fixture
def cluster(folder: Path) -> Iterator[list[Agent]]:
    """Three servers that know each other, with a leader and something written."""
    agents = [Agent(folder / f"s{n}", name=f"s{n}") for n in range(3)]
    for agent in agents:
        configure(agent, agents, bootstrap_expect=3)
        agent.start(wait=False)
    try:
        until(lambda: all(has_leader(agent) for agent in agents), "leader")
        until(lambda: writes(agents[0], "kept"), "a write")
        until(lambda: all("kept" in names(agent) for agent in agents), "namespace everywhere")
        yield agents
    finally:
        for agent in agents:
            if agent.process is not None and agent.process.poll() is None:
                agent.kill()


def configure(agent: Agent, others: list[Agent], **server: Any) -> None:
    joins = [f"127.0.0.1:{other.serf_port}" for other in others]
    settings = json.loads(agent.config_path.read_text())
    settings["server"] = {"enabled": True, "server_join": {"retry_join": joins}, **server}
    agent.config_path.write_text(json.dumps(settings))


def has_leader(agent: Agent) -> bool:
    answer = agent.get("/v1/status/leader")
    return answer.status == 200 and answer.json() != ""


def names(agent: Agent) -> list[str]:
    answer = agent.get("/v1/namespaces?stale")
    return [each["Name"] for each in answer.json()] if answer.status == 200 else []


def writes(agent: Agent, name: str) -> bool:
    return agent.put("/v1/namespace", {"Name": name}).status == 200


def servers(agent: Agent) -> Any:
    return agent.get(CONFIGURATION).json()["Servers"]


def commands() -> list[str]:
    """The lines that the page lets one type."""
    block = PAGE.read_text().partition("## The three commands")[2].partition("\n## ")[0]
    return re.findall(r"^\s*\$ (.+)$", block, re.MULTILINE)


def typed(agent: Agent, command: str, left: list[Agent]) -> str:
    """What a command of the page prints on this server."""
    addresses = ",".join(f"127.0.0.1:{each.rpc_port}" for each in left)
    words = shlex.split(command)
    words = [addresses.join(["-servers=", ""]) if w.startswith("-servers=") else w for w in words]
    words = [str(agent.data_dir) if word == "/var/lib/bellcow" else word for word in words]
    extra = ["-yes"] if any(word.startswith("-servers=") for word in words) else []
    done = agent.command(*words[1:-1], *extra, words[-1])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_has_three_commands():
    assert [command.split()[:4] for command in commands()[:2]] == [
        ["bellcow", "operator", "raft", "recover"]
    ] * 2
    assert len(commands()) == 3


def test_last_server_of_three_brings_the_cluster_back(cluster: list[Agent]):
    lost, left = cluster[:2], cluster[2]
    index = max(each["ModifyIndex"] for each in left.get("/v1/namespaces").json())
    for agent in lost:
        agent.kill()
    until(lambda: not has_leader(left), "loss of the leader")
    left.stop()

    look, write, check = commands()
    assert "Role        = voter" in typed(left, look, [left])
    assert "Wrote " in typed(left, write, [left])
    left.start()
    assert names(left) == ["default", "kept"]
    assert [each["Address"] for each in servers(left)] == [f"127.0.0.1:{left.rpc_port}"]
    assert left.put("/v1/namespace", {"Name": "after"}).status == 200
    rows = {each["Name"]: each["ModifyIndex"] for each in left.get("/v1/namespaces").json()}
    assert rows["after"] > index + STEP
    assert "s2.global" in left.command(*shlex.split(check)[1:]).stdout
    (old,) = (left.data_dir / "server").glob("raft.old-*")
    assert (old / "peers.json").exists()
    shutil.copytree(old, left.folder / "old/raft", ignore=shutil.ignore_patterns("client.sock*"))
    before = left.command("operator", "raft", "state", str(left.folder / "old"))
    assert [each["Name"] for each in json.loads(before.stdout)["namespaces"]] == ["default", "kept"]

    left.restart()
    assert names(left) == ["after", "default", "kept"]


def test_two_that_are_left_agree_and_one_joins_the_other(cluster: list[Agent]):
    lost, *left = cluster
    for agent in cluster:
        agent.kill()
    look, write, _check = commands()
    del lost
    for agent in left:
        assert "Role        = voter" in typed(agent, look, left)
        typed(agent, write, left)
    left[0].start(wait=False)
    missing = f"no answer from 127.0.0.1:{left[1].rpc_port}"
    until(lambda: missing in left[0].log, "word of what it waits for")
    assert "recovery is waiting" in left[0].log
    left[1].start(wait=False)
    until(lambda: all(has_leader(agent) for agent in left), "leader")
    until(lambda: all(names(agent) == ["default", "kept"] for agent in left), "state everywhere")
    addresses = {f"127.0.0.1:{agent.rpc_port}" for agent in left}
    until(lambda: {each["Address"] for each in servers(left[0])} == addresses, "both in it")
    until(lambda: all(each["Voter"] for each in servers(left[0])), "vote for both")
    until(lambda: writes(left[1], "after"), "a write")
    assert len([agent for agent in left if "event=cluster_rebuilt" in agent.log]) == 1


def test_server_without_a_vote_brings_the_cluster_back(cluster: list[Agent], folder: Path):
    left = Agent(folder / "s3", name="s3")
    configure(left, cluster, non_voting_server=True)
    left.start(wait=False)
    try:
        until(lambda: names(left) == ["default", "kept"], "copy of the state")
        for agent in cluster:
            agent.kill()
        left.stop()
        look, write, _check = commands()
        assert "Role        = non-voter" in typed(left, look, [left])
        typed(left, write, [left])
        left.start()
        until(lambda: names(left) == ["default", "kept"], "state")
        assert [each["Voter"] for each in servers(left)] == [True]
        assert left.put("/v1/namespace", {"Name": "after"}).status == 200
    finally:
        left.stop()


def _votes(agent: Agent) -> bool:
    """Whether the member beside this server takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", agent.rpc_port)) == 0


def why_refused(agent: Agent) -> str:
    """The reason beside the refusal of a read."""
    refusal = agent.get("/v1/namespaces")
    assert refusal.text == "No cluster leader"
    return refusal.header("X-Bellcow-Reason") or ""


def test_voter_started_without_a_quorum_answers_stale_reads_from_its_disk(cluster: list[Agent]):
    one = cluster[0]
    configured = servers(one)
    for agent in cluster:
        agent.kill()
    # Their members end a moment after them, and would be a quorum.
    until(lambda: not any(map(_votes, cluster)), "the end of all members")
    one.start(wait=False)
    until(lambda: names(one) == ["default", "kept"], "stale read")
    shown = one.get(f"{CONFIGURATION}?stale").json()["Servers"]
    assert [each["ID"] for each in shown] == [each["ID"] for each in configured]
    assert one.get("/v1/jobs?stale").status == 200
    assert one.get("/v1/operator/snapshot?stale").status == 200

    def only_it_is_healthy() -> bool:
        health = one.get("/v1/operator/autopilot/health?stale")
        found = health.json()
        known = sorted(each["Healthy"] for each in found["Servers"])
        return (health.status, known, found["Leader"]) == (429, [False, False, True], "")

    until(only_it_is_healthy, "health of it alone")
    advice = "start s1.global, s2.global until 2 of 3"
    # First one of them is silent for long enough, then the other one too.
    until(lambda: advice in why_refused(one), "both are said to be silent")
    until(lambda: "event=no_leader" in one.log, "the same in the log")
    assert advice in one.command("namespace", "list").stderr
    assert one.log.count("event=stale_state_loaded") == 1
    for agent in cluster[1:]:
        agent.start(wait=False)
    until(lambda: has_leader(one), "leader")
    until(lambda: writes(one, "after"), "a write")


def test_servers_that_have_all_moved_say_which_command_helps(cluster: list[Agent]):
    for agent in cluster:
        agent.stop()
    old = [agent.rpc_port for agent in cluster]
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for probe in (one, two, three):
            probe.bind(("127.0.0.1", 0))
        new = [probe.getsockname()[1] for probe in (one, two, three)]
    for agent, port in zip(cluster, new, strict=True):
        settings = json.loads(agent.config_path.read_text())
        settings["ports"]["rpc"] = port
        agent.config_path.write_text(json.dumps(settings))
        agent.start(wait=False)
    parts = ["event=no_leader", "bellcow operator raft recover -servers="]
    for before, after in zip(old, new, strict=True):
        parts.append(f"from 127.0.0.1:{before} to 127.0.0.1:{after}")

    def says_it(agent: Agent) -> bool:
        # The first lines may lack a server that has not started yet.
        return any(all(part in line for part in parts) for line in agent.log.splitlines())

    for agent in cluster:
        until(lambda agent=agent: says_it(agent), "word of all that have moved")


def test_wrong_file_stops_the_start_and_changes_nothing(cluster: list[Agent]):
    one = cluster[0]
    one.stop()
    file = one.data_dir / "server/raft/peers.json"
    file.write_text('["127.0.0.1"]')
    one.start(wait=False)
    assert one.process is not None
    assert one.process.wait(60) == 1
    said = "Error starting agent: server setup failed: Failed to start Raft: recovery failed"
    assert said in one.log
    assert "entry 1: " in one.log
    file.unlink()
    one.start()
    until(lambda: "kept" in names(one), "the namespace")


def test_embedded_server_is_converted_by_one_setting(folder: Path):
    agent = Agent(folder / "s0")
    with agent:
        agent.put("/v1/namespace", {"Name": "kept"})
        before = agent.get("/v1/namespaces").json()
    settings = json.loads(agent.config_path.read_text())
    settings["server"]["engine"] = "etcd"
    agent.config_path.write_text(json.dumps(settings))
    with agent:
        assert agent.get("/v1/namespaces").json() == before
        assert agent.put("/v1/namespace", {"Name": "after"}).status == 200
    assert list((agent.data_dir / "server").glob("store.db.before-etcd-*"))
    with agent:
        assert names(agent) == ["after", "default", "kept"]


def test_state_of_a_single_server_is_taken_over_by_three_that_join_it(folder: Path):
    agents = [Agent(folder / f"s{n}", name=f"s{n}") for n in range(3)]
    with agents[0]:
        agents[0].put("/v1/namespace", {"Name": "kept"})
    for agent in agents:
        configure(agent, agents, bootstrap_expect=3)
    with contextlib.ExitStack() as stack:
        for agent in agents:
            agent.start(wait=False)
            stack.callback(agent.stop)
        until(lambda: all("kept" in names(agent) for agent in agents), "namespace everywhere")
        until(lambda: [each["Voter"] for each in servers(agents[0])] == [True] * 3, "three votes")


def test_embedded_server_goes_by_the_file_and_removes_it(folder: Path):
    agent = Agent(folder / "s0")
    with agent:
        agent.put("/v1/namespace", {"Name": "kept"})
    file = agent.data_dir / "server/raft/peers.json"
    file.parent.mkdir()
    file.write_text(json.dumps([f"127.0.0.1:{agent.rpc_port}"]))
    with agent:
        assert names(agent) == ["default", "kept"]
        assert not file.exists()
        assert agent.get(CONFIGURATION).json()["Index"] > STEP
