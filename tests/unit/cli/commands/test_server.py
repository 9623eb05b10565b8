from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def member(name: str, port: int, status: str = "alive") -> dict[str, Any]:
    tags = {
        "region": name.partition(".")[2],
        "rpc_addr": "127.0.0.1",
        "port": str(port - 1),
        "build": "1.0.18",
        "dc": "dc1",
    }
    return {
        "Name": name,
        "Addr": "127.0.0.1",
        "Port": port,
        "Status": status,
        "ProtocolCur": 2,
        "Tags": tags,
    }


MEMBERS = {"Members": [member("node-2.global", 22022, "failed"), member("node-1.global", 22012)]}
TABLE = """\
Name           Address    Port   Status  Leader  Protocol  Build   Datacenter  Region
node-1.global  127.0.0.1  22012  alive   true    2         1.0.18  dc1         global
node-2.global  127.0.0.1  22022  failed  false   2         1.0.18  dc1         global
"""


def test_members_are_sorted_and_the_leader_marked(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    server.on("GET /v1/status/leader?region=global", "127.0.0.1:22011")
    result = cli("server", "members")
    assert (result.status, result.out, result.err) == (0, TABLE, "")


def test_region_that_no_server_has_is_remarked_beside_the_list(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    server.on("GET /v1/status/leader?region=global", "127.0.0.1:22011")
    result = cli("server", "members", "-region=west", program="bellcow")
    assert (result.status, result.out) == (0, TABLE)
    assert result.err == (
        "There is no server of region west among them; the regions known there: global\n"
    )
    assert cli("server", "members", "-region=west").err == ""
    assert cli("server", "members", "-region=global", program="bellcow").err == ""


def test_members_in_detail(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    server.on("GET /v1/status/leader", "127.0.0.1:22011")
    detailed = cli("server", "members", "-detailed").out.splitlines()
    tags = "build=1.0.18,dc=dc1,port=22011,region=global,rpc_addr=127.0.0.1"
    assert detailed[0].split() == ["Name", "Address", "Port", "Tags"]
    assert detailed[1] == f"node-1.global  127.0.0.1  22012  {tags}"
    verbose = cli("server", "members", "-verbose").out.splitlines()
    assert verbose[0].split()[-2:] == ["Region", "Tags"]
    assert verbose[1].endswith(f"global  {tags}")
    shown = cli("server", "members", "-t", "{{range .}}{{.Name}}={{.Leader}} {{end}}")
    assert shown.out == "node-1.global=true node-2.global=false \n"


def test_without_a_leader_the_table_is_shown_with_the_error(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    server.on("GET /v1/status/leader", b"No cluster leader", 500)
    result = cli("server", "members")
    assert result.status == 1
    assert result.out == TABLE.replace("true ", "false") + "\n"
    assert result.err == (
        "Error determining leaders: 1 error occurred:\n"
        '\t* Region "global": Unexpected response code: 500 (No cluster leader)\n\n\n'
    )


def test_each_region_without_a_leader_is_named(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/members", {"Members": [member("a.east", 2), member("b.west", 4)]})
    server.on("GET /v1/status/leader", b"No cluster leader", 500)
    result = cli("server", "members")
    assert result.err.startswith("Error determining leaders: 2 errors occurred:\n")
    assert '\t* Region "west": ' in result.err


def test_another_region_without_a_leader_is_a_remark(cli: Callable[..., Any], server: Any) -> None:
    there = member("node-3.glbal", 22032)
    server.on(
        "GET /v1/agent/members",
        {"Members": [*MEMBERS["Members"], there], "ServerRegion": "global"},
    )
    server.on("GET /v1/status/leader?region=global", "127.0.0.1:22011")
    server.on("GET /v1/status/leader?region=glbal", b"No cluster leader", 500)
    result = cli("server", "members")
    assert (result.status, result.err) == (0, 'Region "glbal" has no leader\n')
    assert result.out.startswith(TABLE)


def test_own_region_without_a_leader_is_an_error_beside_another_that_has_one(
    cli: Callable[..., Any], server: Any
) -> None:
    there = [member("node-1.glbal", 2), member("node-2.global", 22022)]
    server.on("GET /v1/agent/members", {"Members": there, "ServerRegion": "glbal"})
    server.on("GET /v1/status/leader?region=global", "127.0.0.1:22021")
    server.on("GET /v1/status/leader?region=glbal", b"No cluster leader", 500)
    result = cli("server", "members")
    assert result.status == 1
    assert result.err.startswith("Error determining leaders: 1 error occurred:\n")


def test_joining_sends_every_address(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/agent/join", {"error": "", "num_joined": 2})
    result = cli("server", "join", "127.0.0.1:1", "[::1]:2")
    assert result.out == "Joined 2 servers successfully\n"
    assert server.requests[0].target == (
        "/v1/agent/join?address=127.0.0.1%3A1&address=%5B%3A%3A1%5D%3A2"
    )


def test_a_failed_join_shows_why(cli: Callable[..., Any], server: Any) -> None:
    why = "1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp\n\n"
    server.on("PUT /v1/agent/join", {"error": why, "num_joined": 0})
    result = cli("server", "join", "127.0.0.1:1")
    assert (result.status, result.out) == (1, "")
    assert result.err == f"Error joining: failed joining: {why}\n"


def test_force_leave_completes_the_region(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    server.on("PUT /v1/agent/force-leave")
    result = cli("server", "force-leave", "-prune", "-force", "node-2")
    assert (result.status, result.out) == (0, 'Server "node-2.global" is now leaving\n')
    assert server.requests[1].target == (
        "/v1/agent/force-leave?force=true&node=node-2.global&prune=true"
    )
    result = cli("server", "force-leave", "node-2.global")
    assert (result.out, result.err) == ('Server "node-2.global" is now leaving\n', "")


def test_force_leave_of_a_live_server_prints_that_it_stays(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    server.on("PUT /v1/agent/force-leave")
    result = cli("server", "force-leave", "node-1")
    assert (result.status, result.out) == (0, 'Server "node-1.global" is now leaving\n')
    assert result.err == (
        "node-1.global is alive: nothing was done; "
        "-force removes it from the consensus configuration\n"
    )
    assert cli("server", "force-leave", "-force", "node-1").err == ""


def test_force_leave_without_the_right_to_list_prints_no_remark(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/agent/members", b"Permission denied", 403)
    server.on("PUT /v1/agent/force-leave")
    result = cli("server", "force-leave", "node-1.global")
    assert (result.status, result.err) == (0, "")


def test_force_leave_of_an_unknown_server_names_the_known_ones(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/agent/members", MEMBERS)
    result = cli("server", "force-leave", "nope")
    assert result.err == (
        "Error force-leaving server nope: there is no such server; "
        "the known ones are node-1.global, node-2.global\n"
    )
    assert [request.method for request in server.requests] == ["GET"]


def test_force_leave_refuses_a_name_that_is_not_clear(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/members", {"Members": [member("a.east", 2), member("a.west", 4)]})
    assert "several servers have this name: a.east, a.west" in cli("server", "force-leave", "a").err


def test_force_leave_needs_no_right_to_list(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/members", b"Permission denied", 403)
    server.on("PUT /v1/agent/force-leave")
    assert cli("server", "force-leave", "x.global").out == 'Server "x.global" is now leaving\n'


def test_open_ports_between_servers_are_said_beside_the_list(
    cli: Callable[..., Any], server: Any
) -> None:
    opened = member("node-1.global", 22012)
    opened["Tags"]["open_peers"] = "1"
    server.on("GET /v1/agent/members", {"Members": [MEMBERS["Members"][0], opened]})
    server.on("GET /v1/status/leader?region=global", "127.0.0.1:22011")
    result = cli("server", "members")
    assert (result.status, result.out) == (0, TABLE)
    assert result.err.startswith("The ports between servers are open on node-1.global: anyone who")
