"""What the routes answer is what the OpenAPI document says they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import schemathesis
from schemathesis.core.failures import Failure

from bellcow.acl.rights import Need
from bellcow.api import openapi

if TYPE_CHECKING:
    from tests.routes.conftest import Running

DOCUMENT = openapi.document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
READS = [
    path
    for path, methods in DOCUMENT["paths"].items()
    if "get" in methods and path not in {"/v1/agent/monitor", "/v1/agent/keyring/list"}
]
# Nothing of these exists before there are jobs.
NOTHING_TO_FIND = {
    "/v1/allocation/{id}",
    "/v1/deployment/{id}",
    "/v1/evaluation/{id}",
    "/v1/job/{id}",
    "/v1/node/{id}",
    "/v1/plugin/csi/{id}",
    "/v1/scaling/policy/{id}",
    "/v1/volume/csi/{id}",
}
WRITES = {
    "/v1/acl/policy/{name}": ("written", {"Name": "written", "Rules": 'node { policy = "read" }'}),
    "/v1/acl/token": ("", {"Name": "written", "Type": "client", "Policies": ["written"]}),
    "/v1/namespace/{name}": ("written", {"Name": "written"}),
    "/v1/operator/autopilot/configuration": ("", {"MaxTrailingLogs": 250}),
    "/v1/operator/scheduler/configuration": ("", {"SchedulerAlgorithm": "spread"}),
}


def named(server: Running, path: str) -> str:
    """The path with the name of something that exists in place of its tail."""
    if not path.endswith("}"):
        return path
    token = server.ask("GET", "/v1/acl/token/self", token=server.tokens[Need.MANAGEMENT]).json()
    names = {
        "accessor": token["AccessorID"],
        "id": token["AccessorID"],
        "profile": "cmdline",
        "policy": "agent-read",
        "namespace": "default",
    }
    start, _, name = path.rstrip("}").rpartition("{")
    return start + names[name if name in names else start.rstrip("/").rpartition("/")[2]]


@pytest.mark.parametrize("path", READS)
def test_a_read_answers_as_documented(server: Running, path: str) -> None:
    asked = named(server, path)
    answer = server.ask("GET", asked, token=server.tokens[Need.MANAGEMENT])
    if path in {"/v1/agent/servers", "/v1/event/stream"}:
        assert answer.status_code == 501
        return
    if path in NOTHING_TO_FIND:
        assert answer.status_code == 404
        return
    assert answer.status_code == 200
    documented = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]
    assert list(documented) == [answer.headers["content-type"]]
    if "application/json" in documented:
        SCHEMA[path]["GET"].validate_response(answer)


@pytest.mark.parametrize("path", WRITES)
def test_a_write_takes_and_answers_as_documented(server: Running, path: str) -> None:
    name, body = WRITES[path]
    schema = DOCUMENT["paths"][path]["put"]["requestBody"]["content"]["application/json"]["schema"]
    properties = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
    assert set(body) <= set(properties)
    asked = path.rpartition("{")[0] + name if name else path
    answer = server.ask("PUT", asked, body, token=server.tokens[Need.MANAGEMENT])
    assert answer.status_code == 200, answer.text
    SCHEMA[path]["PUT"].validate_response(answer)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/operator/license"), ("PUT", "/v1/acl/token")]
)
def test_a_refusal_is_documented(server: Running, method: str, path: str) -> None:
    answer = server.ask(method, path, {})
    assert answer.status_code == 403
    SCHEMA[path][method].validate_response(answer)


def test_a_wrong_answer_would_be_noticed(server: Running) -> None:
    answer = server.ask("GET", "/v1/operator/license", token=server.tokens[Need.MANAGEMENT])
    broken = msgspec.json.encode({**answer.json(), "LastIndex": "seven"})
    answer._content = broken
    with pytest.raises(Failure, match="schema"):
        SCHEMA["/v1/operator/license"]["GET"].validate_response(answer)
