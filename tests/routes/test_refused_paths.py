"""Paths that only refuse, in words: Enterprise, the event stream, the root keyring, job writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.routes.conftest import Running


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/v1/quotas", "/v1/quota/x", "/v1/quota-usages", "/v1/sentinel/policies"]
)
def test_enterprise_paths_answer_everyone_as_the_free_edition_does(
    server: Running, method: str, path: str
) -> None:
    answer = server.ask(method, path)
    assert (answer.status_code, answer.text) == (501, "Nomad Enterprise only endpoint")


def test_the_event_stream_is_refused_in_words(server: Running) -> None:
    answer = server.ask("GET", "/v1/event/stream?topic=ACLToken:*")
    assert answer.status_code == 501
    assert answer.text.startswith("the event stream is not supported yet")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/jobs"),
        ("POST", "/v1/jobs/parse"),
        ("POST", "/v1/validate/job"),
        ("DELETE", "/v1/job/web"),
        ("PUT", "/v1/job/web/dispatch"),
        ("PUT", "/v1/node/n/drain"),
    ],
)
def test_writes_of_the_job_side_are_refused_in_words(
    server: Running, method: str, path: str
) -> None:
    answer = server.ask(method, path, {})
    assert answer.status_code == 501
    assert answer.text.startswith("jobs are not supported yet")


def test_the_keys_of_workload_identities_are_an_empty_list(server: Running) -> None:
    answer = server.ask("GET", "/.well-known/jwks.json")
    assert (answer.status_code, answer.text) == (200, '{"keys":[]}')
    answer = server.ask("PUT", "/v1/operator/keyring/rotate?full=1")
    assert answer.status_code == 501
    assert answer.text.startswith("there is no root keyring")
