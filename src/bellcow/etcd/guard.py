"""The process between bellcow and etcd: it ends etcd when bellcow dies, stops or hangs.

Run by path in a bare interpreter, so nothing of bellcow is imported here. It starts etcd, reads a
byte from its input twice a second, and ends etcd when there is no more: at the end of the input at
once, after ten seconds of silence as well. etcd's exit code is its own.
"""

from __future__ import annotations

import os
import select
import signal
import sys

SILENCE_S = 10.0
PATIENCE_S = 2.0  # between asking etcd to end and ending it
PID_FILE = "etcd.pid"
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """`guard.py LOG_FD PROGRAM FLAGS...`, in the directory etcd shall run in."""
    # Held open and never read: once bellcow is gone, the next line etcd logs would kill it by a
    # broken pipe, maybe before it has handed its leadership over.
    os.set_inheritable(int(arguments[0]), False)
    changed = _listen_for_signals()
    etcd = _start(arguments[1:])
    with open(PID_FILE, "w", encoding="ascii") as file:  # noqa: PTH123  pathlib doubles our memory
        file.write(str(etcd))
    code = _watch(etcd, changed)
    return _end(etcd, changed) if code is None else code


def _listen_for_signals() -> int:
    """A descriptor that becomes readable when a child ends.

    What would end us is not heeded: a stop of the whole process group must leave bellcow the time
    to hand over.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _note)
    return reader


def _note(number: int, frame: object) -> None:
    """Signals are only woken up by: a handler, unlike ignoring, does not outlive an exec."""


def _start(command: list[str]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _die_with_parent()
        if os.getppid() == guard:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.execv(command[0], command)  # noqa: S606  no shell wanted: these are the program's flags
    finally:
        os._exit(127)


def _die_with_parent() -> None:
    """Linux only; elsewhere a killed guard leaves an orphan, which the next start ends."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (ImportError, AttributeError, OSError):
        return


def _watch(etcd: int, changed: int) -> int | None:
    """The exit code; None when bellcow is silent or gone."""
    while True:
        ready, _, _ = select.select([0, changed], [], [], SILENCE_S)
        if (code := _exit_code(etcd, changed)) is not None:
            return code
        if not ready or (0 in ready and not os.read(0, 1_024)):
            return None


def _end(etcd: int, changed: int) -> int:
    os.kill(etcd, signal.SIGTERM)
    while select.select([changed], [], [], PATIENCE_S)[0]:
        if (code := _exit_code(etcd, changed)) is not None:
            return code
    os.kill(etcd, signal.SIGKILL)
    _, status = os.waitpid(etcd, 0)
    return _code(status)


def _exit_code(etcd: int, changed: int) -> int | None:
    try:
        os.read(changed, 1_024)
    except BlockingIOError:
        return None  # no signal, so no child has ended
    pid, status = os.waitpid(etcd, os.WNOHANG)
    return _code(status) if pid else None


def _code(status: int) -> int:
    """As a shell tells it: 128 and the number for a death by signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
