from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.server_answers import CONFIG, HEALTH, LEADER, OTHERS, server_health

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/v1/operator/autopilot/configuration"
SHOWN = """CleanupDeadServers = true
LastContactThreshold = 200ms
MaxTrailingLogs = 250
MinQuorum = 0
ServerStabilizationTime = 10s
EnableRedundancyZones = false
DisableUpgradeMigration = false
EnableCustomUpgrades = false
"""


def test_the_settings_are_shown_in_their_order(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", CONFIG)
    result = cli("operator", "autopilot", "get-config")
    assert (result.status, result.out, result.err) == (0, SHOWN, "")
    assert cli("operator", "autopilot", "get-config", "-t", "{{.MinQuorum}}").out == "0\n"


def test_only_given_settings_change(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", CONFIG)
    server.on(f"PUT {PATH}", b"true")
    result = cli(
        "operator",
        "autopilot",
        "set-config",
        "-cleanup-dead-servers=false",
        "-max-trailing-logs=0x64",
        "-last-contact-threshold=1500ms",
        "-enable-custom-upgrades",
        "T",
        "-verbose",
    )
    assert result.status == 0
    assert result.out == (
        "Configuration updated!\n"
        "LastContactThreshold: 200ms -> 1.5s\n"
        "CleanupDeadServers: true -> false\n"
        "MaxTrailingLogs: 250 -> 100\n"
        "EnableCustomUpgrades: false -> true\n"
    )
    put = server.requests[1]
    assert put.target == f"{PATH}?cas=9"
    assert put.json == {
        **CONFIG,
        "CleanupDeadServers": False,
        "MaxTrailingLogs": 100,
        "LastContactThreshold": "1.5s",
        "EnableCustomUpgrades": True,
    }


def test_nothing_to_change_is_an_error(cli: Callable[..., Any], server: Any) -> None:
    result = cli("operator", "autopilot", "set-config")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "Give at least one setting to change\n"
        "For additional help try 'nomad operator autopilot set-config -help'\n"
    )
    assert server.requests == []


def test_two_concurrent_writes_are_an_error(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", CONFIG)
    server.on(f"PUT {PATH}", b"false")
    result = cli("operator", "autopilot", "set-config", "-min-quorum=3")
    assert (result.status, result.err) == (1, "")
    assert result.out == "Configuration could not be atomically updated, please try again\n"
    assert [request.method for request in server.requests] == ["GET", "PUT", "GET", "PUT"]


def test_each_step_has_its_error(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", b"No cluster leader", 500)
    assert cli("operator", "autopilot", "set-config", "-min-quorum=3").err == (
        "Error querying for Autopilot configuration: "
        "Unexpected response code: 500 (No cluster leader)\n"
    )
    server.answers.clear()
    server.on(f"GET {PATH}", CONFIG)
    server.on(f"PUT {PATH}", b"Permission denied", 403)
    assert cli("operator", "autopilot", "set-config", "-min-quorum=3").err == (
        "Error setting Autopilot configuration: Unexpected response code: 403 (Permission denied)\n"
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("-cleanup-dead-servers", "flag needs an argument: -cleanup-dead-servers"),
        (
            "-cleanup-dead-servers=maybe",
            (
                'invalid value "maybe" for flag -cleanup-dead-servers: '
                'strconv.ParseBool: parsing "maybe": invalid syntax'
            ),
        ),
        (
            "-last-contact-threshold=soon",
            'invalid value "soon" for flag -last-contact-threshold: time: invalid duration "soon"',
        ),
        (
            "-max-trailing-logs=-1",
            (
                'invalid value "-1" for flag -max-trailing-logs: '
                'strconv.ParseUint: parsing "-1": invalid syntax'
            ),
        ),
    ],
)
def test_a_bad_value_is_refused_in_go_words(cli: Callable[..., Any], word: str, text: str) -> None:
    result = cli("operator", "autopilot", "set-config", word)
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[0] == text


def test_a_healthy_cluster_ends_with_zero(cli: Callable[..., Any], server: Any) -> None:
    answer = {"Healthy": True, "FailureTolerance": 0, "Servers": [LEADER]}
    server.on(f"GET {HEALTH}", answer)
    result = cli("operator", "autopilot", "health")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(
        "Healthy: true\nFailureTolerance: 0\nLeader: id-c1\nVoters:  \n\tid-c1\nServers: \n"
        "ID     Name  Address      SerfStatus  Version  Leader  Voter  Healthy  LastContact"
    )
    assert result.out.endswith("2026-11-23T14:00:19Z\n\n")


def test_an_unhealthy_cluster_is_shown_with_its_reasons(
    cli: Callable[..., Any], server: Any
) -> None:
    sick = server_health("c2", Healthy=False, LastContact="5s")
    answer = {"Healthy": False, "FailureTolerance": 0, "Servers": [LEADER, sick]}
    server.on(f"GET {HEALTH}", answer, 429)
    server.on(f"GET {PATH}", CONFIG)
    result = cli("operator", "autopilot", "health")
    assert (result.status, result.err) == (1, "")
    assert result.out.endswith(
        "\nUnhealthy: c2: no contact with the leader for 5s, allowed are 200ms\n"
    )
    shown = cli("operator", "autopilot", "health", "-json")
    assert (shown.status, shown.out[:27]) == (1, '{\n    "FailureTolerance": 0')


def test_without_a_leader_the_last_known_servers_follow_the_error(
    cli: Callable[..., Any], server: Any
) -> None:
    silent = [{**one, "SerfStatus": "failed", "LastContact": "-1ns"} for one in OTHERS]
    known = {"Healthy": False, "FailureTolerance": 0, "Servers": [*silent, server_health("c1")]}
    server.on(f"GET {HEALTH}?stale=", known, 429)
    server.on(f"GET {HEALTH}", b"No cluster leader", 500)
    refused = "Error querying Autopilot configuration: Unexpected response code: 500 (No cluster"
    result = cli("operator", "autopilot", "health", program="bellcow")
    error, why, _ = result.err.splitlines()
    assert (result.status, error) == (1, f"{refused} leader)")
    assert why.startswith("No server leads. 1 of 3 voters answers, 2 are needed: start c2 ")
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [
        ["c2", "failed"],
        ["c3", "failed"],
        ["c1", "alive"],
    ]
    as_nomad = cli("operator", "autopilot", "health")
    assert (as_nomad.out, as_nomad.err) == ("", f"{refused} leader)\n")


def test_stale_asks_this_server(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {HEALTH}?stale=", {"Healthy": True, "FailureTolerance": 0, "Servers": [LEADER]})
    server.on(f"GET {PATH}?stale=", CONFIG)
    assert cli("operator", "autopilot", "health", "-stale").status == 0
    assert cli("operator", "autopilot", "get-config", "-stale").status == 0


def test_a_cluster_that_may_lose_as_many_as_asked_for_ends_with_zero(
    cli: Callable[..., Any], server: Any
) -> None:
    answer = {"Healthy": True, "FailureTolerance": 1, "Servers": [LEADER, *OTHERS]}
    server.on(f"GET {HEALTH}", answer)
    result = cli("operator", "autopilot", "health", "-tolerates=1")
    assert (result.status, result.err) == (0, "")
    assert cli("operator", "autopilot", "health", "-tolerates=2").status == 1


@pytest.mark.parametrize(
    ("servers", "healthy", "why"),
    [
        (
            [LEADER, server_health("c3"), server_health("c2", Voter=False)],
            True,
            "2 voters; c2 has no vote yet",
        ),
        (
            [LEADER, server_health("c2", Voter=False, NoVote="c1 has the embedded store")],
            True,
            "1 voter; c2 will get no vote: c1 has the embedded store",
        ),
        ([LEADER], True, "1 voter"),
        ([], False, "the leader is new and has not looked at the servers yet"),
        ([LEADER, server_health("c3")], True, "2 voters"),
        (
            [LEADER, server_health("c2", Healthy=False), server_health("c3")],
            False,
            "3 voters; c2 is not healthy",
        ),
    ],
)
def test_too_low_a_failure_tolerance_is_explained(
    cli: Callable[..., Any],
    server: Any,
    servers: list[dict[str, Any]],
    healthy: bool,
    why: str,
) -> None:
    answer = {"Healthy": healthy, "FailureTolerance": 0, "Servers": servers}
    server.on(f"GET {HEALTH}", answer, 200 if healthy else 429)
    server.on(f"GET {PATH}", CONFIG)
    result = cli("operator", "autopilot", "health", "-tolerates=1")
    assert (result.status, result.err) == (1, f"FailureTolerance is 0, 1 is asked for: {why}\n")
    assert result.out.startswith(f"Healthy: {str(healthy).lower()}\n")


def test_a_removed_voter_is_among_the_reasons(cli: Callable[..., Any], server: Any) -> None:
    removed = {"Name": "c3", "Missed": True, "VotersBefore": 3, "Removed": "2026-11-23T14:02:19Z"}
    answer = {"Healthy": True, "FailureTolerance": 0, "Servers": [LEADER, OTHERS[0]]}
    server.on(f"GET {HEALTH}", {**answer, "Removed": [removed]})
    assert cli("operator", "autopilot", "health", "-tolerates=1").err == (
        "FailureTolerance is 0, 1 is asked for: 2 voters; c3 was removed at 2026-11-23 14:02:19 "
        "UTC\n"
    )


def test_an_unhealthy_cluster_that_may_lose_enough_is_still_unhealthy(
    cli: Callable[..., Any], server: Any
) -> None:
    sick = server_health("c2", Healthy=False, Voter=False)
    answer = {"Healthy": False, "FailureTolerance": 1, "Servers": [LEADER, sick, *OTHERS]}
    server.on(f"GET {HEALTH}", answer, 429)
    server.on(f"GET {PATH}", CONFIG)
    assert cli("operator", "autopilot", "health", "-tolerates=1").status == 1


def test_a_new_leader_has_no_health_yet(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {HEALTH}", {"Healthy": False, "FailureTolerance": 0, "Servers": None}, 429)
    result = cli("operator", "autopilot", "health")
    assert result.status == 1
    assert "the leader is new" in result.out


def test_open_ports_between_servers_are_said_beside_health(
    cli: Callable[..., Any], server: Any
) -> None:
    answer = {"Healthy": True, "FailureTolerance": 0, "Servers": None, "Voters": None}
    server.on(f"GET {HEALTH}", answer)
    server.on(
        "GET /v1/agent/members",
        {
            "Members": [
                {"Name": "s1.global", "Tags": {"open_peers": "1"}},
                {"Name": "s2", "Tags": None},
            ]
        },
    )
    result = cli("operator", "autopilot", "health")
    assert result.status == 0
    assert result.err.startswith("The ports between servers are open on s1.global: anyone who")
