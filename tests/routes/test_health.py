"""The health of servers while autopilot knows of none, as clients see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.acl.rights import Need
from bellcow.model.autopilot import ClusterHealth

if TYPE_CHECKING:
    from tests.routes.conftest import Running


def test_a_cluster_that_is_not_healthy_is_429_in_json(server: Running) -> None:
    autopilot = server.server.autopilot
    known, autopilot.health = autopilot.health, ClusterHealth()
    answer = server.ask(
        "GET", "/v1/operator/autopilot/health", token=server.tokens[Need.MANAGEMENT]
    )
    autopilot.health = known
    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/json"
    assert (answer.json()["Healthy"], answer.json()["Servers"]) == (False, None)
