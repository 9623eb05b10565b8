from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from bellcow.etcd import watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def watched(tmp_path, *command: str) -> Iterator[subprocess.Popen]:
    reader, writer = os.pipe()
    words = [sys.executable, "-I", "-S", watchdog.__file__, str(reader), *command]
    with subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, pass_fds=[reader]) as process:
        os.close(reader)
        os.close(writer)
        try:
            yield process
        finally:
            process.kill()


def child(tmp_path) -> psutil.Process:
    """The program under watchdog, once it is there."""
    return psutil.Process(int(eventually((tmp_path / watchdog.PID_FILE).read_text)))


def eventually(look):
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            if found := look():
                return found
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("code", [0, 1, 42])
def test_exit_code_is_that_of_the_program(tmp_path, code):
    with watched(tmp_path, "/bin/sh", "-c", f"exit {code}") as process:
        assert process.wait(10) == code


def test_death_by_signal_is_told_as_a_shell_tells_it(tmp_path):
    with watched(tmp_path, "/bin/sh", "-c", "kill -9 $$") as process:
        assert process.wait(10) == 128 + signal.SIGKILL


def test_program_that_is_not_there_is_code_127(tmp_path):
    with watched(tmp_path, "/nowhere/etcd") as process:
        assert process.wait(10) == 127


def test_end_of_input_ends_the_program_by_sigterm(tmp_path):
    script = "trap 'echo asked >said; exit 7' TERM; echo >ready; while :; do sleep 0.01; done"
    with watched(tmp_path, "/bin/sh", "-c", script) as process:
        eventually((tmp_path / "ready").exists)
        process.stdin.close()
        assert process.wait(10) == 7
        assert (tmp_path / "said").read_text() == "asked\n"


@pytest.mark.slow
def test_program_that_does_not_heed_sigterm_is_killed(tmp_path):
    script = "trap '' TERM; echo >ready; while :; do sleep 0.05; done"
    with watched(tmp_path, "/bin/sh", "-c", script) as process:
        eventually((tmp_path / "ready").exists)
        process.stdin.close()
        began = time.monotonic()
        assert process.wait(10) == 128 + signal.SIGKILL
        assert 1.9 < time.monotonic() - began < 4


@pytest.mark.slow
def test_silence_of_ten_seconds_ends_the_program_and_less_does_not(tmp_path):
    with watched(tmp_path, "/bin/sleep", "60") as process:
        process.stdin.write(b".")
        process.stdin.flush()
        began = time.monotonic()
        assert process.wait(20) == 128 + signal.SIGTERM
        assert 9.5 < time.monotonic() - began < 12


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_killed_guard_takes_the_program_along(tmp_path):
    with watched(tmp_path, "/bin/sleep", "60") as process:
        program = child(tmp_path)
        process.kill()
        eventually(lambda: gone(program))


def test_guard_outlives_the_signals_of_a_stop_of_the_whole_group(tmp_path):
    with watched(tmp_path, "/bin/sleep", "60") as process:
        child(tmp_path)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        process.stdin.write(b".")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.stdin.close()
        assert process.wait(10) == 128 + signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_program_does_not_inherit_what_only_the_guard_holds(tmp_path):
    with watched(tmp_path, "/bin/sleep", "60") as process:
        program = child(tmp_path)
        eventually(lambda: program.name() == "sleep")
        folder = Path(f"/proc/{program.pid}/fd")
        # Its loader holds a library open for a moment.
        eventually(lambda: sorted(file.name for file in folder.iterdir()) == ["0", "1", "2"])
        assert str((folder / "0").readlink()) == os.devnull
        process.stdin.close()
