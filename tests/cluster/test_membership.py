"""Real servers on real etcd: join, promotion, removal, transfer, the dead, the wiped."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.harness import WAIT_S, Agent, until
from tests.support.etcd import needs_etcd, short_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, needs_etcd]


class Site:
    """Agents that know each other by the first three."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents: dict[str, Agent] = {}

    def begin(self) -> None:
        for name in ("s1", "s2", "s3"):
            self.agents[name] = Agent(self.folder / name, name=name)
        for agent in list(self.agents.values()):
            self._configure(agent, 3)
            agent.start(wait=False)
        for agent in self.agents.values():
            agent.wait()
        for agent in self.agents.values():
            self.until(lambda agent=agent: self._knows_all(agent), "all three vote")

    def _knows_all(self, agent: Agent) -> bool:
        """Whether its own memory has the three with their votes."""
        answer = agent.get("/v1/operator/raft/configuration?stale")
        assert answer.status == 200, answer
        return [each["Voter"] for each in answer.json()["Servers"] or ()] == [True] * 3

    def add(self, name: str, **server: Any) -> Agent:
        agent = self.agents[name] = Agent(self.folder / name, name=name)
        self._configure(agent, 0, **server)
        agent.start(wait=False)
        return agent

    def _configure(self, agent: Agent, expect: int, **server: Any) -> None:
        config = json.loads(agent.config_path.read_text())
        addresses = [f"127.0.0.1:{self.agents[n].serf_port}" for n in ("s1", "s2", "s3")]
        config["server"] = {
            "enabled": True,
            "server_join": {"retry_join": addresses, "retry_interval": "1s"},
            **({"bootstrap_expect": expect} if expect else {}),
            **server,
        }
        agent.config_path.write_text(json.dumps(config))

    def stop(self) -> None:
        for agent in self.agents.values():
            with contextlib.suppress(AssertionError):
                agent.stop()

    def living(self) -> Agent:
        return next(a for a in self.agents.values() if a.process and a.process.poll() is None)

    def raft(self, via: Agent | None = None) -> dict[str, Any]:
        """Entries of the configuration by name."""
        answer = (via or self.living()).get("/v1/operator/raft/configuration")
        assert answer.status == 200, answer
        return {entry["Node"].removesuffix(".global"): entry for entry in answer.json()["Servers"]}

    def shown(self) -> dict[str, bool]:
        """Who is in, and whether it votes."""
        return {name: entry["Voter"] for name, entry in self.raft().items()}

    def leader(self) -> str:
        """The leader, as soon as there is one that is known by name."""

        def known() -> str:
            leaders = [name for name, entry in self.raft().items() if entry["Leader"]]
            return next(name for name in leaders if name in self.agents)

        return until(known, "a leader")

    def until(self, holds: Callable[[], object], what: str, limit_s: float = WAIT_S) -> None:
        until(holds, what, limit_s)

    def logs(self) -> str:
        return "\n".join(f"== {n}\n{a.log[-6000:]}" for n, a in self.agents.items())


@pytest.fixture
def site() -> Iterator[Site]:
    with short_directory() as directory:  # the path of a socket may not be long
        made = Site(directory.parent)
        try:
            made.begin()
            yield made
        finally:
            made.stop()
            print(made.logs())  # shown when the test fails


def all_vote(*names: str) -> dict[str, bool]:
    return dict.fromkeys(names, True)


def test_fourth_server_joins_gets_a_vote_is_removed_and_joins_again(site: Site) -> None:
    site.until(lambda: site.shown() == all_vote("s1", "s2", "s3"), "three voters")
    fourth = site.add("s4")
    site.until(lambda: site.shown().get("s4") is False, "s4 is in without a vote")
    site.until(lambda: site.shown() == all_vote("s1", "s2", "s3", "s4"), "s4 votes")
    server_id = site.raft()["s4"]["ID"]
    follower = next(site.agents[n] for n in ("s1", "s2", "s3") if n != site.leader())
    assert follower.request("DELETE", f"/v1/operator/raft/peer?id={server_id}").status == 200
    assert site.shown() == all_vote("s1", "s2", "s3")
    again = follower.request("DELETE", f"/v1/operator/raft/peer?id={server_id}")
    assert again.status == 500
    assert again.text.endswith(f'id "{server_id}" was not found in the Raft configuration')
    time.sleep(7)
    assert "s4" not in site.shown()
    joined = fourth.request("PUT", f"/v1/agent/join?address=127.0.0.1:{follower.serf_port}")
    assert joined.json() == {"error": "", "num_joined": 1}
    site.until(lambda: site.shown().get("s4") is True, "s4 votes again")


def test_leader_is_removed_through_itself_and_leadership_is_transferred(site: Site) -> None:
    first = site.leader()
    target = next(name for name in ("s1", "s2", "s3") if name != first)
    entry = site.raft()[target]
    path = f"/v1/operator/raft/transfer-leadership?address={entry['Address']}"
    answer = site.agents[first].request("PUT", path)
    assert answer.status == 200, answer
    assert answer.json()["To"]["ID"] == entry["ID"]
    site.until(lambda: site.leader() == target, "the target leads")
    began = time.monotonic()
    path = f"/v1/operator/raft/peer?id={entry['ID']}"
    answer = site.agents[target].request("DELETE", path)
    assert answer.status == 200, answer
    assert time.monotonic() - began < 5
    site.until(lambda: target not in site.raft(site.agents[first]), "the leader is out")


def test_dead_voter_goes_and_no_live_one_before(site: Site) -> None:
    leader = site.leader()
    dead, other = (name for name in ("s1", "s2", "s3") if name != leader)
    entries = site.raft()
    site.agents[dead].kill()
    time.sleep(1.5)
    path = f"/v1/operator/raft/peer?id={entries[other]['ID']}"
    refused = site.agents[leader].request("DELETE", path)
    assert refused.status == 409, refused
    assert "of 2 voters left 1 are alive and 2 are needed" in refused.text
    site.until(lambda: dead not in site.raft(site.agents[leader]), "the dead one is out")
    site.agents[dead].start(wait=False)
    site.until(lambda: site.shown().get(dead) is True, "it is back with a vote")


def test_wiped_server_is_let_in_again(site: Site) -> None:
    leader = site.leader()
    wiped = next(name for name in ("s1", "s2", "s3") if name != leader)
    process = site.agents[wiped].process
    assert process is not None
    whole = psutil.Process(process.pid).children(recursive=True)
    site.agents[wiped].kill()
    assert not psutil.wait_procs(whole, timeout=WAIT_S)[1]  # etcd ends by itself, a moment later
    shutil.rmtree(site.agents[wiped].data_dir / "server" / "raft")
    site.agents[wiped].start(wait=False)
    site.until(lambda: site.shown().get(wiped) is False, "it is in without a vote")
    site.until(lambda: site.shown() == all_vote("s1", "s2", "s3"), "all vote")
