"""The data directory of a server: its id, its lock, its permissions, removal of partial files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import TYPE_CHECKING, TextIO

from bellcow import files
from bellcow.agent.data_dir_owner import DataDirectoryError, check_entries, look_above, make_own
from bellcow.clock import new_uuid
from bellcow.cluster.datadir import RAFT

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.agent.data_dir_owner import Above
    from bellcow.clock import Clock

NODE_ID = "node-id"
LOCK = "lock"
SNAPSHOTS = "snapshots"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class DataDirectory:
    """`DATA_DIR/server`, locked by this process while it is open.

    `above` is the result of the check of `DATA_DIR` itself. Raises DataDirectoryError.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        try:
            self.above = self._make()
            self._lock = self._take_lock()
            try:
                self._sweep()
                self.made_id = not (path / NODE_ID).exists()
                self.node_id = self._make_node_id(clock) if self.made_id else self._read_node_id()
            except BaseException:
                self.close()
                raise
        except PermissionError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {path}: user {os.geteuid()}, as which this server"
                f" runs, may not use {error.filename or path}: run"
                f" `chown -R {os.geteuid()} {path.parent}`, or choose another data_dir"
            ) from error
        except OSError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {path}: {error.strerror or error}"
            ) from error

    def _make(self) -> Above:
        """Create missing directories and remove the access of other users, before any write.

        Raises:
            DataDirectoryError: a file is in the place of a directory, or an entry is not ours.
        """
        data_dir = self.path.parent
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            file = next(each for each in (data_dir, *data_dir.parents) if each.exists())
            raise DataDirectoryError(
                f"cannot use the data directory {data_dir}: {file} is a file, and there must be"
                " a directory: choose another data_dir, or move the file away"
            ) from error
        above = look_above(data_dir)
        for folder in (self.path, self.path / SNAPSHOTS):
            make_own(folder)
        for folder in self._folders():
            check_entries(folder)
        return above

    def _folders(self) -> tuple[Path, ...]:
        """The directories with our files. The second and third are inside the first."""
        return self.path, self.path / SNAPSHOTS, self.path / RAFT

    def _take_lock(self) -> TextIO:
        """Lock the directory. The kernel releases the lock however the process ends.

        Raises:
            DataDirectoryError: another process has it.
        """
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
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
        with contextlib.suppress(OSError):  # on a full disk the lock holds, without the number
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode("ascii"), 0)
        return lock

    def _sweep(self) -> None:
        """Remove partial files of a killed process."""
        for folder in self._folders():
            for each in folder.glob(f"*{files.PARTIAL}"):
                each.unlink()

    def _read_node_id(self) -> str:
        path = self.path / NODE_ID
        text = path.read_text("ascii", "replace").strip().lower()
        if not UUID.fullmatch(text):
            raise DataDirectoryError(
                f"{path} does not hold a server id; restore it from a backup, or remove it to "
                "start as a new server"
            )
        return text

    def _make_node_id(self, clock: Clock) -> str:
        """Create the id, atomically: after a crash the file is complete or missing."""
        node_id = new_uuid(clock)
        files.write(self.path / NODE_ID, node_id.encode("ascii"))
        return node_id

    def close(self) -> None:
        self._lock.close()
