"""What to do about a refusal."""

from __future__ import annotations

import pytest

from bellcow.cli.shell import hints


@pytest.mark.parametrize(
    ("status", "text", "sent", "word"),
    [
        (403, "Permission denied", False, "set BELLCOW_TOKEN or give -token"),
        (403, "Permission denied", False, "acl bootstrap"),
        (403, "rpc error: Permission denied", True, "acl token self"),
        (403, "ACL token not found", True, "Secret ID, and not the Accessor ID"),
        (500, "No cluster leader", True, "list-peers -stale"),
        (500, "Need at least one voter in configuration: {[]}", True, "the last voter"),
        (400, "Client sent an HTTP request to an HTTPS server.\n", False, "https://"),
        (404, "nothing of this name between servers: GET", False, "4646"),
        (500, "acl token lookup failed: index error: UUID must be 36 characters", True, "looks"),
    ],
)
def test_refusal_has_a_hint(status: int, text: str, sent: bool, word: str) -> None:
    assert word in hints.of_answer(status, text, token_sent=sent)


def test_unknown_refusal_has_no_hint() -> None:
    assert hints.of_answer(500, "something else", token_sent=True) == ""


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("dial tcp 10.0.0.1:4646: connect: connection refused", "Is it running"),
        ("dial tcp: lookup nope: no such host", "name of the host"),
        ("dial tcp 10.0.0.1:4646: connect: no route to host", "is the machine up"),
        ("dial tcp 10.0.0.1:4646: i/o timeout", "is the machine up"),
        ("http: server gave HTTP response to HTTPS client", "http://"),
    ],
)
def test_request_without_an_answer_has_a_hint(reason: str, word: str) -> None:
    assert word in hints.of_failure(reason, "http://10.0.0.1:4646", default=False)


def test_default_address_has_a_hint_of_its_own() -> None:
    reason = "dial tcp 127.0.0.1:4646: connect: connection refused"
    assert "BELLCOW_ADDR" in hints.of_failure(reason, "http://127.0.0.1:4646", default=True)


def test_regions_that_are_known_are_named() -> None:
    assert hints.of_regions(["east", "global"]) == "The regions known there: east, global."
    assert hints.of_regions([]) == ""
