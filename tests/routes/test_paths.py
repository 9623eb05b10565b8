"""Paths that are no route: unknown ones, folders, and ones that are not clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.routes.conftest import Running


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/operator",
        "/v1/operator/license/",
        "/v1/operator/snapshot/more",
        "/v1/Operator/license",
        "/v2/operator/license",
        "/v1/operator/autopilot/health%00",
        "/v1/operator/autopilot/configuration/",
    ],
)
def test_an_unknown_path_is_404_without_a_body(server: Running, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = server.ask(method, path)
        assert (answer.status_code, answer.content) == (404, b"")
        assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/operator/raft", "/v1/operator/raft/"),
        ("/v1/acl/policy", "/v1/acl/policy/"),
        ("/ui", "/ui/"),
        ("/v1//operator/license", "/v1/operator/license"),
        ("/v1/operator/./license", "/v1/operator/license"),
        ("/v1/operator/../operator/license?pretty", "/v1/operator/license?pretty"),
        ("/v1/operator/raft/../../status/leader", "/v1/status/leader"),
    ],
)
def test_a_folder_or_an_unclean_path_is_sent_on(server: Running, path: str, target: str) -> None:
    # A client would tidy the path up before it sends it, so it goes past httpx.
    answer = server.answer(server.request("GET", path))
    assert (answer.status, dict(answer.headers)[b"Location"].decode()) == (301, target)
    assert answer.body == f'<a href="{target}">Moved Permanently</a>.\n\n'.encode()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_the_root_leads_to_the_page_whatever_the_method(server: Running, method: str) -> None:
    answer = server.ask(method, "/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")


@pytest.mark.parametrize("path", ["/ui/", "/ui/jobs", "/ui/settings/tokens"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_link_into_the_page_finds_the_page(server: Running, method: str, path: str) -> None:
    answer = server.ask(method, path)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")
    assert (b"<!doctype html>" in answer.content) == (method == "GET")


@pytest.mark.parametrize("path", ["configuration", "configuration/", "configurationXYZ"])
def test_path_that_begins_like_the_raft_configuration_is_answered_as_it(
    server: Running, path: str
) -> None:
    answer = server.ask("GET", f"/v1/operator/raft/{path}")
    assert (answer.status_code, answer.text) == (403, "Permission denied")


def test_another_raft_path_is_an_invalid_method(server: Running) -> None:
    answer = server.ask("GET", "/v1/operator/raft/elsewhere")
    assert (answer.status_code, answer.text) == (404, "Invalid method")
