"""Replays the recording of three servers against three of ours, and does between two exchanges what
had been done to the real ones.

Each region has indexes of its own. Servers and members come in any order, and how long ago a
server was heard is a number that no two runs share.
"""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.contract.http_replay import (
    Exchange,
    Expected,
    World,
    body_of,
    expected_of,
    problems,
    recorded,
)
from tests.contract.http_shapes import SHAPES
from tests.harness import Agent, Answer, exchange, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.several import Several

RECORDED = recorded("cluster")
FIRST_PORTS = {"c1": 21010, "c2": 21020, "c3": 21030, "west": 21060, "c4": 21070, "west2": 21080}
BY_PORT = {port: name for name, port in FIRST_PORTS.items()}
CLOSED_PORT = "21998"
HEALTH = "/v1/operator/autopilot/health"
AUTOPILOT = "/v1/operator/autopilot/configuration"
UNORDERED = (
    "/v1/operator/raft/configuration",
    HEALTH,
    "/v1/agent/members",
    "/v1/status/peers",
)
WITHOUT_LEADER = range(193, 223)  # each waits for a leader; sent at the same time
SOME = "some"


class Replay:
    """The recording, against our servers: what was wrong with each answer."""

    def __init__(self, site: Several, differs: Callable[[int], Expected]) -> None:
        self.site = site
        self.differs = differs
        (closed,) = free_ports(1)
        self.names: dict[str, str] = {CLOSED_PORT: str(closed)}
        self.worlds = {"": World({}), "west": World({})}
        for world in self.worlds.values():
            world.names = self.names
        self.foreign = b""
        self.wrong: dict[int, list[str]] = {}
        self.as_recorded: set[int] = set()

    def run(self) -> None:
        answers: dict[int, Answer] = {}
        for number, each in enumerate(RECORDED):
            prepare(self, number)
            if number == WITHOUT_LEADER.start:
                with ThreadPoolExecutor(len(WITHOUT_LEADER)) as pool:
                    several = pool.map(self.send, (RECORDED[n] for n in WITHOUT_LEADER))
                    answers = dict(zip(WITHOUT_LEADER, several, strict=True))
            self.take(number, each, answers.get(number) or self.send(each))

    def take(self, number: int, each: Exchange, answer: Answer) -> None:
        if answer.header("Digest"):
            self.worlds[region_of(each)].archives.append(answer.body)
        world = self.worlds[region_of(each)]
        before = copy.deepcopy(world)
        self.wrong[number] = self.problems(world, each, self.differs(number), answer)
        if not self.problems(before, each, expected_of(each), answer):
            self.as_recorded.add(number)

    def problems(
        self, world: World, each: Exchange, expected: Expected, answer: Answer
    ) -> list[str]:
        path = each.path.partition("?")[0]
        shape = SHAPES.get(path)
        if shape is not None and each.status == answer.status == 200:
            # The shape is that of a server that was started as the only one.
            return [p for p in shape(each, answer) if not p.startswith(".member.Tags.bootstrap ")]
        heard = answer.header("X-Nomad-LastContact") or ""
        if "stale" in each.path and heard.isdecimal():
            expected.headers = {**expected.headers, "x-nomad-lastcontact": heard}
        arranged = answer
        if path in UNORDERED and answer.text.startswith(("{", "[")):
            expected.layout = None
            value = arrange(answer.json())
            arranged = Answer(answer.status, answer.headers, json.dumps(value).encode())
            if expected.value is not None:
                expected.value = arrange(self._ours(world, expected.value))
        elif "stale" in each.path and isinstance(expected.value, dict) and answer.status == 200:
            expected.value = without_contact(expected.value)
            value = without_contact(answer.json())
            arranged = Answer(
                answer.status,
                answer.headers,
                json.dumps(value, separators=(",", ":")).encode(),
            )
        return problems(world, expected, arranged)

    @staticmethod
    def _ours(world: World, value: Any) -> Any:
        """Addresses of peers are in the order of ours."""
        if isinstance(value, list):
            return [world.ours(each) for each in value]
        return value

    # Sending

    def agent_of(self, each: Exchange) -> Agent:
        return self.site.agents[BY_PORT[each.port]]

    def send(self, each: Exchange) -> Answer:
        world = self.worlds[region_of(each)]
        body = body_of(world, each) if not each.request_body_note else self.foreign
        return exchange(
            self.agent_of(each).http_port,
            each.method,
            world.our_path(each.path),
            {name: world.ours(value) for name, value in each.request_headers.items()},
            body,
            timeout=60,
        )

    def learn(self, name: str) -> None:
        """Where one of our servers is."""
        agent, first = self.site.agents[name], FIRST_PORTS[name]
        ports = (agent.http_port, agent.rpc_port, agent.serf_port)
        self.names |= {str(first + n): str(port) for n, port in enumerate(ports)}


def region_of(each: Exchange) -> str:
    asked_elsewhere = "region=west" in each.path and "/v1/agent/" not in each.path
    return "west" if asked_elsewhere or BY_PORT[each.port].startswith("west") else ""


def arrange(value: Any) -> Any:
    """Servers and members by name; of indexes and contacts only what is alike in all runs.

    Health has a key of ours for who was removed, which names nobody that is there.
    """
    if isinstance(value, list):
        return sorted(value)
    out = dict(value)
    removed = {each["ID"] for each in out.get("Removed", ())}
    if not removed & {each["ID"] for each in out.get("Servers") or ()}:
        out.pop("Removed", None)
    if "Servers" in out and out.get("Index"):
        out["Index"] = SOME  # it counts changes, and no two runs have the same ones
    for key, name in (("Servers", "Node"), ("Servers", "Name"), ("Members", "Name")):
        if out.get(key) and name in out[key][0]:
            out[key] = sorted((without_contact(each) for each in out[key]), key=lambda e: e[name])
    return out


def without_contact(value: dict[str, Any]) -> dict[str, Any]:
    """Whether a server was heard at all can be told, and that it is the leader."""
    if value.get("LastContact") in {None, "0s", "-1ns"}:
        return value
    return {**value, "LastContact": SOME}


# What had been done to the real servers just before an exchange


def prepare(replay: Replay, number: int) -> None:
    step = STEPS.get(number)
    if step is not None:
        step(replay, replay.site)


def begin(replay: Replay, site: Several) -> None:
    west: dict[str, Any] = {"region": "west"}
    site.add("west", west, bootstrap_expect=1, server_join={})
    with Agent(site.folder / "foreign", name="foreign") as foreign:
        for _ in range(60):
            foreign.put("/v1/operator/scheduler/configuration", {"SchedulerAlgorithm": "binpack"})
        replay.foreign = foreign.get("/v1/operator/snapshot").body
    for name in ("c1", "c2", "c3", "west"):
        replay.learn(name)
    site.agents["west"].wait()
    site.let_lead("c1")
    site.until(lambda: healthy(site, "c1", 3), "health")


def healthy(site: Several, name: str, servers: int) -> bool:
    answer = site.agents[name].get(HEALTH)
    return answer.status == 200 and len(answer.json()["Servers"] or ()) == servers


def c4_joins(replay: Replay, site: Several) -> None:
    c1 = site.agents["c1"]
    site.add("c4", bootstrap_expect=3)
    replay.learn("c4")
    site.until(lambda: "c4" in site.servers(c1), "c4 is in")
    site.until(lambda: healthy(site, "c1", 4), "health of c4")


def votes_soon(site: Several, name: str, leader: str) -> None:
    """Wait until a server votes, and let it not take ten seconds."""
    via = site.agents[leader]
    settings = via.get(AUTOPILOT).json()
    via.put(AUTOPILOT, {**settings, "ServerStabilizationTime": "1s"})
    site.until(lambda: name in site.voters(via), f"{name} votes")
    via.put(AUTOPILOT, settings)
    site.until(lambda: name in health_of(site, leader, voters=True), f"health of {name}")
    site.until(lambda: via.get(HEALTH).status == 200, "good health")


def health_of(site: Several, leader: str, *, voters: bool) -> set[str]:
    """Who votes, or does not, as health has it, which is a moment old."""
    servers = site.agents[leader].get(HEALTH).json()["Servers"] or ()
    return {each["Name"].partition(".")[0] for each in servers if each["Voter"] is voters}


def c4_votes(replay: Replay, site: Several) -> None:
    del replay
    votes_soon(site, "c4", "c1")


def regions_know_each_other(replay: Replay, site: Several) -> None:
    del replay
    both = ["global", "west"]
    for name in ("c1", "c2", "west"):
        agent = site.agents[name]
        site.until(lambda a=agent: a.get("/v1/regions").json() == both, "two regions")
    c2 = site.agents["c2"]
    site.until(lambda: c2.get("/v1/status/leader?region=west").status == 200, "west's leader")


def all_members_are_known(replay: Replay, site: Several) -> None:
    del replay
    for name in ("c2", "west"):
        agent = site.agents[name]
        site.until(lambda a=agent: len(site.statuses(a)) == 5, "five members")


def kill(name: str) -> Callable[[Replay, Several], None]:
    def step(replay: Replay, site: Several) -> None:
        del replay
        site.agents[name].kill()

    return step


def unhealthy_at(name: str) -> Callable[[Replay, Several], None]:
    def step(replay: Replay, site: Several) -> None:
        del replay
        site.until(lambda: site.agents[name].get(HEALTH).status == 429, "bad health")

    return step


def c4_is_out(replay: Replay, site: Several) -> None:
    del replay
    site.until(lambda: "c4" not in site.servers(site.agents["c1"]), "c4 is taken out")
    site.until(lambda: healthy(site, "c1", 3), "good health")


def healthy_again(name: str, servers: int) -> Callable[[Replay, Several], None]:
    def step(replay: Replay, site: Several) -> None:
        del replay
        site.until(lambda: healthy(site, name, servers), "good health")

    return step


def comes_back(name: str, leader: str) -> Callable[[Replay, Several], None]:
    """A server that was removed is told to join: it does not do so by itself."""

    def step(replay: Replay, site: Several) -> None:
        del replay
        via = site.agents[leader]
        site.until(lambda: is_out(site, name), f"{name} knows that it is out")
        join = f"/v1/agent/join?address=127.0.0.1:{via.serf_port}"
        assert site.agents[name].put(join).json()["num_joined"] == 1
        site.until(lambda: name in health_of(site, leader, voters=False), f"{name} is in")
        site.until(lambda: healthy(site, leader, 3), "good health")

    return step


def votes_again(name: str, leader: str) -> Callable[[Replay, Several], None]:
    def step(replay: Replay, site: Several) -> None:
        del replay
        votes_soon(site, name, leader)

    return step


def is_out(site: Several, name: str) -> bool:
    """By its own memory: what it says without asking the leader."""
    shown = site.agents[name].get("/v1/operator/raft/configuration?stale").json()["Servers"]
    return all(each["Node"] != f"{name}.global" for each in shown)


def c1_is_back(replay: Replay, site: Several) -> None:
    """It was removed by its address, which the real one refused to do."""
    site.until(lambda: site.leader(site.agents["c2"]) != "c1", "another leader")
    comes_back("c1", "c2")(replay, site)
    votes_again("c1", "c2")(replay, site)
    site.let_lead("c1", site.agents["c2"])
    site.until(lambda: healthy(site, "c1", 3), "good health")


def stale_read_is_new(name: str, algorithm: str) -> Callable[[Replay, Several], None]:
    def step(replay: Replay, site: Several) -> None:
        del replay
        path = "/v1/operator/scheduler/configuration?stale"
        agent = site.agents[name]
        site.until(lambda: algorithm in agent.get(path).text, "the write")

    return step


def c3_knows(replay: Replay, site: Several) -> None:
    del replay
    site.until(lambda: is_out(site, "c3"), "c3 knows that it is out")


def c2_leads(replay: Replay, site: Several) -> None:
    del replay
    site.let_lead("c2", site.agents["c2"])


def c3_has_failed(replay: Replay, site: Several) -> None:
    del replay
    c2 = site.agents["c2"]
    site.until(lambda: site.statuses(c2)["c3.global"] == "failed", "c3 failed")
    site.until(lambda: '"SerfStatus":"failed"' in c2.get(HEALTH).text, "health that knows")


def c3_is_out(replay: Replay, site: Several) -> None:
    del replay
    c2 = site.agents["c2"]
    site.until(lambda: "c3" not in site.servers(c2), "c3 is out")


def west2_joins_and_c1_dies(replay: Replay, site: Several) -> None:
    west = site.agents["west"]
    server = {
        "non_voting_server": True,
        "redundancy_zone": "zone-b",
        "upgrade_version": "2.1.0",
        "server_join": {"retry_join": [f"127.0.0.1:{west.serf_port}"], "retry_interval": "1s"},
    }
    site.add("west2", {"region": "west", "datacenter": "dc2"}, **server)
    replay.learn("west2")
    site.until(lambda: "west2" in site.servers(west), "west2 is in")
    site.until(lambda: healthy(site, "west", 2), "health of two")
    site.agents["c1"].kill()


def c1_is_missed(replay: Replay, site: Several) -> None:
    del replay
    for name in ("c2", "west"):
        agent = site.agents[name]
        site.until(lambda a=agent: site.statuses(a)["c1.global"] == "failed", "c1 failed")
    c2 = site.agents["c2"]
    site.until(lambda: c2.get("/v1/status/leader?stale").json() == "", "no leader")


def all_are_back(replay: Replay, site: Several) -> None:
    del replay
    for name in ("c1", "c3"):
        site.agents[name].start(wait=False)
    via = site.agents["c2"]
    site.until(lambda: len(site.servers(via)) == 3, "three servers")
    site.let_lead("c2", via)
    site.until(lambda: "c3" in site.voters(via), "c3 votes")
    site.until(lambda: health_of(site, "c2", voters=True) >= {"c3"}, "health of c3")
    site.until(lambda: healthy(site, "c2", 3), "good health")


def restored_everywhere(replay: Replay, site: Several) -> None:
    """The real followers were asked too early, and told the state before."""
    del replay
    hold_what_c2_holds(site, "c1", "c3")


def hold_what_c2_holds(site: Several, *names: str) -> None:
    """Wait until stale reads of these servers show the last write."""
    path = "/v1/operator/scheduler/configuration"
    index = site.agents["c2"].get(path).header("X-Nomad-Index")
    for name in names:
        agent = site.agents[name]
        site.until(
            lambda a=agent: a.get(f"{path}?stale").header("X-Nomad-Index") == index, "the write"
        )


def only_c3_is_left(replay: Replay, site: Several) -> None:
    del replay
    hold_what_c2_holds(site, "c3")
    for name in ("c1", "c2"):
        site.agents[name].kill()
    c3 = site.agents["c3"]
    site.until(lambda: c3.get("/v1/status/leader?stale").json() == "", "no leader")


STEPS: dict[int, Callable[[Replay, Several], None]] = {
    0: begin,
    50: stale_read_is_new("c3", "spread"),
    56: c1_is_back,
    91: c4_joins,
    93: c4_votes,
    97: regions_know_each_other,
    111: all_members_are_known,
    115: kill("c4"),
    118: unhealthy_at("c1"),
    145: c4_is_out,
    154: healthy_again("c1", 2),
    155: c3_knows,
    160: comes_back("c3", "c1"),
    162: votes_again("c3", "c1"),
    165: c2_leads,
    169: comes_back("c1", "c2"),
    174: votes_again("c1", "c2"),
    177: kill("c3"),
    178: unhealthy_at("c2"),
    183: c3_has_failed,
    190: c3_is_out,
    192: west2_joins_and_c1_dies,
    193: c1_is_missed,
    224: all_are_back,
    230: restored_everywhere,
    237: healthy_again("c2", 3),
    240: only_c3_is_left,
}
