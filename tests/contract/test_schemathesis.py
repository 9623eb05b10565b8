"""Requests made at random from the OpenAPI document, good and bad, against a live agent.

Every answer has a status and a form that the document names, and none is a fault of the server but
for those that the API itself calls so.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.harness import Agent

from bellcow.api.openapi import document

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.generation import GenerationMode

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

EXAMPLES = 16  # of each operation, good ones and as many bad ones: about a minute in all
LEFT_OUT = {
    "/v1/agent/join": "it dials any address that it is told",
    "/v1/agent/monitor": "its answer has no end",
}
ASKED_ELSEWHERE = {"/v1/status/leader", "/v1/operator/scheduler/configuration"}
NOT_OFFERED = {"/v1/agent/pprof/{profile}", "/v1/agent/servers", "/v1/event/stream"}
STATUSES = {200, 204, 301, 307, 400, 403, 404, 405, 409, 413, 415, 429, 500, 501}
# The refusals to which the API gives the status 500, by their words.
NAMED_FAULTS = re.compile(
    r"No path to region$"
    r"|(id|address) \".*\" was not found in the Raft configuration$"
    r"|Need at least one voter in configuration: "
    r"|(acl token|alloc|deployment|eval|node) lookup failed: "
    r"|unknown Nomad server "
    r"|context must be one of \["
    r"|namespace \".*\" using non-existent quota "
    r"|can not delete default namespace$"
    r"|Invalid namespace "
    r"|Request body is empty$|EOF$|unexpected EOF$|invalid character |json: cannot unmarshal "
    r"|exceeded max depth$"
    r"|failed to restore from snapshot: "
    r"|\d+/\d+ nodes reported failure$"
    r"|\{\"client\":\{.*\"client not enabled\"",
    re.DOTALL,
)
SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = {
    each.label: each
    for each in (result.ok() for result in SCHEMA.get_all_operations())
    if each.path not in LEFT_OUT
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, str]]:
    settings = {"acl": {"enabled": True}, "limits": {"http_max_conns_per_client": 0}}
    with Agent(tmp_path_factory.mktemp("agent"), settings) as started:
        yield started, started.bootstrap()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_those_of_the_document(
    label: str, mode: GenerationMode, agent: tuple[Agent, str]
) -> None:
    server, token = agent
    operation = OPERATIONS[label]

    @seed(20261123)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if "region" in (case.query or {}) and case.path not in ASKED_ELSEWHERE:
            case.query["region"] = "global"  # else hardly any request comes further than that
        if "wait" in (case.query or {}) or "index" in (case.query or {}):
            case.query["wait"] = "5ms"  # long enough to wait, short enough to end
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response = case.call(
                base_url=server.url,
                headers={"X-Nomad-Token": token},
                timeout=10,
                allow_redirects=False,
            )
            check(case, response)

    try:
        ask()
    except Exception as error:
        # Where nothing can be wrong there is nothing to try.
        if type(error).__name__ in {"Unsatisfiable", "SkipTest"}:
            pytest.skip(f"no {mode.value} request can be made for it")
        raise
    assert server.process is not None
    assert server.process.poll() is None
    assert "Traceback" not in server.log


def check(case: Any, response: Any) -> None:
    text = response.content.decode("utf-8", "replace")
    assert response.status_code in STATUSES, (response.status_code, text[:300])
    if response.status_code == 501:
        assert case.path in NOT_OFFERED
    elif response.status_code >= 500:
        assert NAMED_FAULTS.match(text), text[:300]
    if response.status_code == 200:
        case.validate_response(
            response, checks=[schemathesis.checks.CHECKS.get_one("response_schema_conformance")]
        )
