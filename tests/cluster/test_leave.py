"""Servers that leave their cluster when they are stopped, as `leave_on_*` asks for."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.harness import Agent, until
from tests.support.etcd import needs_etcd, short_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, needs_etcd]

CONFIGURATION = "/v1/operator/raft/configuration"
NAMES = ("s1", "s2", "s3")
LIMIT_S = 9.0  # what a service manager may wait: the leave, and then the stop


@pytest.fixture
def agents() -> Iterator[dict[str, Agent]]:
    with short_directory() as directory:
        made = {name: Agent(directory.parent / name, name=name) for name in NAMES}
        addresses = [f"127.0.0.1:{agent.serf_port}" for agent in made.values()]
        for agent in made.values():
            settings = json.loads(agent.config_path.read_text()) | {
                "leave_on_interrupt": True,
                "leave_on_terminate": True,
                "server": {
                    "enabled": True,
                    "bootstrap_expect": 3,
                    "server_join": {"retry_join": addresses, "retry_interval": "1s"},
                },
            }
            agent.config_path.write_text(json.dumps(settings))
            agent.start(wait=False)
        try:
            for agent in made.values():
                agent.wait()
            yield made
        finally:
            for agent in made.values():
                if agent.process is not None and agent.process.poll() is None:
                    agent.kill()
                print(f"== {agent.folder.name}\n{agent.log[-6000:]}")


def voters(agent: Agent) -> dict[str, bool]:
    """The servers in the configuration, and whether each votes."""
    servers = agent.get(CONFIGURATION).json()["Servers"]
    return {each["Node"].removesuffix(".global"): each["Voter"] for each in servers}


def wait_for_leader(agent: Agent) -> str:
    """The leader that this server knows, as soon as it knows one by name."""

    def known() -> str:
        servers = agent.get(CONFIGURATION).json()["Servers"]
        led_by = [each["Node"].removesuffix(".global") for each in servers if each["Leader"]]
        return next(name for name in NAMES if name in led_by)

    return until(known, "a leader")


def wait_until_all_vote(agent: Agent) -> str:
    """The leader, once the configuration has every server with its name and its vote."""
    all_vote = dict.fromkeys(NAMES, True)
    until(lambda: voters(agent) == all_vote, "all to vote")
    return wait_for_leader(agent)


def statuses(agent: Agent) -> dict[str, str]:
    members = agent.get("/v1/agent/members").json()["Members"]
    return {each["Name"].removesuffix(".global"): each["Status"] for each in members}


def end(agent: Agent, number: signal.Signals = signal.SIGTERM) -> None:
    assert agent.process is not None
    began = time.monotonic()
    agent.process.send_signal(number)
    assert agent.process.wait(20) == 0
    assert time.monotonic() - began < LIMIT_S


def test_servers_leave_one_after_another_until_one_is_left(agents: dict[str, Agent]) -> None:
    first = wait_until_all_vote(agents["s1"])
    one, other = (agents[name] for name in NAMES if name != first)
    end(one, signal.SIGINT)
    two = {first: True, other.folder.name: True}
    until(lambda: voters(other) == two, "the server that left is out")
    until(lambda: statuses(other)[one.folder.name] == "left", "it is known to have left")
    end(agents[first])
    until(lambda: voters(other) == {other.folder.name: True}, "the leader has left")
    until(lambda: statuses(other)[first] == "left", "the leader is known to have left")
    end(other)
    assert "event=leave_refused" in other.log
    assert "Need at least one voter" in other.log
    other.start()
    until(lambda: voters(other) == {other.folder.name: True}, "it is the only one")
    agents[first].start(wait=False)
    until(lambda: voters(other).get(first) is True, "who comes back gets its vote back")


def test_server_that_the_quorum_needs_stops_and_stays_a_member(agents: dict[str, Agent]) -> None:
    first = wait_until_all_vote(agents["s1"])
    dead, other = (agents[name] for name in NAMES if name != first)
    settings = {"CleanupDeadServers": False}
    assert agents[first].put("/v1/operator/autopilot/configuration", settings).status == 200
    dead.kill()
    # Till then it may count as one that answers. A member that is late may cost the leader its
    # place, and where nobody leads a leave is refused for another reason.
    until(lambda: statuses(agents[first])[dead.folder.name] == "failed", "it is missed")
    wait_for_leader(other)
    end(other)
    assert "would cost the quorum" in other.log
    other.start(wait=False)
    all_vote = dict.fromkeys(NAMES, True)
    until(lambda: voters(agents[first]) == all_vote, "a leader again that knows all by name")
    # The member beside it may be there before its first hello is.
    until(lambda: statuses(agents[first])[other.folder.name] == "alive", "it is back")
