"""Errors as clients read them and as the log shows them."""

from __future__ import annotations

from typing import Any

import pytest

from bellcow.api.message import Request, Response
from bellcow.api.pipeline.refusal import LOGGED_CHARS, MESSAGE_CHARS, masked, refusal
from bellcow.errors import Code, Error, no_leader, refused
from bellcow.model.forwarded import LAST_HOP

SECRET = "11111111-2222-3333-4444-555555555555"
EXTRA = [(b"X-Extra", b"1")]


class Site:
    """The parts of a server that a refusal looks at."""

    def __init__(self) -> None:
        self.lifecycle = self.exchange = self
        self.events: list[tuple[str, dict[str, Any]]] = []

    def report(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    def troubles(self) -> dict[str, dict[str, object]]:
        return {"join_unanswered": {"address": "a:1"}}


def asked(path: str = "/v1/x", hops: int = 0) -> Request:
    return Request("GET", path, path.encode(), b"", [], "1.2.3.4", hops=hops)


def answered(error: Exception, request: Request | None = None) -> Response:
    return refusal(Site(), request or asked(), error, EXTRA)  # type: ignore[arg-type]


def test_refusal_without_a_leader_says_why_and_when_to_come_back():
    response = answered(no_leader())
    headers = dict(response.headers)
    assert (response.status, response.body) == (500, b"No cluster leader")
    assert headers[b"Retry-After"] == b"1"
    assert b"a:1" in headers[b"X-Bellcow-Reason"]
    assert headers[b"X-Extra"] == b"1"
    assert response.undone is not None


@pytest.mark.parametrize(
    ("code", "close"), [(Code.TIMEOUT, True), (Code.TOO_LARGE, True), (Code.INVALID, False)]
)
def test_connection_ends_where_the_rest_of_a_body_may_still_come(code: Code, close: bool):
    assert answered(Error(code, "x")).close is close


@pytest.mark.parametrize(
    ("path", "hops", "text"),
    [
        ("/v1/x", 0, b"no"),
        ("/v1/x", LAST_HOP, b"rpc error: no"),
        ("/v1/operator/snapshot", LAST_HOP, b"no"),
    ],
)
def test_plain_error_of_another_server_has_a_prefix_but_for_snapshots(
    path: str, hops: int, text: bytes
):
    assert answered(refused("no"), asked(path, hops)).body == text


def test_message_is_cut_and_its_control_characters_are_escaped():
    assert answered(refused("a\x1bb\n\tc\x00")).body == b"a\\x1bb\n\tc\\x00"
    assert answered(refused("x" * (MESSAGE_CHARS + 1))).body == b"x" * MESSAGE_CHARS + b"..."


def test_bug_shows_the_client_nothing_and_the_log_everything():
    site, error = Site(), ValueError("inner")
    response = refusal(site, asked(), error, EXTRA)  # type: ignore[arg-type]
    assert (response.status, response.body) == (500, b"internal error; the server's log has more")
    assert site.events == [
        ("request_failed", {"method": "GET", "path": "/v1/x", "exc_info": error})
    ]


def test_log_shows_no_secret_that_was_sent_in_place_of_an_accessor():
    path = f"/v1/acl/token/{SECRET}"
    assert masked(asked(path), path) == "/v1/acl/token/11111111-..."
    assert masked(asked("/v1/x"), SECRET) == SECRET
    assert len(masked(asked(), "x" * 999)) == LOGGED_CHARS
