"""Named points at which a test kills or stops the process. Off unless the environment sets one.

BELLCOW_FAIL_POINT names a point, or with `@FILE` a file with the name, so that a running process
can be armed.
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
REBUILD_POINTS = (
    "rebuild-started",
    "rebuild-first-chunk-staged",
    "rebuild-staged",
    "rebuild-committed",
    "rebuild-stopped",
    "rebuild-complete",
    "rebuild-old-aside",
    "rebuild-renamed",
    "rebuild-copy-aside",
    "rebuild-recorded",
)

STOP = ":stop"  # after the name of a point: stop there until SIGCONT

_armed = os.environ.get(VARIABLE, "")


def reach(point: str) -> None:
    """Kill or stop this process if `point` is armed.

    Raises:
        ValueError: the point is not in the list.
    """
    if point not in (*POINTS, *REBUILD_POINTS):
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
