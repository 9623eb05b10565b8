"""/v1/search: what begins with a prefix, as far as the token may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bellcow.acl.rights import Need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.routes.conftest import Running

NAMES = [f"team-{number:02}" for number in range(21)]


@pytest.fixture(scope="module")
def stocked(server: Running) -> Iterator[Running]:
    """The server with namespaces, and a token with a right in the last of them and in `default`."""
    root = server.tokens[Need.MANAGEMENT]
    for name in NAMES:
        server.ask("PUT", "/v1/namespace", {"Name": name}, token=root)
    yield server
    for name in NAMES:
        server.ask("DELETE", f"/v1/namespace/{name}", token=root)


def search(server: Running, prefix: str, context: str, secret: str = "") -> Any:
    secret = secret or server.tokens[Need.MANAGEMENT]
    body = {"Prefix": prefix, "Context": context}
    return server.ask("PUT", "/v1/search", body, token=secret)


def holder(server: Running, rules: str) -> str:
    """The secret of a token with these rules."""
    root = server.tokens[Need.MANAGEMENT]
    server.ask("PUT", "/v1/acl/policy/seeker", {"Name": "seeker", "Rules": rules}, token=root)
    body = {"Type": "client", "Policies": ["seeker"]}
    return str(server.ask("PUT", "/v1/acl/token", body, token=root).json()["SecretID"])


def test_a_namespace_is_found_by_how_its_name_begins(stocked: Running) -> None:
    found = search(stocked, "team-1", "namespaces").json()
    assert found["Matches"] == {"namespaces": NAMES[10:20]}
    assert found["Truncations"] == {"namespaces": False}
    assert found["KnownLeader"] is True
    everything = search(stocked, "team-1", "all").json()
    assert everything["Matches"]["namespaces"] == NAMES[10:20]
    assert {name for name, some in everything["Matches"].items() if some} == {"namespaces"}


def test_only_twenty_matches_are_shown_and_marked_as_truncated(stocked: Running) -> None:
    found = search(stocked, "team-", "namespaces").json()
    assert found["Matches"] == {"namespaces": NAMES[:20]}
    assert found["Truncations"] == {"namespaces": True}
    assert search(stocked, "x", "namespaces").json()["Matches"] == {"namespaces": None}


def test_only_namespaces_in_which_the_token_has_a_right_are_found(stocked: Running) -> None:
    rules = 'namespace "default" { policy = "read" } namespace "team-07" { policy = "read" }'
    secret = holder(stocked, rules)
    found = search(stocked, "team-", "namespaces", secret).json()
    assert found["Matches"] == {"namespaces": ["team-07"]}
    assert found["Truncations"] == {"namespaces": False}


def test_a_context_that_the_token_may_not_read_is_not_searched(stocked: Running) -> None:
    nodes = stocked.tokens[Need.NODE_READ]
    assert set(search(stocked, "", "all", nodes).json()["Matches"]) == {"nodes"}
    assert search(stocked, "", "namespaces", nodes).status_code == 403
    assert search(stocked, "", "jobs", nodes).status_code == 403
    assert search(stocked, "", "all", stocked.tokens[Need.OPERATOR_WRITE]).status_code == 403
