"""Where lines of the log go besides the terminal: a file that is rotated, and syslog.

A write never blocks on a reader and never raises: what cannot be written is lost.
"""

from __future__ import annotations

import contextlib
import os
import socket
import syslog
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bellcow.config.derive import SYSLOG_FACILITIES
from bellcow.events import Level
from bellcow.wire import NS_PER_S

if TYPE_CHECKING:
    from bellcow.clock import Clock

SYSLOG_SOCKET = "/dev/log"
FILE_NAME = "nomad.log"
# Nomad: one step lower than the names suggest. Source: command/agent/syslog.go, levelPriority.
_PRIORITIES: Final = {
    Level.TRACE: syslog.LOG_DEBUG,
    Level.DEBUG: syslog.LOG_INFO,
    Level.INFO: syslog.LOG_NOTICE,
    Level.WARN: syslog.LOG_WARNING,
    Level.ERROR: syslog.LOG_ERR,
}


class LogFile:
    """A file of the log, made for its owner alone, that is renamed when it is old or large.

    `age_s` is the age in seconds and `size` the bytes at which a new file begins, 0 for any;
    `kept` are the old files that stay, 0 for all. Nomad: an old file is called
    `NAME-NANOSECONDS.EXTENSION`, after the moment of its renaming.
    """

    def __init__(
        self, path: Path, clock: Clock, *, age_s: float = 0.0, size: int = 0, kept: int = 0
    ) -> None:
        """Raises OSError when the file cannot be opened."""
        self._path = path
        self._clock = clock
        self._age_s = age_s
        self._size = size
        self._kept = kept
        self._handle = self._open()
        self._written = os.fstat(self._handle).st_size
        self._begun_ns = clock.wall_ns()

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            if self._is_due():
                self._rotate()
        with contextlib.suppress(OSError):
            self._written += os.write(self._handle, text.encode("utf-8", "replace"))

    def close(self) -> None:
        os.close(self._handle)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _is_due(self) -> bool:
        age_s = (self._clock.wall_ns() - self._begun_ns) / NS_PER_S
        large = self._size > 0 and self._written >= self._size
        return large or (self._age_s > 0 and age_s >= self._age_s)

    def _rotate(self) -> None:
        """Raises OSError with the present file still in use."""
        self._begun_ns = self._clock.wall_ns()  # not again with the next line, if this fails
        name = f"{self._path.stem}-{self._begun_ns}{self._path.suffix or '.log'}"
        self._path.rename(self._path.with_name(name))
        handle = self._open()
        os.close(self._handle)
        self._handle, self._written = handle, 0
        self._prune()

    def _prune(self) -> None:
        if not self._kept:
            return
        start, end = f"{self._path.stem}-", self._path.suffix or ".log"
        old = sorted(
            entry
            for entry in self._path.parent.iterdir()
            if entry.name.startswith(start)
            and entry.name.endswith(end)
            and entry.name[len(start) : -len(end)].isdigit()
        )
        for entry in old[: -self._kept]:
            entry.unlink(missing_ok=True)


def log_path(written: str) -> Path:
    """The file that the setting `log_file` means. Raises OSError when its directory cannot be made.

    What ends in a slash is a directory, there or not; so is what is there as one.
    """
    path = Path(written)
    if written.endswith("/"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path / FILE_NAME
    return path / FILE_NAME if path.is_dir() else path


class Syslog:
    """The machine's syslog, at one facility."""

    def __init__(self, facility: str, path: str = SYSLOG_SOCKET) -> None:
        """Raises OSError when nobody listens there, KeyError for an unknown facility."""
        self._facility = SYSLOG_FACILITIES[facility.upper()]
        self._path = path
        self._socket = self._connected()

    def write(self, level: Level, text: str) -> None:
        """Send one line without its time and level, which syslog adds."""
        code = self._facility << 3 | _PRIORITIES[level]
        message = f"<{code}>nomad[{os.getpid()}]: {text}".encode("utf-8", "replace")
        try:
            self._socket.send(message)
        except BlockingIOError:
            pass  # nobody reads fast enough; the server must not wait for that
        except OSError:
            self._send_again(message)

    def close(self) -> None:
        self._socket.close()

    def _send_again(self, message: bytes) -> None:
        """A syslog that was restarted has another socket at the same path."""
        with contextlib.suppress(OSError):
            fresh = self._connected()
            self._socket.close()
            self._socket = fresh
            self._socket.send(message)

    def _connected(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        found.setblocking(False)
        try:
            found.connect(self._path)
        except OSError:
            found.close()
            raise
        return found
