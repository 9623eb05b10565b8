"""The end of the process when worker threads still run."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bellcow.clock import Clock


def end_despite_threads(status: int, clock: Clock, until: float) -> None:
    """Wait for all threads until `until` (monotonic seconds), then exit with `status`.

    Python itself would wait for them without a limit. Exiting is safe: acknowledged writes are on
    disk, files are closed, and the next start removes partial files.
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
