"""A running thread does not keep the process alive.

Each test uses a process of its own: threads of other tests may still run in this one.
"""

from __future__ import annotations

import subprocess
import sys

START = """
import threading
from bellcow.agent.threads import end_despite_threads
from bellcow.clock import SystemClock
clock, free = SystemClock(), threading.Event()
worker = threading.Thread(target=free.wait)
worker.start()
print("said")
"""
ENDLESS = """
end_despite_threads(3, clock, clock.monotonic() + 0.1)
print("never")
"""
IN_TIME = """
threading.Timer(0.05, free.set).start()
end_despite_threads(3, clock, clock.monotonic() + 30.0)
print(worker.is_alive())
"""


def ended(script: str) -> tuple[int, str]:
    """Its status, and what it has printed."""
    done = subprocess.run(
        [sys.executable, "-c", START + script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_process_ends_with_its_status_though_a_thread_works_on():
    assert ended(ENDLESS) == (3, "said\n")


def test_threads_that_end_in_time_are_waited_for():
    assert ended(IN_TIME) == (0, "said\nFalse\n")
