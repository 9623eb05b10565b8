"""The log's file, as it is rotated, and syslog, as a real socket receives it."""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING

import pytest
from tests.sim.clock import FixedClock

from bellcow.agent.log import Log
from bellcow.agent.log_outputs import LogFile, Syslog, log_path
from bellcow.events import Level

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_800_000_000_915_400_000
HOUR_NS = 3_600_000_000_000


class Ticking(FixedClock):
    """A clock that is set by hand."""

    now = TIME

    def wall_ns(self) -> int:
        return self.now


def old_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "nomad.log")


def test_a_file_is_renamed_after_the_moment_when_it_is_large(tmp_path):
    clock = Ticking(TIME)
    file = LogFile(tmp_path / "nomad.log", clock, size=10)
    for text in ("one\n", "two, which is longer\n", "three\n"):
        clock.now += 1
        file.write(text)
    file.close()
    assert old_files(tmp_path) == [f"nomad-{TIME + 3}.log"]
    assert (tmp_path / f"nomad-{TIME + 3}.log").read_text() == "one\ntwo, which is longer\n"
    assert (tmp_path / "nomad.log").read_text() == "three\n"
    assert (tmp_path / "nomad.log").stat().st_mode & 0o777 == 0o600


def test_existing_content_counts_for_the_rotation(tmp_path):
    (tmp_path / "nomad.log").write_text("x" * 10)
    LogFile(tmp_path / "nomad.log", Ticking(TIME), size=10).write("new\n")
    assert (tmp_path / "nomad.log").read_text() == "new\n"


def test_a_file_is_renamed_when_it_is_old(tmp_path):
    clock = Ticking(TIME)
    file = LogFile(tmp_path / "nomad.log", clock, age_s=24 * 3600.0)
    for hours in (0, 23, 1, 23, 1):
        clock.now += hours * HOUR_NS
        file.write(f"{hours}\n")
    assert len(old_files(tmp_path)) == 2
    assert (tmp_path / "nomad.log").read_text() == "1\n"


def test_a_file_that_is_neither_old_nor_large_stays(tmp_path):
    file = LogFile(tmp_path / "nomad.log", Ticking(TIME))
    file.write("x" * 1000)
    file.write("y")
    assert old_files(tmp_path) == []


def test_rotation_keeps_the_set_number_of_old_files_and_no_other_changes(tmp_path):
    (tmp_path / "nomad-audit.log").write_text("another program's")
    clock = Ticking(TIME)
    file = LogFile(tmp_path / "nomad.log", clock, size=1, kept=2)
    for number in range(5):
        clock.now = TIME + number
        file.write(f"{number}\n")
    assert old_files(tmp_path) == [
        *(f"nomad-{TIME + number}.log" for number in (3, 4)),
        "nomad-audit.log",
    ]


def test_a_file_that_cannot_be_renamed_is_written_on(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    file = LogFile(folder / "nomad.log", Ticking(TIME), size=1)
    (folder / "nomad.log").rename(tmp_path / "moved.log")
    folder.rmdir()
    file.write("one\n")
    file.write("two\n")
    assert (tmp_path / "moved.log").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("there", [True, False])
def test_path_with_a_final_slash_is_a_directory(tmp_path, there):
    if there:
        (tmp_path / "lg").mkdir()
    assert log_path(f"{tmp_path}/lg/") == tmp_path / "lg" / "nomad.log"
    assert (tmp_path / "lg").is_dir()


def test_a_directory_without_a_slash_is_one_too(tmp_path):
    assert log_path(str(tmp_path)) == tmp_path / "nomad.log"
    assert log_path(f"{tmp_path}/own.txt") == tmp_path / "own.txt"


@pytest.fixture
def daemon(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(10)
        yield listening


def test_syslog_gets_each_line_with_the_priority_that_nomad_gives_it(daemon):
    syslog = Syslog("local3", daemon.getsockname())
    log = Log(FixedClock(TIME), Level.INFO, out=io.StringIO())
    log.write_to(syslog=syslog)
    log.report("stopped")
    code, _, rest = daemon.recv(1000).decode().partition("nomad[")
    assert code == f"<{(16 + 3) * 8 + 5}>"
    assert rest.endswith("]: agent: stopped: event=stopped")
    log.close()


def test_a_syslog_that_was_restarted_is_found_again(daemon, tmp_path):
    syslog = Syslog("DAEMON", daemon.getsockname())
    daemon.close()
    (tmp_path / "log").unlink()
    syslog.write(Level.ERROR, "lost")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as fresh:
        fresh.bind(str(tmp_path / "log"))
        syslog.write(Level.ERROR, "seen")
        assert fresh.recv(1000).startswith(b"<27>nomad[")
    syslog.close()


def test_slow_syslog_does_not_block_the_log(daemon):
    syslog = Syslog("DAEMON", daemon.getsockname())
    for _ in range(5000):
        syslog.write(Level.INFO, "x" * 100)
    assert daemon.recv(1000).endswith(b"x")
    syslog.close()


def test_missing_syslog_raises_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Syslog("DAEMON", str(tmp_path / "none"))
