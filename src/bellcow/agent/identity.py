"""The data directory as a server's own: its id, its lock, and who may read it."""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING, TextIO

from bellcow.clock import new_uuid

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.clock import Clock

NODE_ID = "node-id"
LOCK = "lock"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class DataDirectoryError(Exception):
    """Why this directory cannot be used, and what to do."""


class DataDirectory:
    """`DATA_DIR/server`, held by this process alone while it is open."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            self._lock = self._take_lock()
            self.node_id = self._read_node_id(clock)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {path}: {error.strerror or error}"
            ) from error

    def _take_lock(self) -> TextIO:
        """The kernel holds the lock: it goes with the process, however that ends."""
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        lock = os.fdopen(handle, "r+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = lock.read().strip() or "another process"
            lock.close()
            raise DataDirectoryError(
                f"the data directory {self.path} is in use by process {owner}; "
                "stop it or choose another -data-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _read_node_id(self, clock: Clock) -> str:
        path = self.path / NODE_ID
        if path.exists():
            text = path.read_text("ascii", "replace").strip().lower()
            if not UUID.fullmatch(text):
                raise DataDirectoryError(
                    f"{path} does not hold a server id; restore it from a backup, or remove it to "
                    "start as a new server"
                )
            return text
        node_id = new_uuid(clock)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(node_id)
            file.flush()
            os.fsync(file.fileno())
        return node_id

    def close(self) -> None:
        self._lock.close()
