from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ACCESSOR = "74684185-baa7-abed-1de8-0eb6c862bd7b"
TOKEN = {
    "AccessorID": ACCESSOR,
    "SecretID": "46f13b6c-fccf-ab12-6112-f0b903a094da",
    "Name": "reader",
    "Type": "client",
    "Global": True,
    "Policies": ["opread", "opwrite"],
    "Hash": "x=",
    "CreateTime": "2026-11-23T13:59:47.741851254Z",
    "CreateIndex": 10,
    "ModifyIndex": 10,
}


def test_a_token_is_created(cli: Callable[..., Any], server: Any) -> None:
    server.on("PUT /v1/acl/token", TOKEN)
    result = cli("acl", "token", "create", "-name=reader", "-policy", "opread", "-policy=opwrite")
    assert "Policies     = [opread opwrite]\n" in result.out
    assert server.requests[0].json == {
        "Name": "reader",
        "Type": "client",
        "Policies": ["opread", "opwrite"],
        "Global": False,
    }
    cli("acl", "token", "create", "-type=management", "-global")
    assert server.requests[2].json == {
        "Name": "",
        "Type": "management",
        "Policies": None,
        "Global": True,
    }


def test_a_policy_that_does_not_exist_is_named(cli: Callable[..., Any], server: Any) -> None:
    path = f"/v1/acl/token/{ACCESSOR}"
    server.on("PUT /v1/acl/token", TOKEN)
    server.on(f"GET {path}", TOKEN)
    server.on(f"PUT {path}", TOKEN)
    server.on("GET /v1/acl/policies", [{"Name": "opread"}])
    told = "There is no policy nosuch: until there is one, the token gets nothing from it\n"
    created = cli("acl", "token", "create", "-policy=nosuch", "-policy=opread")
    assert (created.status, created.err) == (0, told)
    updated = cli("acl", "token", "update", "-policy=nosuch", ACCESSOR)
    assert (updated.status, updated.err) == (0, told)
    assert cli("acl", "token", "create", "-policy=opread").err == ""


def test_an_update_changes_only_the_given_fields(cli: Callable[..., Any], server: Any) -> None:
    path = f"/v1/acl/token/{ACCESSOR}"
    server.on(f"GET {path}", TOKEN)
    server.on(f"PUT {path}", {**TOKEN, "Name": "renamed"})
    result = cli("acl", "token", "update", "-name", "renamed", ACCESSOR)
    assert "Name         = renamed\n" in result.out
    assert server.requests[1].json == {**TOKEN, "Name": "renamed"}
    cli("acl", "token", "update", ACCESSOR, "-global=false", "-policy=x")
    assert server.requests[3].json == {**TOKEN, "Global": False, "Policies": ["x"]}


def test_tokens_are_listed(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/acl/tokens", [{**TOKEN, "Name": ""}])
    assert cli("acl", "token", "list").out == (
        f"Name    Type    Global  Accessor ID\n<none>  client  true    {ACCESSOR}\n"
    )
    shown = cli("acl", "token", "list", "-t", "{{range .}}{{.Name}}:{{.Type}}\n{{end}}")
    assert shown.out == ":client\n\n"


def test_no_tokens(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/acl/tokens", [])
    assert cli("acl", "token", "list").out == "No tokens found\n"


def test_a_token_is_shown(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET /v1/acl/token/{ACCESSOR}", TOKEN)
    server.on("GET /v1/acl/token/self", TOKEN)
    assert cli("acl", "token", "info", ACCESSOR).out == cli("acl", "token", "self").out
    assert cli("acl", "token", "self", "-token", "s").status == 0
    assert server.requests[2].headers["X-Nomad-Token"] == "s"


def test_a_token_is_deleted_or_the_reason_shown(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"DELETE /v1/acl/token/{ACCESSOR}")
    assert cli("acl", "token", "delete", ACCESSOR).out == (
        f"Token {ACCESSOR} successfully deleted\n"
    )
    server.on("DELETE /v1/acl/token/x", b"Cannot delete nonexistent tokens: x", 400)
    assert cli("acl", "token", "delete", "x").err == (
        "Error deleting token: Unexpected response code: 400 "
        "(Cannot delete nonexistent tokens: x)\n"
    )
    assert cli("acl", "token", "update").err.startswith(
        "This command takes one argument: <token_accessor_id>\n"
    )


def test_a_token_can_be_made_again_under_its_accessor(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET /v1/acl/token/{ACCESSOR}", b"ACL token not found", 404)
    server.on("PUT /v1/acl/token", TOKEN)
    result = cli("acl", "token", "create", f"-accessor={ACCESSOR.upper()}", "-policy=opread")
    assert (result.status, result.err) == (0, "")
    body = server.requests[1].json
    assert body["AccessorID"] == ACCESSOR
    assert len(body["SecretID"]) == 36


def test_a_token_that_exists_is_not_created_over(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET /v1/acl/token/{ACCESSOR}", TOKEN)
    result = cli("acl", "token", "create", f"-accessor={ACCESSOR}", "-policy=opread")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        f"Error creating token: there is a token {ACCESSOR}; 'acl token update' changes it\n"
    )
    assert [request.method for request in server.requests] == ["GET"]


def test_an_accessor_that_may_not_be_looked_up_creates_nothing(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"GET /v1/acl/token/{ACCESSOR}", b"Permission denied", 403)
    result = cli("acl", "token", "create", f"-accessor={ACCESSOR}")
    assert result.err == "Error creating token: Unexpected response code: 403 (Permission denied)\n"
    assert len(server.requests) == 1
