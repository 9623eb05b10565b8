"""The recorded command lines against three servers, of which some die, replayed against ours.

What differs on purpose stands in `DIFFERENT`, with the reason and with what is printed in place of
what. Our version makes columns wider, so of columns only the order is compared; peers may come in
any order.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.contract.cli_replay import Case, Outcome, Stage, load
from tests.several import HEALTH, Several
from tests.support.etcd import needs_etcd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, needs_etcd]

MANAGEMENT = "331fd3e5-7ec5-c6b0-290c-2414c75b9878"
AUTOPILOT = "/v1/operator/autopilot/configuration"
WAIT_S = 15.0  # five of them for a leader, the rest for a busy machine
FILES = ("outage", "server", "autopilot-dead-server")
OF_SERVER = {"members", "join"}  # the others need one server: test_cli_recordings.py
ADDED = {"cluster", "  id"}  # by us, to agent-info
# Which server the recorded addresses belong to: names, and the first of the ports of each.
NAMES = {
    "outage": {"node-1": 22010, "node-2": 22020, "node-3": 22030},
    "server": {"node-1": 22010, "node-2": 22020, "node-3": 22030},
    "autopilot-dead-server": {"srv-1": 22410, "srv-2": 22420, "srv-3": 22430},
}


class Difference(NamedTuple):
    """Why a case differs, and what the recorded text is changed to: pattern and replacement."""

    reason: str
    status: int | None = None
    out: tuple[str, str] = ("", "")
    err: tuple[str, str] = ("", "")


EVERYTHING = r"(?s)\A.*\Z"
HINT = "the command for that case is named, and what the server knew last is shown"
SIZES = "size, index and term are printed"
NO_JOBS = "there are no jobs yet"
SAYS_SO = "what is done is said, and a short name is completed"
LEFT_AT_ONCE = "a failed server that is forced out has left at once, and is out of the peers"
NO_TAKING_OVER = "a server that comes back does not take the lead"
STAYS_OUT = "a removed server stays out, and the command says so"

PEERS = "Node  ID  Address  State  Voter  RaftProtocol\n" + "".join(
    f"node-{n}.global  <uuid>  <address>  follower  true  3\n" for n in (1, 2, 3)
)
NO_LEADER = """\
Failed to retrieve raft configuration: Unexpected response code: 500 (No cluster leader)
<why no server leads>
What http://<address> knew last:
"""
LEAVES = Difference(SAYS_SO, out=(EVERYTHING, 'Server "node-2.global" is now leaving\n'))
HAS_LEFT = Difference(LEFT_AT_ONCE, out=(r"(node-2.*)(alive|leaving)", r"\1left"))
WITHOUT_IT = (r"node-2.*\n", "")
FIRST_LEADS = (r"(node-1.* )false( .*\n.* )true", r"\1true\2false")
DIFFERENT: dict[tuple[str, str], Difference] = {
    ("outage", name): difference
    for name, difference in {
        "no leader: list-peers": Difference(
            HINT, out=(EVERYTHING, PEERS), err=(EVERYTHING, NO_LEADER)
        ),
        "no leader: snapshot save stale": Difference(SIZES, out=(r"\Z", "It holds <size>\n")),
        "no leader: job status": Difference(
            NO_JOBS, 127, out=(EVERYTHING, ""), err=(EVERYTHING, "There is no command 'job'")
        ),
        "force-leave by short name": LEAVES,
        "members after force-leave by short name": HAS_LEFT,
        "force-leave": LEAVES,
        "members after force-leave": HAS_LEFT,
        "list-peers after force-leave": Difference(LEFT_AT_ONCE, out=WITHOUT_IT),
        "members after restart of the forced-out server": Difference(
            NO_TAKING_OVER, out=FIRST_LEADS
        ),
        "list-peers after restart of the forced-out server": Difference(
            NO_TAKING_OVER, out=(r"(?s)follower(.*)leader", r"leader\1follower")
        ),
        "remove-peer alive": Difference(
            STAYS_OUT,
            out=(
                r"\Z",
                "It is still running, and stays out until it joins again or is restarted.\n",
            ),
        ),
        "list-peers after remove-peer": Difference(STAYS_OUT, out=WITHOUT_IT),
    }.items()
}


class Scene:
    """Three servers, and a working directory for the commands."""

    def __init__(self, file: str, site: Several, folder: Path) -> None:
        self.file, self.site = file, site
        self.first, self.second, self.third = NAMES[file]
        self.stage = Stage(site.agents[self.first], folder)
        self.token = ""
        ports = {
            f"127.0.0.1:{first + n}": f"127.0.0.1:{port}"
            for name, first in NAMES[file].items()
            for n, port in enumerate(ports_of(site, name))
        }
        self.stage.names |= ports

    def leads(self, name: str) -> bool:
        return self.site.leader(self.site.agents[self.first], self.token) == name

    def statuses(self) -> dict[str, str]:
        members = self.site.agents[self.first].get("/v1/agent/members", self.token).json()
        return {each["Name"].partition(".")[0]: each["Status"] for each in members["Members"]}

    def voters(self) -> set[str]:
        return self.site.voters(self.site.agents[self.first], self.token)

    def start(self, *names: str) -> None:
        for name in names:
            self.site.agents[name].start(wait=False)


def ports_of(site: Several, name: str) -> tuple[int, int, int]:
    agent = site.agents[name]
    return agent.http_port, agent.rpc_port, agent.serf_port


# What had been done to the servers before a case was recorded


def second_dies(scene: Scene) -> None:
    scene.site.agents[scene.second].kill()


def third_dies(scene: Scene) -> None:
    scene.site.agents[scene.third].kill()
    first = scene.site.agents[scene.first]
    scene.site.until(lambda: first.get("/v1/status/leader?stale").json() == "", "no leader")


def both_come_back(scene: Scene) -> None:
    scene.start(scene.second, scene.third)
    scene.site.until(lambda: len(scene.voters()) == 3, "a leader")
    scene.site.let_lead(scene.first, scene.site.agents[scene.first], scene.token)
    scene.site.until(lambda: set(scene.statuses().values()) == {"alive"}, "all alive")


def second_fails(scene: Scene) -> None:
    """Ours notices a death in seconds, and only a failed server is put out."""
    second_dies(scene)
    scene.site.until(lambda: scene.statuses()[scene.second] == "failed", "it has failed")


def second_comes_back(scene: Scene) -> None:
    scene.start(scene.second)
    scene.site.until(lambda: scene.second in scene.voters(), "it votes")
    scene.site.until(lambda: scene.statuses()[scene.second] == "alive", "it is alive")


def it_has_failed(scene: Scene) -> None:
    scene.site.until(lambda: scene.statuses()[scene.second] == "failed", "it has failed")


def clean_up(scene: Scene) -> None:
    scene.site.agents[scene.first].put(AUTOPILOT, {})
    scene.site.until(lambda: scene.second not in scene.voters(), "it is out")
    scene.site.until(lambda: scene.statuses()[scene.second] == "left", "it counts as left")


def second_joins(scene: Scene) -> None:
    scene.start(scene.second)
    first = scene.site.agents[scene.first]
    scene.site.until(lambda: scene.second in scene.site.servers(first), "it is in")


def second_votes(scene: Scene) -> None:
    scene.site.until(lambda: scene.second in scene.voters(), "it votes")


BEFORE: dict[tuple[str, str], Callable[[Scene], None]] = {
    ("outage", "one follower dead: members"): second_dies,
    ("outage", "no leader: members"): third_dies,
    ("outage", "recovered: members"): both_come_back,
    ("outage", "force-leave by short name"): second_fails,
    ("outage", "members after restart of the forced-out server"): second_comes_back,
    ("autopilot-dead-server", "t+0s after kill: members"): second_dies,
    ("autopilot-dead-server", "t+41s after kill: members"): it_has_failed,
    ("autopilot-dead-server", "t+48s after kill: members"): clean_up,
    ("autopilot-dead-server", "restarted: list-peers at once"): second_joins,
    ("autopilot-dead-server", "restarted: list-peers later"): second_votes,
}


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    file: str = request.param
    folder = tmp_path / "work"
    folder.mkdir()
    acl = file != "autopilot-dead-server"
    settings: dict[str, Any] = {
        "acl": {"enabled": acl},
        "autopilot": {"cleanup_dead_servers": False, "server_stabilization_time": "2s"},
    }
    with Several(*NAMES[file], settings=settings) as site:
        made = Scene(file, site, folder)
        if acl:
            made.token = made.stage.names[MANAGEMENT] = site.one().bootstrap()
        site.let_lead(made.first, token=made.token)
        site.until(lambda: site.one().get(HEALTH, made.token).status == 200, "good health")
        yield made


# Comparing


def comparable(case: Case, outcome: Outcome) -> Outcome:
    """What can be compared. Nomad: with raft protocol 2 the ID of a peer is its address."""
    plain = outcome.comparable()
    out = re.sub(r"\+bellcow\.[0-9.]+", "", plain.out)
    out = re.sub(r"It holds index .*", "It holds <size>", out)
    out = re.sub(r"(?m)  <address>( +)<address>( .*)  2$", r"  <uuid>\1<address>\2  3", out)
    lines = [re.sub(r" {2,}", "  ", line) for line in out.split("\n")]
    if "agent-info" in case.argv:
        lines = sorted({line.partition(" = ")[0] for line in lines} - ADDED)
    elif lines[0].startswith("Node"):
        lines = [lines[0], *sorted(lines[1:], key=lambda line: (not line, line))]
    if "job" in case.argv and outcome.status == 127:
        return Outcome(127, "", plain.err.partition(" in ")[0])
    # Which servers are silent, and in which order they stopped.
    err = re.sub(r"(?m)^no server leads: .* voters answer; .*$", "<why no server leads>", plain.err)
    return Outcome(plain.status, "\n".join(lines), err)


def wanted(case: Case) -> Outcome:
    """What ours must print: as recorded, but for what differs on purpose."""
    was, known = comparable(case, case.outcome), DIFFERENT.get((case.file, case.name))
    if known is None:
        return was
    status = was.status if known.status is None else known.status
    out, err = (
        re.sub(*change, text, count=1) if change[0] else text
        for change, text in ((known.out, was.out), (known.err, was.err))
    )
    return Outcome(status, out, err)


def played(scene: Scene) -> Iterator[tuple[Case, Outcome]]:
    """Each case and its outcome. Those without a leader wait five seconds each: all at once."""
    cases = [each for each in load(scene.file) if scene.file != "server" or each.name in OF_SERVER]
    waiting = [case for case in cases if case.name.startswith("no leader: ")]
    apart: dict[str, Outcome] = {}
    for case in cases:
        before = BEFORE.get((case.file, case.name))
        if before is not None:
            before(scene)
        if case in waiting and not apart:
            began = time.monotonic()
            with ThreadPoolExecutor(len(waiting)) as pool:
                outcomes = pool.map(scene.stage.play_apart, waiting)
                apart = {each.name: o for each, o in zip(waiting, outcomes, strict=True)}
            assert time.monotonic() - began < WAIT_S
        yield case, apart.get(case.name) or scene.stage.play(case)


@pytest.mark.parametrize("scene", FILES, indirect=True, ids=FILES)
def test_each_recorded_command_line(scene: Scene) -> None:
    wrong = []
    for case, outcome in played(scene):
        actual, was = comparable(case, outcome), comparable(case, case.outcome)
        if actual != wanted(case):
            wrong.append(f"{case.name}:\nrecorded {was}\nis       {actual}")
        elif actual == was and (case.file, case.name) in DIFFERENT:
            wrong.append(f"{case.name}: listed to differ, and does not")
    assert not wrong, "\n\n".join(wrong)


def test_the_differences_are_counted() -> None:
    assert len(DIFFERENT) == 12
    assert {case.name for case in load("server")} >= OF_SERVER
    known = {(case.file, case.name) for file in FILES for case in load(file)}
    assert set(DIFFERENT) | set(BEFORE) <= known
