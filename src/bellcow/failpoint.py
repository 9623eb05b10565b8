"""Named points at which a test lets the process die, or stop. Off unless the environment says so.

It names a point, or with `@FILE` a file that holds one, so that a running process can be armed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

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

STOP = ":stop"  # after the name of a point: stop there, till somebody lets the process go on

_armed = os.environ.get(VARIABLE, "")


def reach(point: str) -> None:
    """Die here without a last word, or stop, if this is the point that was named."""
    if point not in (*POINTS, *FOUND_POINTS):
        raise ValueError(f"{point} is not in the list of fail-points")
    if not _armed:
        return
    named = _read(Path(_armed[1:])) if _armed.startswith("@") else _armed
    if named == point:
        os.kill(os.getpid(), signal.SIGKILL)
    if named == point + STOP:
        os.kill(os.getpid(), signal.SIGSTOP)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
