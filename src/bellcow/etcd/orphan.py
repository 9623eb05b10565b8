"""Ends an etcd process that an earlier bellcow left running, before a new one starts.

The process is known by its id in `etcd.pid` and its working directory. Another program at the
socket is not touched.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from bellcow.deadline import timeout
from bellcow.etcd.flags import SOCKET
from bellcow.etcd.version import CannotRun
from bellcow.etcd.watchdog import PID_FILE, TERMINATE_S

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_S = 1.0
LOOK_S = 0.02


async def end_orphan(directory: Path) -> bool:
    """End an etcd that still runs in `directory`. True when there was one.

    Raises:
        CannotRun: another program answers at the socket, or the old etcd does not end.
    """
    orphan = _find(directory)
    if orphan is not None:
        await _end(orphan)
    elif await _answers(directory / SOCKET):
        raise CannotRun(
            f"another program answers at {directory / SOCKET}, not an etcd that bellcow started: "
            f"stop that program, or choose another data_dir"
        )
    (directory / SOCKET).unlink(missing_ok=True)
    return orphan is not None


def _find(directory: Path) -> psutil.Process | None:
    """The process of `etcd.pid`, if this directory is its working directory."""
    try:
        process = psutil.Process(int((directory / PID_FILE).read_text("ascii")))
        here = process.cwd() == str(directory.resolve())
    except (OSError, ValueError, psutil.Error):
        return None
    return process if here and process.status() != psutil.STATUS_ZOMBIE else None


async def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        if not await _ends(process):
            process.kill()
            if not await _ends(process):
                raise CannotRun(
                    f"an earlier etcd, process {process.pid}, is still running and cannot be killed"
                )


async def _ends(process: psutil.Process) -> bool:
    """Whether it ends in time. A zombie has ended: in a container no parent may collect it."""
    for _ in range(round(TERMINATE_S / LOOK_S)):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(LOOK_S)
    return False


async def _answers(path: Path) -> bool:
    try:
        async with timeout(ANSWER_S):
            _, writer = await asyncio.open_unix_connection(str(path))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
