"""What every declared route keeps to, one loop over the table: a new route is covered at once.

That a route answers the same through a follower as at the leader is asked with two servers, in
tests/unit/api/internal/test_forward.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from bellcow.acl.rights import Need
from bellcow.api.message import Response
from bellcow.api.route import Serve
from bellcow.api.routes import catalog

if TYPE_CHECKING:
    from tests.routes.conftest import Running

    from bellcow.api.route import Route

DOCS = Path(__file__).parents[2] / "docs" / "api"
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW")
UNKNOWN = "11111111-2222-3333-4444-555555555555"
ROUTES = catalog.routes()
BY_PATH: dict[str, list[Route]] = {}
for _route in ROUTES:
    BY_PATH.setdefault(_route.path, []).append(_route)

# Routes that ask for no right, each with the reason. Nothing else may be open.
OPEN = {
    "bootstrap": "makes the first token",
    "list_client_servers": "says that this is no client",
    "list_public_keys": "open, and empty",
    "read_events": "refuses everything",
    "refuse_enterprise": "refuses everything",
    "refuse_job_write": "refuses everything",
    "refuse_root_keyring": "refuses everything",
    "list_peers": "open, for those who look for the servers",
    "list_regions": "open, for those who look for the servers",
    "read_file": "the page itself holds nothing",
    "read_health": "open, for load balancers",
    "read_leader": "open, for those who look for the servers",
    "redirect_to_page": "leads to the page",
    "refuse_other_raft_path": "refuses everything",
}
# Routes whose handler judges the token, by what is asked for: the table names the right in words.
JUDGED = {
    "list_namespaced": "asks for the capability in the namespace",
    "list_plugins": "asks for plugin:list",
    "read_allocation": "asks for any token, since it shows nothing yet",
    "read_deployment": "asks for the capability in the namespace",
    "read_evaluation": "asks for the capability in the namespace",
    "read_job": "asks for the capability in the namespace",
    "read_plugin": "asks for plugin:read",
    "read_scaling_policy": "asks for the capability in the namespace",
    "read_volume": "asks for the capability in the namespace",
    "search": "asks for node:read or any right in the namespace",
    "list_namespaces": "shows the namespaces that the token has a right in",
    "list_policies": "shows the policies that the token has",
    "read_metrics": "open unless telemetry.metrics_require_token is set",
    "read_namespace": "asks for any right in the namespace",
    "read_own_token": "shows the token that the request carries",
    "read_policy": "asks for management, or a token that has the policy",
    "read_token": "asks for management, or the token itself",
}
# What keeps a request harmless, or short, where its method and path alone would not.
QUERY = {"monitor": "?log_level=none"}


def _id(route: Route) -> str:
    return f"{route.method} {route.path}"


def _path(route: Route) -> str:
    """A path that the route takes, naming nothing that exists."""
    path = re.sub(r"\{\w+\}$", "nothing", route.path).removesuffix("*")
    return path + QUERY.get(route.name, "")


def _body(route: Route) -> dict[str, str] | None:
    """A body that can be read; bodies are looked at before tokens."""
    return {} if route.body is not None and route.body is not bytes else None


every_route = pytest.mark.parametrize("route", ROUTES, ids=_id)
guarded = pytest.mark.parametrize("route", [r for r in ROUTES if r.need != Need.ANONYMOUS], ids=_id)
documented = pytest.mark.parametrize("route", [r for r in ROUTES if r.documented], ids=_id)


# Rights. tests/contract/test_http_rights.py holds them once more, by hand.


@guarded
def test_a_token_without_the_right_is_refused(server: Running, route: Route) -> None:
    for secret in ("", server.tokens[Need.ANONYMOUS]):
        answer = server.ask(route.method, _path(route), _body(route), token=secret)
        assert (answer.status_code, answer.text) == (403, "Permission denied")


@guarded
def test_only_rights_that_include_the_declared_one_are_accepted(
    server: Running, route: Route
) -> None:
    includes = {
        Need.AGENT_READ: {Need.AGENT_WRITE},
        Need.NODE_READ: {Need.NODE_WRITE},
        Need.OPERATOR_READ: {Need.OPERATOR_WRITE},
        Need.LICENSE_READ: {Need.OPERATOR_READ, Need.OPERATOR_WRITE},
    }
    expected = {route.need, Need.MANAGEMENT} | includes.get(route.need, set())
    let_in = {
        need
        for need, secret in server.tokens.items()
        if server.ask(route.method, _path(route), _body(route), token=secret).status_code != 403
    }
    assert let_in == expected


@pytest.mark.parametrize("route", [r for r in ROUTES if r.token], ids=_id)
def test_an_unknown_token_is_refused_where_a_token_counts(server: Running, route: Route) -> None:
    expected = 400 if route.path == "/v1/operator/snapshot" else 403
    path = _path(route).partition("?")[0]
    answer = server.ask(route.method, path, _body(route), token=UNKNOWN)
    assert (answer.status_code, answer.text) == (expected, "ACL token not found")


@pytest.mark.parametrize("route", [r for r in ROUTES if r.need == Need.ANONYMOUS], ids=_id)
def test_a_route_that_declares_no_right_has_a_reason(route: Route) -> None:
    assert (route.name in OPEN, route.name in JUDGED) == (not route.right, bool(route.right))


def test_a_route_whose_handler_checks_the_right_declares_it() -> None:
    jobs = [route.asks for route in ROUTES if (route.method, route.path) == ("GET", "/v1/jobs")]
    assert jobs == ["list-jobs in the namespace"]


def test_the_list_of_open_routes_names_no_other() -> None:
    without = {route.name for route in ROUTES if route.need == Need.ANONYMOUS}
    assert {*OPEN, *JUDGED} == without


# Methods


@pytest.mark.parametrize("path", sorted(BY_PATH))
def test_wrong_methods_are_refused_as_declared(server: Running, path: str) -> None:
    routes = BY_PATH[path]
    for method in METHODS:
        if method in {route.method for route in routes}:
            continue
        # The method is looked at before the token: none is sent.
        answer = server.ask(method, _path(routes[0]))
        text = "" if method == "HEAD" else routes[0].wrong_method_text
        assert (answer.status_code, answer.text) == (routes[0].wrong_method, text), method
        assert "allow" not in answer.headers
        kind = "text/plain; charset=utf-8" if routes[0].wrong_method_text else None
        assert answer.headers.get("content-type") == kind


@pytest.mark.parametrize("path", sorted(BY_PATH))
def test_the_methods_of_a_path_agree_on_what_they_refuse(path: str) -> None:
    assert len({(r.wrong_method, r.wrong_method_text) for r in BY_PATH[path]}) == 1


# Declarations


@every_route
def test_a_route_declares_its_right_and_the_server_that_answers(route: Route) -> None:
    assert isinstance(route.need, Need)
    assert isinstance(route.serve, Serve)
    assert not (
        route.method != "GET" and route.serve in {Serve.LEADER_OR_STALE, Serve.VOTER_OR_STALE}
    )
    assert not (route.watch and route.serve is Serve.LOCAL)


@every_route
def test_a_route_has_a_summary_sentence(route: Route) -> None:
    assert re.match(r"[A-Z].+\.$", route.summary.partition("\n")[0]), route.summary


def page_of(route: Route) -> Path:
    """The page of the topic: modules of one topic are named TOPIC or TOPIC_PART."""
    module = route.handler.__module__.rpartition(".")[2]
    return DOCS / f"{module.partition('_')[0]}.md"


@documented
def test_a_route_has_a_heading_in_the_page_of_its_topic(route: Route) -> None:
    page = page_of(route)
    headings = re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)
    assert f"{route.method} {route.path.removesuffix('*')}" in headings


SERVED = {
    Serve.LOCAL: "local",
    Serve.LEADER: "leader",
    Serve.LEADER_OR_STALE: "leader or stale",
    Serve.VOTER_OR_STALE: "voter or stale",
    Serve.NAMED: "named server",
}


@documented
def test_a_route_is_documented_with_its_right_its_server_and_a_sample(route: Route) -> None:
    page = page_of(route)
    heading = f"\n## {route.method} {route.path.removesuffix('*')}\n"
    text = page.read_text("utf-8").partition(heading)[2].partition("\n## ")[0]
    if text.strip().startswith(("The same as ", "As GET")):
        return
    said = re.findall(r"^Right: (.+)", text, re.MULTILINE)
    assert said, "says no right"
    if route.need != Need.ANONYMOUS:
        assert route.need.value in said[0]
    by = re.findall(
        r"Answered by: ((?:leader|voter) or stale|leader|local|named server)\b", text
    ) or ["local"]
    assert by == [SERVED[route.serve]]
    assert ("; waits." in text) == bool(route.watch)
    assert "```" in text


def test_every_heading_of_the_pages_is_a_route() -> None:
    routes = {f"{r.method} {r.path.removesuffix('*')}" for r in ROUTES}
    for page in DOCS.glob("*.md"):
        headings = re.findall(r"^## ([A-Z]+ /.*)$", page.read_text("utf-8"), re.MULTILINE)
        assert set(headings) <= routes, page.name


# Answers


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=_id)
def test_pretty_changes_the_form_and_nothing_else(server: Running, route: Route) -> None:
    secret = server.tokens[Need.MANAGEMENT]
    path = _path(route)
    plain = server.ask("GET", path, token=secret)
    shown = server.ask("GET", f"{path}{'&' if '?' in path else '?'}pretty", token=secret)
    assert shown.status_code == plain.status_code
    assert shown.headers.get("content-type") == plain.headers.get("content-type")
    if shown.headers.get("content-type") == "application/json":
        assert shown.text.endswith("\n")
        assert not plain.text.endswith("\n")
        assert _shape(shown.json()) == _shape(plain.json())


def _shape(value: object) -> object:
    """Keys without values: figures differ from one moment to the next."""
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shape(each) for each in value]
    return type(value).__name__ if not isinstance(value, (int, float)) else "number"


@every_route
def test_no_route_fails_from_within(server: Running, route: Route) -> None:
    answer = server.ask(
        route.method, _path(route), _body(route), token=server.tokens[Need.MANAGEMENT]
    )
    assert "internal error" not in answer.text


@pytest.mark.parametrize("route", [r for r in ROUTES if r.serve is not Serve.LOCAL], ids=_id)
def test_a_region_that_is_not_ours_is_refused(server: Running, route: Route) -> None:
    path = _path(route)
    answer = server.ask(
        route.method,
        f"{path}{'&' if '?' in path else '?'}region=elsewhere",
        _body(route),
        token=server.tokens[Need.MANAGEMENT],
    )
    assert (answer.status_code, answer.text) == (500, "No path to region")


# The body of an answer to HEAD is left out behind the pipeline's first door.
@pytest.mark.parametrize(
    "route", [r for r in ROUTES if not r.awaits and r.method != "HEAD"], ids=_id
)
def test_both_paths_of_the_pipeline_answer_alike(server: Running, route: Route) -> None:
    request = server.request(route.method, _path(route), token=server.tokens[Need.MANAGEMENT])
    at_once = server.answer_now(request)
    awaited = server.answer(request)
    assert isinstance(at_once, Response)
    assert at_once.status == awaited.status
    assert at_once.headers == awaited.headers
    if at_once.body != awaited.body:
        first, second = (msgspec.json.decode(each.body) for each in (at_once, awaited))
        assert {k for k in first if first[k] != second[k]} <= {"stats", "Gauges", "Timestamp"}
