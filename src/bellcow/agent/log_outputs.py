"""Outputs of the log besides the terminal: a file that is rotated, and syslog.

A write never waits for a reader and never raises; a line that cannot be written is lost.
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
from bellcow.gocompat.duration import NS_PER_S

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
    """A file of the log, readable by its owner only, that is rotated when it is old or large.

    A new file begins at an age of `age_s` seconds or a size of `size` bytes; 0 is no limit. At most
    `kept` old files stay, 0 for all. Nomad: an old file is called `NAME-NANOSECONDS.EXTENSION`,
    after the time of the rotation.
    """

    def __init__(
        self, path: Path, clock: Clock, *, age_s: float = 0.0, size: int = 0, kept: int = 0
    ) -> None:
        """Open the file to append to it.

        Raises:
            OSError: it cannot be opened.
        """
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
        """Start a new file. After an OSError the present file stays in use."""
        self._begun_ns = self._clock.wall_ns()  # if this fails, the next line must not retry
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
    """The file of the setting `log_file`.

    A path that ends in a slash or is an existing directory means FILE_NAME in that directory.

    Raises:
        OSError: the directory cannot be created.
    """
    path = Path(written)
    if written.endswith("/"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path / FILE_NAME
    return path / FILE_NAME if path.is_dir() else path


class Syslog:
    """The machine's syslog, at one facility."""

    def __init__(self, facility: str, path: str = SYSLOG_SOCKET) -> None:
        """Connect to the syslog that listens at `path`.

        Raises:
            OSError: none listens there.
            KeyError: the facility is unknown.
        """
        self._facility = SYSLOG_FACILITIES[facility.upper()]
        self._path = path
        self._socket = self._connected()

    def write(self, level: Level, text: str) -> None:
        """Send one line, without its time and level: syslog adds both."""
        code = self._facility << 3 | _PRIORITIES[level]
        message = f"<{code}>nomad[{os.getpid()}]: {text}".encode("utf-8", "replace")
        try:
            self._socket.send(message)
        except BlockingIOError:
            pass  # syslog is too slow; the server must not wait for it
        except OSError:
            self._send_again(message)

    def close(self) -> None:
        self._socket.close()

    def _send_again(self, message: bytes) -> None:
        """Reconnect and send again: a restarted syslog has a new socket at the same path."""
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
