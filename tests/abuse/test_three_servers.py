"""The rows that need several servers: B7, B9, B12, C21, D4, D6, D7, D8, E15, E16 and, on one with a
consensus process, F10. Interrupted restores (E14) stand in tests/cluster.

Three servers vote, a fourth has no vote, a fifth is the only one of another region. After each row
all of the first region hold the same state, and no log tells of a fault.
"""

from __future__ import annotations

import functools
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.abuse.rows_acl import DENIED, RIGHTS, UNKNOWN
from tests.abuse.rows_http import HEALTH, PEER, RAFT, SCHEDULER, SNAPSHOT
from tests.abuse.site import FAULT, STATE
from tests.abuse.wire import in_parallel
from tests.harness import Agent, until
from tests.several import Several
from tests.support.etcd import needs_etcd, short_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Answer

pytestmark = [pytest.mark.slow, needs_etcd]

VOTERS = ("s1", "s2", "s3")
GLOBAL = (*VOTERS, "s4")
SETTINGS: dict[str, Any] = {
    "acl": {"enabled": True},
    "autopilot": {"server_stabilization_time": "1s", "cleanup_dead_servers": False},
    "limits": {"http_max_conns_per_client": 0, "http_max_bad_tokens": 0},
}
NOBODY = "deadbeef-0000-4000-8000-000000000000"
BOOTSTRAPPED = "ACL bootstrap already done"
LIMIT_S = 6.0  # five seconds for a leader to show up, and the rest


class Site:
    """The servers, and the tokens of both regions."""

    def __init__(self, several: Several) -> None:
        self.several = several
        self.agents = several.agents
        self.bootstraps: list[Answer] = []
        self.token = self.west_token = ""

    def begin(self) -> None:
        self.several.add("s4", non_voting_server=True)
        west = Agent(self.several.folder / "west", {**SETTINGS, "region": "west"}, name="west")
        self.agents["west"] = west.start()
        # B12, at all servers at the same moment.
        bootstrap = [functools.partial(self.agents[n].put, "/v1/acl/bootstrap") for n in VOTERS]
        turn = iter(bootstrap * 4)
        self.bootstraps = in_parallel(12, lambda: next(turn)())  # noqa: PLW0108  one for each
        self.token = next(a.json()["SecretID"] for a in self.bootstraps if a.status == 200)
        self.west_token = west.bootstrap()
        join = f"/v1/agent/join?address=127.0.0.1:{west.serf_port}"
        assert self.agents["s1"].put(join, token=self.token).json()["num_joined"] == 1
        for name in GLOBAL:
            agent = self.agents[name]
            self.until(lambda a=agent: a.get("/v1/regions").json() == ["global", "west"], "west")
        self.settle()

    # Questions

    def until(self, *args: Any) -> None:
        self.several.until(*args)

    def peers(self, name: str = "") -> dict[str, dict[str, Any]]:
        return self.several.servers(self.agents[name] if name else None, self.token)

    def leader(self, name: str = "") -> str:
        return self.several.leader(self.agents[name] if name else None, self.token)

    def ask(self, name: str, method: str, target: str, body: Any = None, token: str = "") -> Answer:
        return self.agents[name].request(method, target, body, token or self.token)

    def remove(self, via: str, server_id: str, query: str = "") -> Answer:
        return self.ask(via, "DELETE", f"{PEER}?id={server_id}{query}")

    def make_token(self, name: str, rules: str) -> str:
        made = self.ask("s1", "PUT", f"/v1/acl/policy/{name}", {"Name": name, "Rules": rules})
        assert made.status == 200, made
        body = {"Name": name, "Type": "client", "Policies": [name]}
        return str(self.ask("s2", "PUT", "/v1/acl/token", body).json()["SecretID"])

    # What holds after each row

    def settle(self) -> None:
        """All three vote and answer, and all four hold the same."""
        self.until(lambda: self.several.voters(token=self.token) == set(VOTERS), "three voters")
        self.until(lambda: len(self.peers()) == len(GLOBAL), "four servers")
        self.until(lambda: len({self.state(name) for name in GLOBAL}) == 1, "one state")
        self.until(lambda: self.ask("s1", "GET", HEALTH).status == 200, "good health")

    def state(self, name: str) -> tuple[bytes, ...]:
        answers = [self.ask(name, "GET", f"{path}?stale") for path in STATE]
        assert all(answer.status == 200 for answer in answers), answers
        return tuple(without_leader(answer) for answer in answers)

    def check_logs(self) -> None:
        for name, agent in self.agents.items():
            assert "Traceback" not in agent.log, name
            faults = FAULT.findall(agent.log)
            assert not faults, (name, faults)
            assert self.token not in agent.log, name


def without_leader(answer: Answer) -> bytes:
    """Who leads, and when it was heard, is no part of the state."""
    return re.sub(rb'"(Leader|LastContact|KnownLeader)":\w+,?', b"", answer.body)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Several(*VOTERS, settings=SETTINGS) as several:
        made = Site(several)
        made.begin()
        yield made
        made.check_logs()


@pytest.fixture(autouse=True)
def _as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "site" in request.fixturenames:
        site: Site = request.getfixturevalue("site")
        site.settle()
        site.check_logs()


# Rights


def test_b12_of_bootstraps_at_three_servers_exactly_one_wins(site: Site) -> None:
    assert sorted(answer.status for answer in site.bootstraps) == [200, *[400] * 11]
    assert all(a.text.startswith(BOOTSTRAPPED) for a in site.bootstraps if a.status == 400)
    for name in GLOBAL:
        again = site.agents[name].put("/v1/acl/bootstrap")
        assert (again.status, again.text[: len(BOOTSTRAPPED)]) == (400, BOOTSTRAPPED)
    tokens = site.ask("s4", "GET", "/v1/acl/tokens").json()
    assert [each["Type"] for each in tokens] == ["management"]


@pytest.mark.parametrize("name", GLOBAL)
def test_b7_each_endpoint_gives_each_token_its_due_at(name: str, site: Site) -> None:
    read = site.make_token("b7-read", 'operator { policy = "read" }')
    write = site.make_token("b7-write", 'operator { policy = "write" }')
    none = site.make_token("b7-none", 'agent { policy = "write" }')
    before = site.state("s1")
    for method, target, body, by_read, by_write, by_management in RIGHTS:
        unknown = 400 if target == SNAPSHOT else 403
        cases = ((none, 403), (NOBODY, unknown), (read, by_read), (write, by_write))
        for token, status in (*cases, (site.token, by_management)):
            answer = site.agents[name].request(method, target, body, token)
            assert answer.status == status, (method, target, token, answer)
        anonymous = site.agents[name].request(method, target, body)
        assert (anonymous.status, anonymous.text.strip()[-len(DENIED) :]) == (403, DENIED)
    site.until(lambda: site.state("s1") == before, "nothing has changed")


@pytest.mark.parametrize("name", GLOBAL)
def test_b9_rights_are_looked_at_wherever_and_however_it_is_asked(name: str, site: Site) -> None:
    for query in ("", "stale", "consistent", "region=global", "stale&region=global"):
        for token, said in (("", DENIED), (NOBODY, UNKNOWN), (site.west_token, UNKNOWN)):
            answer = site.agents[name].get(f"{RAFT}?{query}", token)
            assert (answer.status, answer.text.removeprefix("rpc error: ")) == (403, said), query
    there = site.agents[name].get(f"{RAFT}?region=west", site.west_token)
    assert [each["Node"] for each in there.json()["Servers"]] == ["west.west"]
    for token in ("", NOBODY, site.token):
        for method, target, body, *_ in RIGHTS:
            joint = f"{target}{'&' if '?' in target else '?'}region=west"
            answer = site.agents[name].request(method, joint, body, token)
            assert answer.status in {400, 403}, (method, joint, answer)
            assert DENIED in answer.text or UNKNOWN in answer.text, answer


def test_machine_of_another_server_is_asked_for_by_the_name_of_that_server(site: Site) -> None:
    by_name = site.peers()
    for asked in GLOBAL:
        for other in GLOBAL:
            for name in (f"{other}.global", by_name[other]["ID"]):
                told = site.ask(asked, "GET", f"/v1/agent/host?server_id={name}").json()
                assert told["AgentID"] == f"{other}.global", (asked, name)
                words = site.ask(asked, "GET", f"/v1/agent/pprof/cmdline?server_id={name}").text
                assert str(site.agents[other].config_path) in words, (asked, name)
        answer = site.ask(asked, "GET", f"/v1/agent/host?server_id={asked}")
        assert (answer.status, answer.text) == (500, f"unknown Nomad server {asked}")


def test_b8_a_token_that_is_deleted_is_dead_at_every_server_at_once(site: Site) -> None:
    secret = site.make_token("b8", 'operator { policy = "read" }')
    for name in GLOBAL:
        site.until(
            lambda n=name: site.agents[n].get(f"{SCHEDULER}?stale", secret).status == 200, name
        )
    own = site.agents["s4"].get("/v1/acl/token/self", secret).json()
    assert site.ask("s3", "DELETE", f"/v1/acl/token/{own['AccessorID']}").status == 200
    for name in GLOBAL:
        answer = site.agents[name].get(SCHEDULER, secret)
        assert (answer.status, answer.text) == (403, UNKNOWN), name


# Writes


def test_c21_of_a_hundred_writes_with_one_index_at_four_servers_one_wins(site: Site) -> None:
    index = site.ask("s2", "GET", SCHEDULER).json()["SchedulerConfig"]["ModifyIndex"]
    turn = iter(GLOBAL * 25)
    target, body = f"{SCHEDULER}?cas={index}", {"SchedulerAlgorithm": "spread"}
    answers = in_parallel(50, lambda: site.ask(next(turn), "PUT", target, body))
    answers += in_parallel(50, lambda: site.ask(next(turn), "PUT", target, body))
    assert [answer.status for answer in answers] == [200] * 100
    found = [answer.json() for answer in answers]
    (won,) = [each for each in found if each["Updated"]]
    indexes = sorted(each["Index"] for each in found)
    assert indexes == list(range(indexes[0], indexes[0] + 100)), "one is lost or given twice"
    for name in GLOBAL:
        stored = site.ask(name, "GET", SCHEDULER).json()["SchedulerConfig"]
        assert stored["ModifyIndex"] == won["Index"]


# Restores


def test_e16_restore_through_a_follower_and_a_server_without_a_vote(site: Site) -> None:
    follower = next(name for name in VOTERS if name != site.leader())
    for via in (follower, "s4"):
        saved = site.ask(via, "GET", SNAPSHOT)
        name = f"e16-{via}"
        assert site.ask(via, "PUT", f"/v1/namespace/{name}", {"Name": name}).status == 200
        assert site.ask(via, "PUT", SNAPSHOT, saved.body).status == 200
        assert site.ask(via, "GET", f"/v1/namespace/{name}").status == 404
        site.settle()
        refused = site.ask(via, "PUT", SNAPSHOT, saved.body[:-20])
        assert refused.status == 500, refused
        assert refused.text.startswith("failed to restore from snapshot: ")


def test_e15_of_restores_through_all_servers_one_at_a_time_is_done(site: Site) -> None:
    saved = site.ask("s1", "GET", SNAPSHOT).body
    turn = iter(GLOBAL * 2)
    answers = in_parallel(8, lambda: site.ask(next(turn), "PUT", SNAPSHOT, saved))
    statuses = [answer.status for answer in answers]
    assert 200 in statuses
    assert set(statuses) <= {200, 409}, answers


def test_e14_leader_changes_while_an_archive_arrives(site: Site) -> None:
    """Wholly the old state or wholly the new one, whatever the sender is told."""
    saved = site.ask("s1", "GET", SNAPSHOT).body
    assert site.ask("s1", "PUT", "/v1/namespace/e14", {"Name": "e14"}).status == 200
    site.settle()
    heir = next(name for name in VOTERS if name != site.leader())
    transfer = f"/v1/operator/raft/transfer-leadership?id={site.peers()[heir]['ID']}"
    turn = iter([(SNAPSHOT, saved), (transfer, None)])
    restored, moved = sorted(
        in_parallel(2, lambda: site.ask("s4", "PUT", *next(turn))),
        key=lambda answer: answer.header("Content-Type") == "application/json",
    )
    assert moved.status == 200, moved
    assert restored.status in {200, 500}, restored
    site.settle()
    there = site.ask("s4", "GET", "/v1/namespace/e14").status
    assert there in ({404} if restored.status == 200 else {200, 404})
    site.ask("s4", "DELETE", "/v1/namespace/e14")


# Removals


def test_d7_same_removal_sent_to_two_servers_at_once_is_done_once(site: Site) -> None:
    peer = site.peers()["s4"]
    turn = iter(("s1", "s2"))
    answers = in_parallel(2, lambda: site.remove(next(turn), peer["ID"]))
    texts = sorted((answer.status, answer.text) for answer in answers)
    assert texts[0] == (200, "")
    assert texts[1][0] == 500
    assert texts[1][1].endswith(f'id "{peer["ID"]}" was not found in the Raft configuration')
    rejoin(site, "s4", "s1")


def rejoin(site: Site, name: str, via: str) -> None:
    """Tell a removed server to join another, once it knows that it is out."""
    path = f"{RAFT}?stale"
    site.until(lambda: f'"{name}.global"' not in site.ask(name, "GET", path).text, f"{name} knows")
    join = f"/v1/agent/join?address=127.0.0.1:{site.agents[via].serf_port}"
    assert site.ask(name, "PUT", join).json()["num_joined"] == 1
    site.until(lambda: name in site.peers(via), f"{name} is in")


def test_d8_removed_server_stays_out_and_joins_afresh_when_it_is_started(site: Site) -> None:
    leader = site.leader()
    name = next(each for each in VOTERS if each != leader)
    agent = site.agents[name]
    assert site.remove(leader, site.peers()[name]["ID"]).status == 200
    site.until(lambda: "old_raft_files_moved" in agent.log, "its directory is set aside")
    time.sleep(6)  # longer than it takes to count somebody as failed
    assert name not in site.peers(leader)
    site.until(lambda: site.ask(name, "GET", SCHEDULER).status == 200, "it goes on answering")
    agent.stop()
    size = len(agent.log)
    agent.start(wait=False)
    site.until(lambda: name in site.peers(leader), "it is in again")
    site.until(lambda: "joined" in agent.log[size:], "it says so")


def test_d6_leader_that_is_removed_answers_and_another_leads(site: Site) -> None:
    leader = site.leader()
    other = next(name for name in VOTERS if name != leader)
    began = time.monotonic()
    answer = site.remove(leader, site.peers()[leader]["ID"])
    assert time.monotonic() - began < LIMIT_S
    if answer.status == 409:  # on a busy machine one of the others was silent for a second
        leader_id = site.peers()[leader]["ID"]
        site.until(lambda: site.remove(leader, leader_id).status == 200, "its removal")
    else:
        assert answer.status == 200, answer
    site.until(lambda: leader not in site.peers(other), "it is out")
    site.until(lambda: site.leader(other) != leader, "another leads")
    time.sleep(3)
    assert leader not in site.peers(other)  # it has heard of its removal, and stays out
    rejoin(site, leader, other)


def test_d4_live_server_that_the_quorum_needs_is_removed_by_force_alone(site: Site) -> None:
    leader = site.leader()
    dead, other = (name for name in VOTERS if name != leader)
    peers = site.peers()
    site.agents[dead].kill()
    time.sleep(1.5)  # it counts as one that answers for a second
    for via in (leader, other, "s4"):
        refused = site.remove(via, peers[other]["ID"])
        assert refused.status == 409, refused
        assert "of 2 voters left 1 are alive and 2 are needed" in refused.text
    assert site.remove(leader, peers[dead]["ID"]).status == 200  # the dead may go
    forced = site.remove(leader, peers[other]["ID"], "&force=true")
    assert forced.status == 200, forced
    assert site.several.voters(site.agents[leader], site.token) == {leader}
    site.agents[dead].start(wait=False)
    rejoin(site, other, leader)
    site.until(lambda: dead in site.peers(leader), "the dead one is back")


def test_e16_restore_without_a_leader_ends_within_its_time(site: Site) -> None:
    saved = site.ask("s1", "GET", SNAPSHOT).body
    leader = site.leader()
    left = next(name for name in VOTERS if name != leader)
    for name in VOTERS:
        if name != left:
            site.agents[name].kill()
    for via in (left, "s4"):
        site.until(
            lambda n=via: site.ask(n, "GET", "/v1/status/leader?stale").json() == "", "no leader"
        )
        began = time.monotonic()
        answer = site.ask(via, "PUT", SNAPSHOT, saved)
        assert time.monotonic() - began < LIMIT_S
        assert (answer.status, answer.text) == (500, "No cluster leader"), answer
        assert site.ask(via, "GET", f"{SNAPSHOT}?stale").status == 200
    for name in VOTERS:
        if name != left:
            site.agents[name].start(wait=False)


# The consensus process


def test_f10_port_of_the_consensus_that_is_taken_is_named_and_free_again_it_is_used() -> None:
    with short_directory() as directory, socket.socket() as taken:
        agent = Agent(directory.parent / "agent", {"server": {"engine": "etcd"}})
        taken.bind(("127.0.0.1", agent.rpc_port))
        taken.listen()
        agent.start(wait=False)
        try:
            until(lambda: "address already in use" in agent.log, "word of the port")
            until(lambda: agent.get("/v1/agent/health").status == 500, "bad health")
            taken.close()
            agent.wait()
            assert agent.put(SCHEDULER, {}).status == 200
        finally:
            assert agent.stop() == 0
