from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STUBS = [
    {"Name": "opread", "Description": "d", "Hash": "x", "CreateIndex": 8, "ModifyIndex": 8},
    {"Name": "opwrite", "Description": "", "Hash": "y", "CreateIndex": 9, "ModifyIndex": 9},
]


@pytest.mark.parametrize("after", [True, False])
def test_a_policy_is_written_with_its_flag_on_either_side(
    cli: Callable[..., Any], server: Any, tmp_path: Path, after: bool
) -> None:
    server.on("PUT /v1/acl/policy/opread")
    path = tmp_path / "op.hcl"
    path.write_text("operator {}")
    words = ["opread", str(path)]
    flag = ["-description", "Operators may read"]
    result = cli("acl", "policy", "apply", *(words + flag if after else flag + words))
    assert (result.status, result.out) == (0, 'Successfully wrote "opread" ACL policy!\n')
    assert server.requests[0].json == {
        "Name": "opread",
        "Description": "Operators may read",
        "Rules": "operator {}",
    }


def test_rules_come_from_standard_input(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/acl/policy/a%20b")
    assert cli("acl", "policy", "apply", "a b", "-", stdin=b"node {}").status == 0
    assert server.requests[0].json["Rules"] == "node {}"


def test_a_block_that_means_nothing_is_named(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/acl/policy/p")
    rules = b'operatr { policy = "read" }\nnode { policy = "read" }\nfoo {}'
    result = cli("acl", "policy", "apply", "p", "-", stdin=rules)
    assert (result.status, result.out) == (0, 'Successfully wrote "p" ACL policy!\n')
    assert result.err.splitlines() == [
        "The block operatr gives no right; did you mean operator?",
        (
            "The block foo gives no right; known are "
            "agent, host_volume, namespace, node, operator, plugin, quota"
        ),
    ]


def test_the_parsed_rules_of_a_policy_are_shown_as_json(
    cli: Callable[..., Any], server: Any
) -> None:
    policy = {
        "Name": "p",
        "Description": "",
        "Rules": "",
        "RulesJSON": {"Node": {"Policy": "read"}},
        "Hash": "x=",
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }
    server.on("GET /v1/acl/policy/p", policy)
    shown = msgspec.json.decode(cli("acl", "policy", "info", "-json", "p").out)
    assert shown["RulesJSON"] == {"Node": {"Policy": "read"}}
    assert "Hash" not in shown


def test_a_missing_file_is_named(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "none.hcl"
    assert cli("acl", "policy", "apply", "x", str(path)).err == (
        f"Failed to read file: open {path}: no such file or directory\n"
    )


def test_wrong_counts_have_their_sentences(cli: Callable[..., Any]) -> None:
    assert cli("acl", "policy", "apply", "x").err == (
        "This command takes two arguments: <name> and <path>\n"
        "For additional help try 'nomad acl policy apply -help'\n"
    )
    assert cli("acl", "policy", "info").err.startswith("This command takes one argument: <name>\n")
    assert cli("acl", "policy", "list", "x").err.startswith("This command takes no arguments\n")


def test_policies_are_listed(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/acl/policies", STUBS)
    assert cli("acl", "policy", "list").out == (
        "Name     Description\nopread   d\nopwrite  <none>\n"
    )
    assert '"Hash"' not in cli("acl", "policy", "list", "-json").out
    bad = cli("acl", "policy", "list", "-t", "{{.Nope}}")
    assert bad.err == (
        'Error formatting the data: template: format:1:2: executing "format" at <.Nope>: '
        "can't evaluate field Nope in type []*api.ACLPolicyListStub\n"
    )


def test_an_empty_list_of_policies_is_shown_as_such(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/acl/policies", [])
    assert cli("acl", "policy", "list").out == "No policies found\n"
    assert cli("acl", "policy", "list", "-json").out == "[]\n"


def test_a_policy_is_shown_with_its_rules(cli: Callable[..., Any], server: Any) -> None:
    rules = 'operator {\n  policy = "read"\n}\n'
    server.on("GET /v1/acl/policy/opread", {**STUBS[1], "Rules": rules, "RulesJSON": None})
    assert cli("acl", "policy", "info", "opread").out == (
        "Name        = opwrite\nDescription = <none>\n"
        'Rules       = operator {\n  policy = "read"\n}\n'
        "CreateIndex = 9\nModifyIndex = 9\n"
    )


def test_a_policy_is_deleted(cli: Callable[..., Any], server: Any) -> None:
    server.on("DELETE /v1/acl/policy/opread")
    assert cli("acl", "policy", "delete", "opread").out == "Successfully deleted opread policy!\n"


SELF = "GET /v1/acl/token/self"


def test_the_policies_of_the_token_in_use_are_listed(cli: Callable[..., Any], server: Any) -> None:
    server.on(SELF, {"Type": "client", "Policies": ["opread", "gone"]})
    server.on("GET /v1/acl/policies", STUBS)
    result = cli("acl", "policy", "self")
    assert (result.status, result.out) == (0, "Name    Description\nopread  d\n")
    assert result.err == "The token names a policy gone too, which does not exist\n"
    shown = cli("acl", "policy", "self", "-t", "{{range .}}{{.Name}}{{end}}")
    assert shown.out == "opread\n"


def test_a_management_token_needs_no_policies(cli: Callable[..., Any], server: Any) -> None:
    server.on(SELF, {"Type": "management", "Policies": None})
    server.on("GET /v1/acl/policies", STUBS)
    result = cli("acl", "policy", "self")
    assert result.out.startswith("A management token is in use: ")
    assert cli("acl", "policy", "self", "-json").out == "[]\n"


def test_without_a_token_there_are_no_own_policies(cli: Callable[..., Any], server: Any) -> None:
    server.on(SELF, b"acl token lookup failed: missing secret id", 500)
    result = cli("acl", "policy", "self")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "Error fetching own policies: Unexpected response code: 500 "
        "(acl token lookup failed: missing secret id)\n"
    )
