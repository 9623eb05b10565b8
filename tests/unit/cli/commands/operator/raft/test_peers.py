from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.server_answers import CONFIGURATION

from bellcow.cli.commands.operator.raft.peers import healthiest

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = ("2e208566-1909-adfd-7a8a-6529318af50f", "7d37c90b-7202-8e06-e156-f358021a7ac9")


def peer(name: str, identifier: str, address: str, *, leader: bool = False) -> dict[str, Any]:
    return {
        "Node": name,
        "ID": identifier,
        "Address": address,
        "Leader": leader,
        "Voter": True,
        "RaftProtocol": "3",
    }


PEERS = {
    "Index": 9,
    "Servers": [
        peer("c1.global", IDS[0], "127.0.0.1:21011", leader=True),
        peer("c2.global", IDS[1], "127.0.0.1:21021"),
    ],
}
TABLE = (
    f"Node       ID{' ' * 36}Address          State     Voter  RaftProtocol\n"
    f"c1.global  {IDS[0]}  127.0.0.1:21011  leader    true   3\n"
    f"c2.global  {IDS[1]}  127.0.0.1:21021  follower  true   3\n"
)


def test_the_peers_are_a_table(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    result = cli("operator", "raft", "list-peers")
    assert (result.status, result.out, result.err) == (0, TABLE, "")
    assert server.requests[0].target == CONFIGURATION


def test_stale_asks_this_server(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    assert cli("operator", "raft", "list-peers", "-stale=T").status == 0
    assert server.requests[0].target == f"{CONFIGURATION}?stale="


def test_peers_as_data(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    assert cli("operator", "raft", "list-peers", "-json").out.startswith('{\n    "Index": 9,')
    shown = cli("operator", "raft", "list-peers", "-t", "{{range .Servers}}{{.Node}} {{end}}")
    assert shown.out == "c1.global c2.global \n"


def test_without_a_leader_the_last_known_peers_follow_the_error(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"GET {CONFIGURATION}?stale=", PEERS)
    server.on(f"GET {CONFIGURATION}", b"No cluster leader", 500)
    result = cli("operator", "raft", "list-peers")
    assert (result.status, result.out) == (1, TABLE)
    assert result.err.startswith(
        "Failed to retrieve raft configuration: "
        "Unexpected response code: 500 (No cluster leader)\nNo server leads.\nWhat "
    )


@pytest.mark.parametrize("command", ["remove-peer", "transfer-leadership"])
def test_a_peer_is_named_in_one_way(cli: Callable[..., Any], server: Any, command: str) -> None:
    both = cli("operator", "raft", command, "-peer-address=1.2.3.4:1", "-peer-id=x")
    assert both.err.endswith("cannot give both an address and id\n")
    three = cli("operator", "raft", command, "-peer-name=a", "-peer-id=x")
    assert three.err.endswith("name the peer in one way only\n")
    assert (both.status, three.status) == (1, 1)
    assert server.requests == []


def test_a_removal_names_its_peer(cli: Callable[..., Any], server: Any) -> None:
    none = cli("operator", "raft", "remove-peer")
    assert none.status == 1
    assert none.err == (
        "Error removing peer: an address or id is required for the peer to remove\n"
        "Give -peer-id, -peer-address or -peer-name\n"
    )
    assert server.requests == []


@pytest.mark.parametrize(
    ("flag", "shown"),
    [
        ("-peer-address=127.0.0.1:21021", 'address "127.0.0.1:21021"'),
        (f"-peer-id={IDS[1]}", f'id "{IDS[1]}"'),
        ("-peer-name=c2", 'name "c2"'),
        ("-peer-name=c2.global", 'name "c2.global"'),
    ],
)
def test_each_way_of_naming_a_peer_removes_it_by_id(
    cli: Callable[..., Any], server: Any, flag: str, shown: str
) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("DELETE /v1/operator/raft/peer")
    result = cli("operator", "raft", "remove-peer", flag)
    assert (result.status, result.out) == (0, f"Removed peer with {shown}\n")
    assert server.requests[1].target == f"/v1/operator/raft/peer?id={IDS[1]}"


def test_removing_a_live_peer_prints_a_remark(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("DELETE /v1/operator/raft/peer")
    server.on("GET /v1/agent/members", {"Members": [{"Name": "c2.global", "Status": "alive"}]})
    result = cli("operator", "raft", "remove-peer", "-peer-name=c2", "-force")
    assert "It is still running" in result.out
    assert server.requests[1].target.endswith(f"?force=true&id={IDS[1]}")


def test_an_unknown_peer_is_left_to_the_server(cli: Callable[..., Any], server: Any) -> None:
    reason = b'address "1.2.3.4:1" was not found in the Raft configuration'
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("DELETE /v1/operator/raft/peer?address=1.2.3.4%3A1", reason, 500)
    result = cli("operator", "raft", "remove-peer", "-peer-address=1.2.3.4:1")
    assert result.err == (
        f"Error removing peer: Unexpected response code: 500 ({reason.decode()})\n"
    )


def test_an_unknown_name_removes_nothing(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    result = cli("operator", "raft", "remove-peer", "-peer-name=c9")
    assert "no peer is called c9" in result.err
    assert [request.method for request in server.requests] == ["GET"]


def test_a_name_that_fits_two_regions_removes_nothing(cli: Callable[..., Any], server: Any) -> None:
    twice = [peer("c2.global", "a", "x:1"), peer("c2.west", "b", "x:2")]
    server.on(f"GET {CONFIGURATION}", {"Servers": twice})
    result = cli("operator", "raft", "remove-peer", "-peer-name=c2")
    assert result.err == "Several peers are called c2; use -peer-id\n"


def test_a_dry_run_changes_nothing(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    result = cli("operator", "raft", "remove-peer", "-dry-run", "-peer-name=c1")
    assert result.out == (
        f"Would remove c1.global (voter, the leader, ID {IDS[0]}, address 127.0.0.1:21011)\n"
        "Voters left: 1. The removal is refused if it costs the quorum.\n"
    )
    assert {request.method for request in server.requests} == {"GET"}


def test_a_dry_run_predicts_a_refusal(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", {"Servers": PEERS["Servers"][:1]})
    last = cli("operator", "raft", "remove-peer", "-dry-run", "-peer-name=c1")
    assert (last.status, last.out) == (1, "")
    assert "is the only voter: the removal would be refused" in last.err
    nobody = cli("operator", "raft", "remove-peer", "-dry-run", "-peer-id=x")
    assert (nobody.status, nobody.err) == (1, "Error removing peer: no peer has id x\n")


def members(*alive: str) -> dict[str, Any]:
    return {
        "Members": [
            {"Name": each["Node"], "Status": "alive" if each["Node"] in alive else "failed"}
            for each in PEERS["Servers"]
        ]
    }


def test_a_dry_run_counts_live_voters(cli: Callable[..., Any], server: Any) -> None:
    words = "operator", "raft", "remove-peer", "-dry-run", "-peer-name=c1"
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("GET /v1/agent/members", members("c1.global", "c2.global"))
    server.on("GET /v1/agent/members", members("c1.global"))
    server.on("GET /v1/agent/members", members("c2.global"))
    bearable, costly, dead = cli(*words), cli(*words), cli(*words)
    assert bearable.out.endswith(
        "Voters left: 1, of which 1 are alive and 1 are needed: none of them may fail.\n"
    )
    assert (costly.status, costly.err) == (
        1,
        (
            "Error removing peer: would be refused without -force: "
            "of 1 voters left 0 are alive and 1 are needed\n"
        ),
    )
    assert dead.status == 0
    assert {request.method for request in server.requests} == {"GET"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("living", "words", "answer", "asked", "removed"),
    [
        (("c1.global", "c2.global"), (), "n\n", True, False),
        (("c1.global", "c2.global"), (), "y\n", True, True),
        (("c1.global", "c2.global"), ("-yes",), "", False, True),
        (("c1.global",), (), "", False, True),
    ],
    ids=["no", "yes", "not to be asked", "it is dead"],
)
def test_on_a_terminal_one_is_asked_before_none_may_fail(
    cli: Callable[..., Any],
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
    living: tuple[str, ...],
    words: tuple[str, ...],
    answer: str,
    *,
    asked: bool,
    removed: bool,
) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("GET /v1/agent/members", members(*living))
    server.on("DELETE /v1/operator/raft/peer")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    result = cli("operator", "raft", "remove-peer", "-peer-name=c2", *words)
    assert result.status == (0 if removed else 1)
    assert ("Go on? [y/N]" in screen.getvalue()) == asked
    assert any(request.method == "DELETE" for request in server.requests) == removed


def test_a_refusal_names_the_flag_that_overrules_it(cli: Callable[..., Any], server: Any) -> None:
    refusal = b"removing c2.global would cost the quorum; add ?force=true to do it anyway"
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("DELETE /v1/operator/raft/peer", refusal, 409)
    result = cli("operator", "raft", "remove-peer", "-peer-name=c2")
    assert result.err.endswith("; add -force to do it anyway)\n")


def test_a_removal_that_costs_the_quorum_shows_the_numbers(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("DELETE /v1/operator/raft/peer", b"1 of 3 voters would be left", 409)
    result = cli("operator", "raft", "remove-peer", "-peer-name=c2")
    assert result.err == (
        "Error removing peer: Unexpected response code: 409 (1 of 3 voters would be left)\n"
    )


def test_leadership_is_handed_over(cli: Callable[..., Any], server: Any) -> None:
    path = "/v1/operator/raft/transfer-leadership"
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on(f"PUT {path}", {"From": {}, "To": {}, "Noop": False, "Err": None})
    result = cli("operator", "raft", "transfer-leadership", f"-peer-id={IDS[1]}")
    assert result.out == f'Transferred leadership to peer with id "{IDS[1]}"\n'
    assert server.requests[0].target == f"{path}?id={IDS[1]}"
    cli("operator", "raft", "transfer-leadership", "-peer-name=c2")
    assert server.requests[2].target == f"{path}?id={IDS[1]}"
    cli("operator", "raft", "transfer-leadership", "-peer-address=127.0.0.1:21021")
    assert server.requests[3].target == f"{path}?address=127.0.0.1%3A21021"
    unknown = cli("operator", "raft", "transfer-leadership", "-peer-name=c9")
    assert unknown.err.startswith("Error transferring leadership to peer: no peer is called c9")


def test_a_transfer_to_the_leader_itself_is_recognized(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"PUT {TRANSFER}", {"Noop": True})
    result = cli("operator", "raft", "transfer-leadership", f"-peer-id={IDS[0]}")
    assert (result.status, result.out) == (0, f'The peer with id "{IDS[0]}" leads already\n')


HEALTH = "/v1/operator/autopilot/health"
TRANSFER = "/v1/operator/raft/transfer-leadership"
THIRD = "9a2b5b6c-1111-2222-3333-444455556666"


def health(identifier: str, index: int, contact: str, *, healthy: bool = True) -> dict[str, Any]:
    return {"ID": identifier, "LastIndex": index, "LastContact": contact, "Healthy": healthy}


def test_without_a_target_the_healthiest_other_voter_is_chosen(
    cli: Callable[..., Any], server: Any
) -> None:
    third = {**peer("c3.global", THIRD, "127.0.0.1:21031"), "Voter": False}
    server.on(f"GET {CONFIGURATION}", {"Servers": [*PEERS["Servers"], third]})
    found = [health(IDS[0], 9, "0s"), health(IDS[1], 8, "20ms"), health(THIRD, 9, "1ms")]
    server.on(f"GET {HEALTH}", {"Servers": found}, 429)
    server.on(f"PUT {TRANSFER}", {})
    result = cli("operator", "raft", "transfer-leadership")
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "Chose c2.global, the healthiest of the other voters\nTransferred leadership to c2.global\n"
    )
    assert server.requests[2].target == f"{TRANSFER}?id={IDS[1]}"


def test_a_voter_that_is_not_healthy_is_never_chosen(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on(f"GET {HEALTH}", {"Servers": [health(IDS[1], 9, "-1ns", healthy=False)]}, 429)
    result = cli("operator", "raft", "transfer-leadership")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(
        "Error transferring leadership to peer: no other voter is healthy (c2.global); "
    )
    assert [request.method for request in server.requests] == ["GET", "GET"]


def test_a_single_server_cannot_transfer_leadership(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {CONFIGURATION}", {"Servers": PEERS["Servers"][:1]})
    result = cli("operator", "raft", "transfer-leadership")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error transferring leadership to peer: there is no other voter: ")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([health("a", 8, "1ms"), health("b", 9, "90ms")], "b"),
        ([health("a", 9, "90ms"), health("b", 9, "1ms")], "b"),
        ([health("a", 9, "1ms"), health("b", 9, "1ms")], "a"),
        ([health("a", 9, "1ms", healthy=False), health("b", 1, "1s")], "b"),
        ([health("x", 9, "1ms")], None),
        ([], None),
    ],
)
def test_the_healthiest_lags_least_and_was_heard_of_last(
    found: list[dict[str, Any]], chosen: str | None
) -> None:
    peers = [peer("n2", "b", "x:2"), peer("n1", "a", "x:1")]
    best = healthiest(peers, found)
    assert (best and best["ID"]) == chosen


def test_voter_that_does_not_answer_is_named_below_the_list(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"GET {CONFIGURATION}", PEERS)
    server.on("GET /v1/agent/members", members("c1.global"))
    result = cli("operator", "raft", "list-peers", program="bellcow")
    assert "c2.global does not answer" in result.err
    assert "c1.global does not answer" not in result.err
    assert cli("operator", "raft", "list-peers", program="nomad").err == ""
