"""The process between bellcow and etcd: it ends etcd when bellcow dies, stops or hangs.

It runs in a bare interpreter, by its path, and imports nothing of bellcow. It starts etcd and reads
from its input, where bellcow writes a byte twice a second. It ends etcd when the input ends, or
when no byte arrives for ten seconds. It exits with etcd's exit code.
"""

from __future__ import annotations

import os
import select
import signal
import sys

SILENCE_S = 10.0
TERMINATE_S = 2.0  # between SIGTERM and SIGKILL
PID_FILE = "etcd.pid"
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """`watchdog.py LOG_FD PROGRAM FLAGS...`, in the directory that etcd works in."""
    # Held open and never read. Otherwise, once bellcow is gone, the next line that etcd logs would
    # kill it by a broken pipe, maybe before it has transferred its leadership.
    os.set_inheritable(int(arguments[0]), False)
    changed = _listen_for_signals()
    etcd = _start(arguments[1:])
    with open(PID_FILE, "w", encoding="ascii") as file:  # noqa: PTH123  pathlib doubles our memory
        file.write(str(etcd))
    code = _watch(etcd, changed)
    return _end(etcd, changed) if code is None else code


def _listen_for_signals() -> int:
    """A descriptor that becomes readable when a child ends.

    Signals that would end this process have no effect: when the whole process group is stopped,
    bellcow still needs etcd to transfer its leadership.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _note)
    return reader


def _note(number: int, frame: object) -> None:
    """Do nothing: the signal has already woken `select`. etcd would inherit an ignored signal."""


def _start(command: list[str]) -> int:
    watchdog = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _die_with_parent()
        if os.getppid() == watchdog:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.execv(command[0], command)  # noqa: S606  no shell wanted: these are the program's flags
    finally:
        os._exit(127)


def _die_with_parent() -> None:
    """On Linux, end this process with the watchdog; elsewhere `orphan.py` ends it later."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (ImportError, AttributeError, OSError):
        return


def _watch(etcd: int, changed: int) -> int | None:
    """The exit code of etcd; None when bellcow is silent or gone."""
    while True:
        ready, _, _ = select.select([0, changed], [], [], SILENCE_S)
        if (code := _exit_code(etcd, changed)) is not None:
            return code
        if not ready or (0 in ready and not os.read(0, 1_024)):
            return None


def _end(etcd: int, changed: int) -> int:
    os.kill(etcd, signal.SIGTERM)
    while select.select([changed], [], [], TERMINATE_S)[0]:
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
    """The exit code as in a shell: 128 plus the number of the signal that killed the process."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
