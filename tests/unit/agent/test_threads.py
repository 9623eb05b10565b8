"""A thread that works on does not keep the process alive."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from bellcow.agent.threads import end_despite_threads
from bellcow.clock import SystemClock

ENDLESS = """
import threading
from bellcow.agent.threads import end_despite_threads
from bellcow.clock import SystemClock
clock = SystemClock()
threading.Thread(target=threading.Event().wait).start()
print("said")
end_despite_threads(3, clock, clock.monotonic() + 0.1)
print("never")
"""


def test_process_ends_with_its_status_though_a_thread_works_on():
    ended = subprocess.run(
        [sys.executable, "-c", ENDLESS], capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (3, b"said\n")


def test_threads_that_end_in_time_are_waited_for():
    clock, free = SystemClock(), threading.Event()
    workers = ThreadPoolExecutor(1)
    working = workers.submit(free.wait)
    workers.shutdown(wait=False)
    threading.Timer(0.05, free.set).start()
    end_despite_threads(1, clock, clock.monotonic() + 30.0)
    assert working.done()
