from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def namespace(name: str, **more: Any) -> dict[str, Any]:
    known = {"Name": name, "Description": "d", "Quota": "", "Hash": "x"}
    return {**known, "CreateIndex": 1, "ModifyIndex": 2, **more}


def test_namespaces_are_listed(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespaces", [namespace("default"), namespace("web", Description="")])
    assert cli("namespace", "list").out == ("Name     Description\ndefault  d\nweb      <none>\n")
    assert "Hash" not in cli("namespace", "list", "-json").out


def test_no_namespaces(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespaces", [])
    assert cli("namespace", "list").out == "No namespaces found\n"


def test_the_beginning_of_a_name_is_enough(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespaces?prefix=we", [namespace("web")])
    assert cli("namespace", "status", "we").out == (
        "Name        = web\nDescription = d\nQuota       = <none>\n"
    )
    shown = cli("namespace", "inspect", "we").out
    assert shown.startswith('{\n    "CreateIndex": 1,\n')
    assert "Hash" not in shown
    assert cli("namespace", "inspect", "we", "-t", "{{.Name}}").out == "web\n"


def test_an_exact_name_beats_a_longer_one(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespaces", [namespace("web"), namespace("web2")])
    assert cli("namespace", "status", "web").out.startswith("Name        = web\n")
    several = cli("namespace", "status", "we")
    assert several.status == 1
    assert several.out.startswith("Prefix matched multiple namespaces\n\nName")


def test_an_unknown_namespace_is_an_error(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespaces", [])
    assert cli("namespace", "status", "nope").err == (
        'Error retrieving namespaces: Namespace "nope" matched no namespaces\n'
    )


def test_apply_keeps_fields_without_a_flag(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespace/web", namespace("web", Quota="q"))
    server.on("PUT /v1/namespace/web")
    result = cli("namespace", "apply", "-description=new", "web")
    assert result.out == 'Successfully applied namespace "web"!\n'
    put = server.requests[1].json
    assert (put["Description"], put["Quota"]) == ("new", "q")
    cli("namespace", "apply", "-quota=", "web")
    assert server.requests[3].json["Quota"] == ""


def test_apply_creates_a_namespace(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespace/new", b"Namespace not found", 404)
    server.on("PUT /v1/namespace/new")
    assert cli("namespace", "apply", "new").status == 0
    assert server.requests[1].json == {"Name": "new"}


def test_apply_stops_where_it_may_not_read(cli: Callable[..., Any], server: Any) -> None:
    server.on("GET /v1/namespace/new", b"Permission denied", 403)
    assert cli("namespace", "apply", "new").err == (
        "Error applying namespace: Unexpected response code: 403 (Permission denied)\n"
    )


def test_delete(cli: Callable[..., Any], server: Any) -> None:
    server.on("DELETE /v1/namespace/web")
    server.on("DELETE /v1/namespace/default", b"can not delete default namespace", 500)
    assert cli("namespace", "delete", "web").out == 'Successfully deleted namespace "web"!\n'
    assert cli("namespace", "delete", "default").err == (
        "Error deleting namespace: Unexpected response code: 500 "
        "(can not delete default namespace)\n"
    )
    assert cli("namespace", "delete").err.startswith("This command takes one argument: <namespace>")
