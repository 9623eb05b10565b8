from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from bellcow.cli.shell import completers

if TYPE_CHECKING:
    from collections.abc import Callable

POLICIES = "GET /v1/acl/policies"
LISTED = [{"Name": "opread", "Description": "d"}, {"Name": "opwrite"}, {"Name": "web"}]


@pytest.fixture
def complete(
    cli: Callable[..., Any], environment: pytest.MonkeyPatch
) -> Callable[[str], list[str]]:
    def go(line: str) -> list[str]:
        environment.setenv("COMP_LINE", line)
        result = cli()
        assert (result.status, result.err) == (0, "")
        return result.out.splitlines()

    return go


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nomad acl policy info ", ["opread", "opwrite", "web"]),
        ("nomad acl policy delete op", ["opread", "opwrite"]),
        ("nomad acl policy apply op", ["opread", "opwrite"]),
        ("nomad acl token create -policy op", ["opread", "opwrite"]),
        ("nomad acl token create -policy=op", ["opread", "opwrite"]),
        ("nomad acl token update --policy ", ["opread", "opwrite", "web"]),
    ],
)
def test_policies_are_offered_where_one_is_named(
    complete: Callable[[str], list[str]], server: Any, line: str, words: list[str]
) -> None:
    server.on(POLICIES, LISTED)
    assert complete(line) == words


@pytest.mark.parametrize("command", ["info", "update", "delete"])
def test_accessors_are_offered_where_a_token_is_named(
    complete: Callable[[str], list[str]], server: Any, command: str
) -> None:
    server.on("GET /v1/acl/tokens", [{"AccessorID": "a1-b", "Name": "x"}, {"AccessorID": "c2-d"}])
    assert complete(f"nomad acl token {command} a") == ["a1-b"]


@pytest.mark.parametrize(
    "words",
    ["namespace status", "namespace delete", "server members -namespace", "status -namespace"],
)
def test_namespaces_are_offered_where_one_is_named(
    complete: Callable[[str], list[str]], server: Any, words: str
) -> None:
    server.on("GET /v1/namespaces", [{"Name": "default"}, {"Name": "web"}])
    assert complete(f"nomad {words} d") == ["default"]


def test_the_flags_on_the_line_set_the_server_and_the_token(
    complete: Callable[[str], list[str]], server: Any, environment: pytest.MonkeyPatch
) -> None:
    server.on(POLICIES, LISTED)
    environment.setenv("NOMAD_ADDR", "http://127.0.0.1:1")
    line = f"nomad acl policy info -address={server.address} -token secret w"
    assert complete(line) == ["web"]
    assert server.requests[0].headers["X-Nomad-Token"] == "secret"


def test_a_second_word_is_not_a_name_any_more(
    complete: Callable[[str], list[str]], server: Any
) -> None:
    assert complete("nomad acl policy apply web ") == []
    assert complete("nomad acl policy info web ") == []
    assert server.requests == []


def test_flags_are_offered_without_asking_anybody(
    complete: Callable[[str], list[str]], server: Any
) -> None:
    assert complete("nomad acl policy info -addr") == ["-address"]
    assert server.requests == []


def test_names_that_a_shell_would_split_are_not_offered(
    complete: Callable[[str], list[str]], server: Any
) -> None:
    server.on(POLICIES, [{"Name": "$(reboot)"}, {"Name": "a b"}, {"Name": "ok"}, {"Name": ""}])
    assert complete("nomad acl policy info ") == ["ok"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"Permission denied", 403), (b"not JSON", 200), (b"null", 200), (b'{"a":1}', 200)],
)
def test_an_answer_that_is_no_list_is_silent(
    complete: Callable[[str], list[str]], server: Any, body: bytes, status: int
) -> None:
    server.on(POLICIES, body, status)
    assert complete("nomad acl policy info ") == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "bogus://x", "http://[", "unix:///no"])
def test_a_server_that_cannot_be_reached_is_silent(
    complete: Callable[[str], list[str]], environment: pytest.MonkeyPatch, address: str
) -> None:
    environment.setenv("NOMAD_ADDR", address)
    assert complete("nomad acl policy info ") == []


def test_a_server_that_does_not_answer_is_not_waited_for(
    complete: Callable[[str], list[str]], environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(completers, "LIMIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment.setenv("NOMAD_ADDR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert complete("nomad acl policy info ") == []
