from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess

import pytest
from tests.support.etcd import short_directory

from bellcow.etcd.flags import SOCKET
from bellcow.etcd.orphan import end_orphan
from bellcow.etcd.version import CannotRun
from bellcow.etcd.watchdog import PID_FILE


@pytest.fixture
def directory():
    with short_directory() as path:
        path.mkdir()
        yield path


def test_nothing_is_done_where_nothing_was_left(directory):
    assert asyncio.run(end_orphan(directory)) is False


def test_process_left_behind_is_ended_and_its_socket_removed(directory):
    (directory / SOCKET).touch()
    with subprocess.Popen(["/bin/sleep", "60"], cwd=directory) as orphan:
        (directory / PID_FILE).write_text(str(orphan.pid))
        assert asyncio.run(end_orphan(directory)) is True
        assert orphan.wait(5) == -signal.SIGTERM
    assert not (directory / SOCKET).exists()


@pytest.mark.slow
def test_process_left_behind_that_does_not_heed_is_killed(directory):
    script = "trap '' TERM; echo >ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["/bin/sh", "-c", script], cwd=directory) as orphan:
        while not (directory / "ready").exists():
            os.sched_yield()
        (directory / PID_FILE).write_text(str(orphan.pid))
        assert asyncio.run(end_orphan(directory)) is True
        assert orphan.wait(5) == -signal.SIGKILL


def test_process_of_another_directory_is_not_touched(directory, tmp_path):
    with subprocess.Popen(["/bin/sleep", "60"], cwd=tmp_path) as stranger:
        (directory / PID_FILE).write_text(str(stranger.pid))
        assert asyncio.run(end_orphan(directory)) is False
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "x", "0", "-5", "999999999", "\xff"])
def test_pid_file_that_names_nobody_is_no_orphan(directory, text):
    (directory / PID_FILE).write_text(text)
    assert asyncio.run(end_orphan(directory)) is False


def test_stranger_at_the_socket_is_left_alone_and_named(directory):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(directory / SOCKET))
        stranger.listen()
        with pytest.raises(CannotRun, match="stop that program"):
            asyncio.run(end_orphan(directory))
    assert (directory / SOCKET).exists()
