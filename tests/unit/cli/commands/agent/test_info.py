from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SELF = {
    "config": {"Timeout": 5000000000.0},
    "member": {"Name": "node-1.global"},
    "stats": {
        "raft": {"term": "2", "state": "Leader"},
        "nomad": {"leader": "true", "leader_addr": ""},
    },
}


def test_groups_and_keys_are_sorted(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/self", SELF)
    assert cli("agent-info").out == (
        "nomad\n  leader = true\n  leader_addr = \nraft\n  state = Leader\n  term = 2\n"
    )


def test_json_is_sorted_with_whole_numbers(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/self", SELF)
    shown = cli("agent-info", "-json").out
    assert shown.startswith('{\n    "config": {\n        "Timeout": 5000000000\n')


def test_a_template_sees_the_names_of_the_client(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/self", SELF)
    good = '{{.Member.Name}} {{index .Stats "raft" "state"}}'
    assert cli("agent-info", "-t", good).out == "node-1.global Leader\n"
    assert cli("agent-info", "-t", "{{.member.Name}}").err == (
        "Error formatting output: Error formatting the data: template: format:1:9: "
        'executing "format" at <.member.Name>: '
        "can't evaluate field member in type *api.AgentSelf\n"
    )


def test_a_refusal_names_the_request(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/agent/self", b"Permission denied", 403)
    assert cli("agent-info").err == (
        "Error querying agent info: failed querying self endpoint: "
        "Unexpected response code: 403 (Permission denied)\n"
    )
