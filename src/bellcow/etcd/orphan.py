"""Ends a member that an earlier process of ours left behind, before another one starts.

It is known by its directory and its id in `etcd.pid`; a stranger at our socket is left alone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from bellcow.deadline import timeout
from bellcow.etcd.flags import SOCKET
from bellcow.etcd.guard import PATIENCE_S, PID_FILE
from bellcow.etcd.version import CannotRun

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_S = 1.0
LOOK_S = 0.02


async def end_orphan(directory: Path) -> bool:
    """Make room for a new member in `directory`. True when there was an old one to end.

    Raises:
        CannotRun: another program answers at the socket, or the old member does not end.
    """
    orphan = _find(directory)
    if orphan is not None:
        await _end(orphan)
    elif await _answers(directory / SOCKET):
        raise CannotRun(
            f"something answers at {directory / SOCKET}, and it is not an etcd that bellcow "
            f"started here: stop it, or choose another data_dir"
        )
    (directory / SOCKET).unlink(missing_ok=True)
    return orphan is not None


def _find(directory: Path) -> psutil.Process | None:
    """The process of `etcd.pid`, if it is one that works in this directory."""
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
                raise CannotRun(f"an etcd left behind, process {process.pid}, does not end")


async def _ends(process: psutil.Process) -> bool:
    """Whether it ends in time. In a container nobody may ever ask for its exit code."""
    for _ in range(round(PATIENCE_S / LOOK_S)):
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
