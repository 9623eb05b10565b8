"""How routes are declared and found."""

from __future__ import annotations

import pytest

from bellcow.acl.rights import Need
from bellcow.api import route as module
from bellcow.api.route import Paths, Route, Serve, route


def made(path: str, method: str = "GET") -> Route:
    return Route(
        method=method,
        path=path,
        need=Need.ANONYMOUS,
        serve=Serve.LOCAL,
        handler=lambda call: call,
        summary=path,
    )


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> list[Route]:
    """An empty table in place of the real one."""
    routes: list[Route] = []
    monkeypatch.setattr(module, "ROUTES", routes)
    return routes


# Declaring


def test_one_declaration_of_two_methods_makes_two_routes(table: list[Route]):
    @route("PUT, POST", "/v1/thing", need=Need.MANAGEMENT, serve=Serve.LEADER)
    def put_thing(call: object) -> None:
        """Put it."""

    assert [(r.method, r.path, r.name) for r in table] == [
        ("PUT", "/v1/thing", "put_thing"),
        ("POST", "/v1/thing", "put_thing"),
    ]
    assert {r.summary for r in table} == {"Put it."}
    assert not table[0].awaits


def test_body_reply_and_awaiting_are_read_off_the_handler(table: list[Route]):
    @route("PUT", "/v1/thing", need=Need.MANAGEMENT, serve=Serve.LEADER)
    async def put_thing(call: object, body: bytes) -> bool:
        """Put it."""
        return bool(body)

    assert (table[0].body, table[0].reply, table[0].awaits) == (bytes, bool, True)


def test_the_same_method_on_the_same_path_twice_is_an_error(table: list[Route]):
    def handler(call: object) -> None:
        """Do."""

    route("GET, PUT", "/v1/thing", need=Need.ANONYMOUS, serve=Serve.LOCAL)(handler)
    with pytest.raises(ValueError, match="PUT /v1/thing is declared twice"):
        route("POST, PUT", "/v1/thing", need=Need.ANONYMOUS, serve=Serve.LOCAL)(handler)


def test_a_right_cannot_be_forgotten(table: list[Route]):
    def handler(call: object) -> None:
        """Do."""

    with pytest.raises(TypeError, match="need"):
        route("GET", "/v1/thing", serve=Serve.LOCAL)(handler)
    assert table == []


# Finding


def test_a_literal_path_is_found_by_nothing_but_itself():
    paths = Paths([made("/v1/thing")])
    assert paths.find("/v1/thing")[1] == ""
    assert paths.find("/v1/thing/") is None
    assert paths.find("/v1/things") is None
    assert paths.find("/V1/thing") is None


def test_a_tail_takes_all_the_rest():
    paths = Paths([made("/v1/thing/{name}")])
    assert paths.find("/v1/thing/a")[1] == "a"
    assert paths.find("/v1/thing/a/b")[1] == "a/b"
    assert paths.find("/v1/thing/")[1] == ""
    assert paths.find("/v1/thing") is None


def test_a_star_takes_what_begins_so_and_the_path_itself():
    paths = Paths([made("/v1/raft/peer*")])
    assert paths.find("/v1/raft/peer")[0].keys() == {"GET"}
    assert paths.find("/v1/raft/peers") is not None
    assert paths.find("/v1/raft/pee") is None


def test_a_literal_path_goes_before_a_tail_and_the_longest_tail_before_a_short_one():
    paths = Paths([made("/a/{x}"), made("/a/b"), made("/a/b/{y}")])
    assert paths.find("/a/b")[0]["GET"].path == "/a/b"
    assert paths.find("/a/b/c")[0]["GET"].path == "/a/b/{y}"
    assert paths.find("/a/c")[0]["GET"].path == "/a/{x}"


def test_the_methods_of_a_path_are_found_together():
    paths = Paths([made("/a"), made("/a", "PUT"), made("/b", "DELETE")])
    assert paths.find("/a")[0].keys() == {"GET", "PUT"}


def test_only_a_path_with_names_below_it_is_a_folder():
    paths = Paths([made("/a/{x}"), made("/b"), made("/c/peer*")])
    assert paths.is_folder("/a")
    assert not paths.is_folder("/b")
    assert not paths.is_folder("/c")
