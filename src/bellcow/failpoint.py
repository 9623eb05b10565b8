"""Named points at which a test lets the process die. Off unless the environment names one."""

from __future__ import annotations

import os
import signal

VARIABLE = "BELLCOW_FAIL_POINT"
POINTS = (
    "restore-received",
    "restore-verified",
    "restore-archived",
    "restore-generation-taken",
    "restore-first-chunk-staged",
    "restore-staged",
    "restore-switched",
    "restore-first-slice-dropped",
    "restore-done",
    "save-written",
)
FOUND_POINTS = (
    "found-started",
    "found-first-chunk-staged",
    "found-staged",
    "found-committed",
    "found-stopped",
    "found-complete",
    "found-old-aside",
    "found-renamed",
    "found-copy-aside",
    "found-place-taken",
)

_armed = os.environ.get(VARIABLE, "")


def reach(point: str) -> None:
    """Die here, without a last word, if this is the point the environment names."""
    if point not in (*POINTS, *FOUND_POINTS):
        raise ValueError(f"{point} is not in the list of fail-points")
    if point == _armed:
        os.kill(os.getpid(), signal.SIGKILL)
