"""What commands say without a leader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.server_answers import CONFIGURATION, HEALTH, server_health

from bellcow.cli.shell.no_leader import awaited

if TYPE_CHECKING:
    from collections.abc import Callable


def first(name: str, status: str = "alive", **tags: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Status": status,
        "Tags": {"region": name.partition(".")[2], "expect": "3", **tags},
    }


@pytest.mark.parametrize(
    ("others", "numbers"),
    [
        ([], (3, 1)),
        ([first("s2.global"), first("s3.global")], (3, 3)),
        ([first("s2.global", "failed")], (3, 1)),
        ([first("s2.glbal")], (3, 1)),
        ([first("s2.global", expect="5"), first("s3.global", nonvoter="1")], (3, 1)),
    ],
)
def test_first_servers_are_those_that_expect_as_many(
    others: list[dict[str, Any]], numbers: tuple[int, int]
) -> None:
    answer = {"ServerName": "s1", "ServerRegion": "global", "Members": [first("s1.global")]}
    assert awaited({**answer, "Members": [*answer["Members"], *others]}) == numbers


def test_server_in_no_cluster_is_said_to_wait_and_for_how_many(
    cli: Callable[..., Any], server: Any
) -> None:
    members = [first("s1.global"), first("s2.global")]
    server.on(f"GET {CONFIGURATION}?stale=", {"Index": 0, "Servers": []})
    server.on(f"GET {CONFIGURATION}", b"No cluster leader", 500)
    server.on(
        "GET /v1/agent/members",
        {"ServerName": "s1", "ServerRegion": "global", "Members": members},
    )
    result = cli("operator", "raft", "list-peers")
    assert (result.status, result.out) == (1, "")
    new = "it waits for 3 servers with this bootstrap_expect and sees 2, itself included"
    assert result.err.splitlines()[1:] == [
        f"No server leads, and {server.address} has no list of servers",
        f"If it is in no cluster yet: {new}. Its log names the servers that it cannot reach",
        "If it was in one: it has started again, and more than half of the voters must answer",
    ]


def test_server_in_no_cluster_that_founds_none_waits_to_be_admitted(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"GET {CONFIGURATION}?stale=", {"Index": 0, "Servers": None})
    server.on(f"GET {CONFIGURATION}", b"No cluster leader", 500)
    own = {"Name": "s4.global", "Status": "alive", "Tags": {"region": "global"}}
    server.on(
        "GET /v1/agent/members",
        {"ServerName": "s4", "ServerRegion": "global", "Members": [own]},
    )
    assert "it waits to be admitted" in cli("operator", "raft", "list-peers").err


def test_reasons_of_the_server_itself_are_said_once(cli: Callable[..., Any], server: Any) -> None:
    known = {"Healthy": False, "FailureTolerance": 0, "Servers": [server_health("c1")]}
    server.on(f"GET {HEALTH}?stale=", known, 429)
    reason = {"X-Bellcow-Reason": "a server was refused: its key differs"}
    server.on(f"GET {HEALTH}", b"No cluster leader", 500, reason)
    shown = cli("operator", "autopilot", "health", program="bellcow").err
    assert shown.count(reason["X-Bellcow-Reason"]) == 1
    assert "No server leads" not in shown
