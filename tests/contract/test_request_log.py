"""The line that each request leaves in the log at level DEBUG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness import Agent

COMPLETE = "[DEBUG] http: request complete: method=GET path=/v1/agent/self duration="


def test_each_request_is_logged_as_nomad_logs_it(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent()
    agent.get("/v1/agent/self")
    agent.get("/v1/nodes?index=1&wait=1ms")
    agent.put("/v1/agent/join?address=", b"")
    wanted = (COMPLETE, "method=GET path=/v1/nodes ", "path=/v1/agent/join")
    until(lambda: all(part in agent.log for part in wanted), "the three requests")
    log = agent.log
    assert log.count("method=GET path=/v1/nodes ") == 1
    assert "wait=" not in log


def test_request_is_not_logged_above_the_level_debug(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent({"log_level": "INFO"})
    agent.get("/v1/agent/self")
    assert "request complete" not in agent.log_path.read_text()
