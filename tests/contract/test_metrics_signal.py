"""SIGUSR1, as operators of Nomad know it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness import Agent


def test_usr1_writes_the_metrics_and_the_server_keeps_running(
    start_agent: Callable[..., Agent],
) -> None:
    agent = start_agent()
    assert agent.process is not None
    agent.process.send_signal(signal.SIGUSR1)
    until(lambda: "[G] 'nomad.raft.appliedIndex':" in agent.log_path.read_text(), "the metrics")
    assert agent.get("/v1/status/leader").status == 200
    assert agent.process.poll() is None
