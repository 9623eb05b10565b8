"""Threads at the end of the agent: they may work for longer than a stop may take."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bellcow.clock import Clock


def end_despite_threads(status: int, clock: Clock, until: float) -> None:
    """Wait for all threads; when `until` (monotonic seconds) comes first, end the process.

    Python itself would wait for them without end. By now nothing needs them: what was acknowledged
    is on disk, files are closed, and what a thread leaves half done is cleared at the next start.
    """
    others = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.current_thread() and not thread.daemon
    ]
    for thread in others:
        thread.join(max(0.0, until - clock.monotonic()))
    if any(thread.is_alive() for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
