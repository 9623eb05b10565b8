"""Every recorded exchange, replayed in order against an agent started as the recorded one was.

What differs on purpose stands in `DIFFERENT`, with the documented row that says so and with what
ours answers instead. Everything else must be as recorded.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.contract.http_differences import JSON, TEXT, Instead, changed, refused
from tests.contract.http_replay import (
    Exchange,
    Expected,
    World,
    body_of,
    expected_of,
    members,
    problems,
    recorded,
)
from tests.contract.http_shapes import SHAPES
from tests.harness import Agent, Answer, exchange, free_ports, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
HEALTH = "/v1/operator/autopilot/health"
CLOSED_PORT = "21999"  # nobody listens there

# How each recorded server was started: name, first of its three ports, settings.
SERVERS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "single-v3": ("single", 21000, {"server": {"raft_protocol": 3}}),
    "single-v2": ("v2", 21050, {"server": {"raft_protocol": 2}}),
    "dev-client-server": (
        "dev",
        21090,
        {
            "enable_debug": True,
            "telemetry": {"prometheus_metrics": True, "disable_hostname": True},
        },
    ),
    "acl": (
        "acl",
        21040,
        {
            "server": {
                "raft_protocol": 3,
                "default_scheduler_config": {
                    "scheduler_algorithm": "spread",
                    "preemption_config": {
                        "batch_scheduler_enabled": True,
                        "service_scheduler_enabled": True,
                        "system_scheduler_enabled": False,
                    },
                },
            },
            "acl": {"enabled": True},
            "autopilot": {
                "cleanup_dead_servers": False,
                "last_contact_threshold": "500ms",
                "max_trailing_logs": 100,
                "server_stabilization_time": "15s",
                "enable_redundancy_zones": True,
                "min_quorum": 3,
            },
            "http_api_response_headers": {"Access-Control-Allow-Origin": "*"},
        },
    ),
    "no-jobs": ("jobs", 31400, {}),
}
RECORDED = {name: recorded(name) for name in SERVERS}


# What differs on purpose


# The rows of docs/compatibility.md that say so, by what stands in their first column.
LEFT_OUT = "PUT of an autopilot or scheduler configuration with keys left out"
UNKNOWN = "unknown keys beside known ones"
NULL = "the body `null`"
NOT_POSITIVE = "`LastContactThreshold` zero or negative, `ServerStabilizationTime` negative"
WRAPPED = "PUT of the scheduler's settings wrapped in `SchedulerConfig`, as GET shows them"
TOO_LARGE = "a JSON body over 1 MiB"
TRUE_INDEX = "`Index` of the raft configuration"
BY_ADDRESS = "DELETE of a peer by `address`"
LICENSE = "GET and PUT of the license"
ONCE = "a save with `Accept-Encoding: gzip`"
NOT_LOST = "what an archive holds"
FLOOR = "`X-Nomad-Index`, and `Index` in a body, after a restore"
SURVIVES = "restore of right checksums over broken state"
AT_ONCE = "health right after a server begins to lead, or restores"
PADDING = "an archive padded with zeros, as other tar writers make them"
NO_JOBS = "jobs, nodes, allocations, evaluations, deployments"
TOKEN = "a token that is not a UUID"
BEARER = "`Authorization: Bearer`"
JOIN = "`agent/join` without a token"
RESET_ONCE = "the reset file of the bootstrap"
PROTOCOL_3 = "raft protocol 1 and 2"
NO_CLIENT = "the client agent"
VOLUMES = "`/v1/volumes` and `/v1/plugins` without `type`"
# No client could tell these: the end of a text that quotes a JSON reader, and an accident (a race
# of the real server) that was recorded once.
OWN_WORDS = "the words of a JSON reader about a broken meta.json"
ACCIDENT = "a refused restore whose answer came out broken"

DEFAULTS = {
    "LastContactThreshold": "200ms",
    "ServerStabilizationTime": "10s",
    "CleanupDeadServers": True,
    "MaxTrailingLogs": 250,
}
SYSTEM_ON = {"SchedulerConfig": {"PreemptionConfig": {"SystemSchedulerEnabled": True}}}
COMMUNITY = {
    "KnownLeader": False,
    "LastContact": 0,
    "LastIndex": 0,
    "License": {
        "CustomerID": "community",
        "ExpirationTime": "",
        "Features": [
            "Automated Upgrades",
            "Enhanced Read Scalability",
            "Redundancy Zones",
            "Namespaces",
            "Resource Quotas",
            "Preemption",
            "Audit Logging",
            "Setinel Policies",
        ],
        "Flags": {"modules": ["governance-policy"]},
        "InstallationID": "*",
        "IssueTime": "",
        "LicenseID": "community",
        "Modules": ["governance-policy"],
        "Product": "nomad",
        "StartTime": "",
        "TerminationTime": "",
    },
    "RequestTime": 0,
}
A_LICENSE = Instead(why=LICENSE, status=200, value=COMMUNITY, headers={"Content-Type": JSON})
NO_ISSUER = Instead(why=LICENSE, status=400, text="no license issuer is configured on this cluster")
NOT_YET = refused(
    NO_JOBS, "jobs are not supported yet: this cluster has no scheduler and no client nodes", 501
)
WARNED = {"Warning": "unknown keys ignored: Bogus"}
TOO_SHORT = Instead(
    why=NOT_POSITIVE,
    status=400,
    begins="LastContactThreshold must be longer than zero",
    headers={"Content-Type": TEXT},
)


def at(numbers: Iterable[int], instead: Instead) -> dict[int, Instead]:
    return dict.fromkeys(numbers, instead)


def where(name: str, test: Callable[[Exchange], bool]) -> list[int]:
    return [number for number, each in enumerate(RECORDED[name]) if test(each)]


def shows_raft(each: Exchange) -> bool:
    return each.path.startswith("/v1/operator/raft/configuration") and each.status == 200


def of_single_v3() -> dict[int, Instead]:
    null = refused(NULL, "Error parsing autopilot config: the body is null; send an object", 400)
    return {
        **at(where("single-v3", shows_raft), Instead(why=TRUE_INDEX, patch={"Index": 2})),
        49: Instead(why=BY_ADDRESS, text="Need at least one voter in configuration: {[]}"),
        72: Instead(why=LEFT_OUT, patch=DEFAULTS),
        77: Instead(why=UNKNOWN, headers=WARNED),
        **at((78, 80, 82, 84), Instead(why=LEFT_OUT, patch={"CleanupDeadServers": True})),
        **at((85, 87, 91), TOO_SHORT),
        **at((86, 88), Instead(why=NOT_POSITIVE, like=84)),
        90: Instead(why=LEFT_OUT, patch=DEFAULTS),
        92: Instead(why=NOT_POSITIVE, like=90),
        **at(
            range(94, 106, 2),
            Instead(why=LEFT_OUT, patch={"CleanupDeadServers": True, "MaxTrailingLogs": 250}),
        ),
        **at(
            range(106, 114, 2),
            Instead(
                why=LEFT_OUT, patch={k: v for k, v in DEFAULTS.items() if k != "MaxTrailingLogs"}
            ),
        ),
        117: null,
        **at(range(118, 132, 2), Instead(why=NULL, like=114)),
        **at((*range(132, 144, 2), 153), Instead(why=LEFT_OUT, patch=DEFAULTS)),
        162: refused(TOO_LARGE, "request body is larger than 1048576 bytes", 413),
        **at(
            (203, 209, 213, 215, 217, 236, 240, 242, 248, 258, 261, 318),
            Instead(why=LEFT_OUT, patch=SYSTEM_ON),
        ),
        210: Instead(why=UNKNOWN, headers=WARNED),
        228: refused(NULL, "Error parsing scheduler config: the body is null; send an object", 400),
        229: Instead(why=NULL, like=217),
        245: Instead(
            why=WRAPPED,
            patch={
                "SchedulerConfig": {**SYSTEM_ON["SchedulerConfig"], "SchedulerAlgorithm": "spread"}
            },
        ),
        **at((267, 272), A_LICENSE),
        276: msgspec.structs.replace(
            A_LICENSE, headers={"Content-Type": JSON, "Content-Encoding": "gzip"}
        ),
        **at((269, 275), NO_ISSUER),
        273: refused(LICENSE, "No path to region", 500),
        282: Instead(why=ONCE, headers={"Content-Encoding": None}),
        303: Instead(
            why=OWN_WORDS,
            begins="failed to restore from snapshot: failed to read snapshot file: "
            "failed to decode snapshot metadata: ",
        ),
        **at((316, 321, 354), Instead(why=NOT_LOST, like=164)),
        320: Instead(why=FLOOR, patch={"Index": 65}, index=65),
        330: Instead(why=PADDING, status=200, text="", headers={"Content-Type": None}),
        336: Instead(why=FLOOR, patch={"Index": 89}, index=89),
        337: Instead(why=AT_ONCE, like=353),
        343: NOT_YET,
        344: Instead(
            why=SURVIVES,
            status=400,
            begins="failed to restore from snapshot: Raft error when restoring snapshot: ",
            headers={"Content-Type": TEXT, "Vary": "Accept-Encoding"},
        ),
        345: Instead(why=AT_ONCE, like=353, headers={"Content-Encoding": "gzip"}),
        346: Instead(why=AT_ONCE, like=353),
    }


def of_acl() -> dict[int, Instead]:
    """Who may what: rights that Nomad checks nowhere, and the few oddities of its tokens."""
    license_read = ("management", "opread", "opwrite")
    license_put = ("management", "opwrite")
    join = ("management", "agentwrite")
    out = at(where("acl", shows_raft), Instead(why=TRUE_INDEX, patch={"Index": 2}))
    for number, each in enumerate(RECORDED["acl"]):
        who = each.note.removeprefix("client token with policy: ").removesuffix(" token")
        said = "ACL token not found" if who == "unknown" else "Permission denied"
        if (each.method, each.path) == ("GET", "/v1/operator/license"):
            out[number] = A_LICENSE if who in license_read else refused(LICENSE, said)
        elif each.path == "/v1/operator/license":
            out[number] = NO_ISSUER if who in license_put else refused(LICENSE, said)
        elif each.path.startswith("/v1/agent/join") and who not in join:
            out[number] = refused(JOIN, said)
    return {
        **out,
        95: refused(TOKEN, "ACL token not found"),
        126: Instead(why=BEARER, like=128),
        **at((128, 129, 178, 208, 479), Instead(why=LEFT_OUT, patch=SYSTEM_ON)),
        301: refused(ACCIDENT, "Permission denied"),
        **at((502, 508), Instead(why=FLOOR, index=52)),
        507: Instead(why=RESET_ONCE, text="ACL bootstrap already done (reset index: 55)"),
    }


V2_ID = "a29075ed-4b8c-3aeb-19d0-1736ff59dfae"


def healthy(name: str, port: int) -> Instead:
    """The health of a server that the real one refuses to tell with protocol 2."""
    server = {
        "LastContact": "0s",
        "ID": V2_ID,
        "Name": f"{name}.global",
        "Address": f"127.0.0.1:{port}",
        "SerfStatus": "alive",
        "Version": "1.0.18",
        "Leader": True,
        "LastTerm": 2,
        "LastIndex": 9,
        "Healthy": True,
        "Voter": True,
        "StableSince": "",
    }
    value = {"FailureTolerance": 0, "Healthy": True, "Servers": [server]}
    return Instead(why=PROTOCOL_3, status=200, value=value, headers={"Content-Type": JSON})


def of_single_v2() -> dict[int, Instead]:
    uuid = {"Index": 2, "Servers": [{"ID": V2_ID, "RaftProtocol": "3"}]}
    return {
        **at((0, 17), Instead(why=PROTOCOL_3, patch=uuid)),
        **at((1, 2), healthy("v2", 21051)),
        8: Instead(why=PROTOCOL_3, patch={"Members": [{"Tags": {"raft_vsn": "3"}}]}),
        15: Instead(
            why=PROTOCOL_3, text='id "127.0.0.1:21051" was not found in the Raft configuration'
        ),
    }


def of_dev() -> dict[int, Instead]:
    one = {"message": "ok", "ok": True}
    client = '"client":{"ok":false,"message":"client not enabled"}'
    raft = {"Index": 2, "Servers": [{"ID": V2_ID, "RaftProtocol": "3"}]}
    return {
        **at(range(8), refused(NO_CLIENT, "Invalid method", 501)),
        9: Instead(why=NO_CLIENT, value={"server": one}),
        10: refused(NO_CLIENT, f"{{{client}}}", 500),
        12: refused(NO_CLIENT, f'{{{client},"server":{{"ok":true,"message":"ok"}}}}', 500),
        13: Instead(why=PROTOCOL_3, patch=raft),
        14: healthy("dev", 21091),
        19: Instead(why=NO_CLIENT, value=[], index=0),
    }


def of_no_jobs() -> dict[int, Instead]:
    """A cluster without jobs: reads are as recorded, every write is refused."""
    unread = {"Content-Type": None, "Vary": "Accept-Encoding"}
    return {
        **at((6, 7), Instead(why=VOLUMES, like=0)),
        **at(range(28, 33), Instead(why=NO_CLIENT, status=404, text="", headers=unread)),
        **at((*range(38, 50), 53, *range(56, 61)), NOT_YET),
        51: Instead(why=NO_JOBS, patch={"Matches": {"evals": None}, "Index": 1}, index=1),
    }


DIFFERENT: dict[tuple[str, int], Instead] = {
    (name, number): instead
    for name, table in {
        "single-v3": of_single_v3(),
        "acl": of_acl(),
        "single-v2": of_single_v2(),
        "dev-client-server": of_dev(),
        "no-jobs": of_no_jobs(),
    }.items()
    for number, instead in table.items()
}


def expected(name: str, number: int) -> Expected:
    """What ours must answer to an exchange."""
    was = expected_of(RECORDED[name][number])
    instead = DIFFERENT.get((name, number))
    if instead is None:
        return was
    return changed(was if instead.like is None else expected(name, instead.like), instead)


# Replaying


class Replay:
    """One recording against one agent: what was wrong with each answer."""

    def __init__(self, name: str, agent: Agent) -> None:
        self.name, self.agent = name, agent
        first = SERVERS[name][1]
        self.world = World(
            {
                str(first): str(agent.http_port),
                str(first + 1): str(agent.rpc_port),
                str(first + 2): str(agent.serf_port),
                CLOSED_PORT: str(free_ports(1)[0]),
            }
        )
        self.wrong: list[list[str]] = []
        self.as_recorded: list[bool] = []

    def run(self) -> None:
        self.until_healthy()
        for number, each in enumerate(RECORDED[self.name]):
            self.prepare(number)
            answer = self.send(each)
            before = copy.deepcopy(self.world)
            self.wrong.append(self.problems(number, each, answer))
            self.as_recorded.append(not problems(before, expected_of(each), answer))

    def send(self, each: Exchange) -> Answer:
        answer = exchange(
            self.agent.http_port,
            each.method,
            self.world.our_path(each.path),
            {name: self.world.ours(value) for name, value in each.request_headers.items()},
            body_of(self.world, each),
            chunked=each.request_transfer == "chunked",
        )
        if answer.header("Digest"):
            self.world.archives.append(answer.body)
            size = len(members(answer.body)["state.bin"])
            self.world.names |= {"426": str(size), "431": str(size + 5)}
        return answer

    def problems(self, number: int, each: Exchange, answer: Answer) -> list[str]:
        shape = SHAPES.get(each.path.partition("?")[0])
        if shape is not None and each.status == answer.status == 200:
            return shape(each, answer)
        return problems(self.world, expected(self.name, number), answer)

    def prepare(self, number: int) -> None:
        """What had been done to the real server just before an exchange."""
        match self.name, number:
            case ("single-v3", 337 | 339 | 353):
                self.until_healthy()
            case ("single-v3", 345):  # the real one had died
                self.agent.restart()
            case ("acl", 504):
                self.reset_file.write_text("5")
            case ("acl", 506):
                self.reset_file.write_text(f"{self.world.indexes[10]}\n")

    @property
    def reset_file(self) -> Any:
        return self.agent.data_dir / "server" / "acl-bootstrap-reset"

    def until_healthy(self) -> None:
        """Health is looked at every two seconds; with ACLs on nobody may ask yet."""
        until(lambda: self.agent.get(HEALTH).status != 429, "good health")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Replay]]:
    """Replays a recording when first asked for it."""
    done: dict[str, Replay] = {}

    def replay(name: str) -> Replay:
        if name not in done:
            server_name, _, settings = SERVERS[name]
            folder = tmp_path_factory.mktemp(name)
            with Agent(folder, settings, name=server_name) as agent:
                done[name] = Replay(name, agent)
                done[name].run()
        return done[name]

    return replay


CASES = [
    pytest.param(name, number, id=f"{name}-{number:03}-{each.method}-{each.path[:60]}")
    for name, exchanges in RECORDED.items()
    for number, each in enumerate(exchanges)
]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_answer_is_as_recorded_or_differs_as_decided(replayed, name, number):
    replay = replayed(name)
    assert number < len(replay.wrong), "the replay ended early"
    assert not replay.wrong[number], json.dumps(replay.wrong[number], indent=1)


def test_every_recorded_exchange_is_a_case():
    counts = {name: len(exchanges) for name, exchanges in RECORDED.items()}
    assert counts == {
        "single-v3": 355,
        "single-v2": 29,
        "dev-client-server": 22,
        "acl": 510,
        "no-jobs": 66,
    }
    assert len(CASES) == 982


def test_no_difference_is_listed_that_is_none(replayed):
    idle = [key for key in DIFFERENT if replayed(key[0]).as_recorded[key[1]]]
    assert not idle


def test_every_difference_is_documented():
    page = PAGE.read_text("utf-8")
    reasons = {instead.why for instead in DIFFERENT.values()} - {OWN_WORDS, ACCIDENT}
    assert [why for why in sorted(reasons) if f"\n| {why} | " not in page] == []


def test_the_differences_are_counted():
    counts = Counter(instead.why for instead in DIFFERENT.values())
    assert dict(counts) == {
        ACCIDENT: 1,
        AT_ONCE: 3,
        BEARER: 1,
        BY_ADDRESS: 1,
        FLOOR: 4,
        JOIN: 11,
        LEFT_OUT: 40,
        LICENSE: 32,
        NOT_LOST: 3,
        NOT_POSITIVE: 6,
        NO_CLIENT: 17,
        NO_JOBS: 20,
        NULL: 10,
        ONCE: 1,
        OWN_WORDS: 1,
        PADDING: 1,
        PROTOCOL_3: 8,
        RESET_ONCE: 1,
        SURVIVES: 1,
        TOKEN: 1,
        TOO_LARGE: 1,
        TRUE_INDEX: 25,
        UNKNOWN: 2,
        VOLUMES: 2,
        WRAPPED: 1,
    }
    assert len(DIFFERENT) == 194
