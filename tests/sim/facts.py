"""What a simulated server knows of the agent around it: there is none."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bellcow.agent.log import Log
from bellcow.agent.metrics import Metrics
from bellcow.events import Level
from bellcow.server import Facts

if TYPE_CHECKING:
    from bellcow.clock import Clock


def no_facts(clock: Clock) -> Facts:
    return Facts(
        dev=False,
        files=(),
        advertised={},
        log=Log(clock, Level.ERROR, out=io.StringIO()),
        metrics=Metrics(clock, host="", prometheus=False),
        tasks=lambda: 0,
    )
