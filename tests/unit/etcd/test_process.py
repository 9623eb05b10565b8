from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.support import etcd
from tests.support.certificates import Authority
from tests.support.etcd import (
    Events,
    answering,
    etcd_pid,
    free_address,
    freeze,
    needs_etcd,
    plan_of_one,
    short_directory,
)

from bellcow.clock import SystemClock
from bellcow.etcd import process as module
from bellcow.etcd.client import open_client
from bellcow.etcd.flags import Founding, PeerTls, Plan
from bellcow.etcd.process import Member, environment, look_for_etcd, next_pause, parse_line
from bellcow.etcd.version import CannotRun

ROOT = Path(__file__).parents[3]


@pytest.fixture
def directory():
    with short_directory() as path:
        yield path


def script_plan(directory, tmp_path, text: str) -> Plan:
    """A plan whose etcd is a shell script."""
    program = tmp_path / "etcd"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return msgspec.structs.replace(plan_of_one(directory), program=str(program))


def run(plan, story=None, **options):
    """Runs a member, and beside it a story that sees its events; then stops it."""
    events = Events()

    async def whole():
        async with asyncio.timeout(60):
            member = asyncio.ensure_future(Member(plan, SystemClock(), events, **options).run())
            try:
                await (story(events) if story else member)
            finally:
                member.cancel()
                await asyncio.wait([member])

    etcd.run(whole())
    return events


async def until_answering(directory):
    async with open_client(directory) as client:
        await answering(client)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 15
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("exits", "pause"),
    [
        ([0], 1),
        ([0, 2], 2),
        ([0, 2, 5], 4),
        ([0, 2, 5, 10], 8),
        ([0, 2, 5, 10, 19], None),
        ([0, 30, 59, 100, 140], 16),
        ([0, 50, 100, 150, 200, 250], 30),
        ([0, 50, 100, 150, 200, 250, 300], 30),
    ],
)
def test_pause_doubles_up_to_thirty_seconds_and_five_exits_a_minute_are_the_end(exits, pause):
    assert next_pause(exits) == pause


def test_words_for_etcd_in_the_environment_do_not_reach_it():
    ours = {
        "PATH": "/bin",
        "ETCD_INITIAL_CLUSTER": "x",
        "ETCD_NAME": "x",
        "ETCD_UNSUPPORTED_ARCH": "arm64",
    }
    assert environment(ours) == {"PATH": "/bin", "ETCD_UNSUPPORTED_ARCH": "arm64"}


@pytest.mark.parametrize(
    ("raw", "event", "text"),
    [
        (
            b'{"level":"warn","ts":"t","caller":"a.go:1","msg":"slow","took":"3s"}',
            "etcd_warning",
            "slow took=3s",
        ),
        (b'{"level":"error","msg":"bad","stacktrace":"x"}', "etcd_error", "bad"),
        (b'{"level":"fatal","msg":"worse"}', "etcd_error", "worse"),
        (b"panic: \xff ", "etcd_error", "panic: \ufffd"),
        (b"[1]", "etcd_error", "[1]"),
    ],
)
def test_line_of_etcd_becomes_an_event(raw, event, text):
    assert parse_line(raw) == (event, text)


def test_exit_code_zero_ends_the_run_as_the_server_is_no_member(directory, tmp_path):
    events = run(script_plan(directory, tmp_path, "exit 0"))
    assert [name for name, _ in events.seen] == ["etcd_started", "etcd_not_a_member"]


def test_member_that_ends_again_and_again_stays_down_and_its_last_words_are_quoted(
    directory, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PAUSE_S_MAX", 0.01)
    plan = script_plan(directory, tmp_path, "echo last lines >&2; exit 3")
    events = Events()
    with pytest.raises(CannotRun, match=r"5 times.*last lines"):
        etcd.run(Member(plan, SystemClock(), events).run())
    assert [fields for name, fields in events.seen if name == "etcd_exited"] == [
        *[{"code": 3, "again_in_s": 0.01}] * 4,
        {"code": 3, "again_in_s": None},
    ]
    assert events.count("etcd_error") == 5


COMPACTED = "mvcc: required revision has been compacted"


def test_warnings_that_warn_of_nothing_are_told_to_those_who_debug(directory, tmp_path):
    lines = (
        '{"level":"warn","msg":"simple token is not cryptographically signed"}',
        '{"level":"warn","msg":"established TCP streaming connection with remote peer","x":1}',
        '{"level":"warn","msg":"failed to publish local member to cluster through raft"}',
        f'{{"level":"warn","msg":"failed to apply request","error":"{COMPACTED}"}}',
        '{"level":"warn","msg":"failed to apply request","error":"mvcc: database space exceeded"}',
        '{"level":"warn","msg":"the disk is slow"}',
    )
    script = "\n".join(f"echo '{line}' >&2" for line in lines)
    events = run(script_plan(directory, tmp_path, f"{script}\nexit 0"))
    told = [fields["text"] for name, fields in events.seen if name == "etcd_warning"]
    assert told == [
        "failed to apply request error=mvcc: database space exceeded",
        "the disk is slow",
    ]
    assert events.count("etcd_note") == 4


PANIC = r"""
panic: failed to find local ID

goroutine 1 [running]:
go.etcd.io/etcd/raft.(*raft).Step(0xc0, {0x1, 0x2})
\t/build/raft.go:7 +0x1d
created by main.main
"""


def test_panic_is_one_error_and_its_frames_are_told_to_those_who_debug(directory, tmp_path):
    script = f"""cat >&2 <<'END'
{{"level":"warn","msg":"before"}}
{PANIC}
{{"level":"error","msg":"after"}}
END"""
    events = run(script_plan(directory, tmp_path, f"{script}\nexit 0"))
    errors = [fields["text"] for name, fields in events.seen if name == "etcd_error"]
    assert errors == ["panic: failed to find local ID", "after"]
    assert events.count("etcd_note") == 4


def test_member_that_is_removed_and_panics_over_it_is_no_member_any_more(directory, tmp_path):
    gone = "failed to find local ID in cluster members"
    script = f"""cat >&2 <<'END'
{{"level":"panic","msg":"{gone}","local-member-id":"1"}}
panic: {gone}

goroutine 1 [running]:
END
exit 2"""
    events = run(script_plan(directory, tmp_path, script))
    assert (events.count("etcd_not_a_member"), events.count("etcd_started")) == (1, 1)
    assert (events.count("etcd_error"), events.count("etcd_exited")) == (0, 0)


def test_last_words_of_a_member_that_panics_are_not_its_frames(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S_MAX", 0.01)
    script = f"cat >&2 <<'END'\nhere we go\n{PANIC}\nEND\nexit 2"
    with pytest.raises(CannotRun) as caught:
        etcd.run(Member(script_plan(directory, tmp_path, script), SystemClock(), Events()).run())
    assert str(caught.value).endswith("here we go; panic: failed to find local ID")
    assert "goroutine" not in str(caught.value)


def test_long_lines_and_what_has_no_end_are_told_in_pieces(directory, tmp_path):
    script = "head -c 100000 /dev/zero | tr '\\0' x >&2; printf tail >&2; exit 0"
    events = run(script_plan(directory, tmp_path, script))
    told = [fields["text"] for name, fields in events.seen if name == "etcd_error"]
    assert "".join(told) == "x" * 100_000 + "tail"
    assert len(told) > 2


def test_directory_is_for_its_owner_alone(directory, tmp_path):
    directory.mkdir(mode=0o755)
    run(script_plan(directory, tmp_path, "exit 0"))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_version_that_is_refused_is_not_started(tmp_path, monkeypatch):
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho etcd Version: 3.5.3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(CannotRun, match=r"3\.5\.3"):
        asyncio.run(look_for_etcd("", Events()))


def test_old_version_is_taken_and_said(tmp_path):
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho etcd Version: 3.4.30\n")
    program.chmod(0o755)
    events = Events()
    assert asyncio.run(look_for_etcd(str(program), events)) == (str(program), (3, 4, 30))
    assert events.count("etcd_version") == 1


@needs_etcd
@pytest.mark.slow
def test_member_starts_stops_and_starts_again_with_its_data(directory):
    plan = plan_of_one(directory)
    members = []

    async def story(events):
        async with open_client(directory) as client:
            members.append((await answering(client)).header.member_id)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    run(plan, story)
    first = etcd_pid(directory)
    assert not psutil.pid_exists(first)
    events = run(msgspec.structs.replace(plan, founding=None), story)
    assert members[0] == members[1]
    assert events.count("etcd_exited") == 0
    assert not psutil.pid_exists(etcd_pid(directory))


@needs_etcd
@pytest.mark.slow
def test_stop_takes_less_than_five_seconds_even_if_etcd_hangs(directory):
    async def story(events):
        async with open_client(directory) as client:
            await answering(client)
        freeze(etcd_pid(directory))

    began = time.monotonic()
    run(plan_of_one(directory), story)
    assert time.monotonic() - began < 5
    assert not psutil.pid_exists(etcd_pid(directory))


@needs_etcd
@pytest.mark.slow
def test_killed_member_is_started_again(directory):
    async def story(events):
        async with open_client(directory) as client:
            await answering(client)
            first = etcd_pid(directory)
            os.kill(first, signal.SIGKILL)
            fields = await events.wait_for("etcd_exited")
            assert fields == {"code": 128 + signal.SIGKILL, "again_in_s": 1.0}
            await events.wait_for("etcd_started", 2)
            await answering(client)
            assert etcd_pid(directory) != first

    run(plan_of_one(directory), story)


@needs_etcd
@pytest.mark.slow
def test_killed_guard_and_its_member_are_replaced(directory):
    async def story(events):
        async with open_client(directory) as client:
            await answering(client)
            first = psutil.Process(etcd_pid(directory))
            first.parent().kill()
            await events.wait_for("etcd_started", 2)
            await answering(client)
            assert etcd_pid(directory) != first.pid
            assert not first.is_running() or first.status() == psutil.STATUS_ZOMBIE

    run(plan_of_one(directory), story)


@needs_etcd
def test_member_left_behind_is_ended_before_another_one_starts(directory):
    plan = plan_of_one(directory)
    directory.mkdir()
    command = module.command_line(plan)
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL) as orphan:
        (directory / "etcd.pid").write_text(str(orphan.pid))

        async def story(events):
            await events.wait_for("etcd_started")
            await until_answering(directory)
            assert events.count("etcd_orphan_stopped") == 1
            assert etcd_pid(directory) != orphan.pid

        try:
            etcd.run(until_answering(directory))
            run(plan, story)
            assert orphan.poll() is not None
        finally:
            orphan.kill()


LIFE = """
import asyncio, sys, uvloop
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from bellcow.clock import SystemClock
from bellcow.etcd.client import open_client
from bellcow.etcd.process import Member
from tests.support.etcd import Events, answering, plan_of_one

async def main():
    plan = plan_of_one(Path(sys.argv[1]))
    member = Member(plan, SystemClock(), Events(), end_when_hung=True)
    life = asyncio.ensure_future(member.run())
    async with open_client(plan.directory) as client:
        await answering(client)
    print("answering", flush=True)
    if sys.argv[3:] == ["hang"]:
        import time
        time.sleep(60)
    await life

uvloop.run(main())
"""


@contextlib.contextmanager
def another_python(directory, *words):
    """A process of its own that runs a member."""
    command = [sys.executable, "-c", LIFE, str(directory), str(ROOT), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout.readline() == "answering\n", process.stderr.read()
            yield process
        finally:
            process.kill()


@needs_etcd
@pytest.mark.slow
def test_no_etcd_is_left_when_python_is_killed(directory):
    with another_python(directory) as process:
        pid = etcd_pid(directory)
        assert psutil.pid_exists(pid)
        process.kill()
        began = time.monotonic()
        wait_until_gone(pid)
        assert time.monotonic() - began < 3


@needs_etcd
@pytest.mark.slow
def test_python_that_is_stopped_for_ten_seconds_loses_its_etcd(directory):
    with another_python(directory) as process:
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        wait_until_gone(etcd_pid(directory))
        assert 9 < time.monotonic() - began < 14


@needs_etcd
@pytest.mark.slow
def test_python_that_hangs_says_where_and_ends(directory):
    with another_python(directory, "hang") as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "Timeout" in said
        assert "in main" in said
        wait_until_gone(etcd_pid(directory))


@needs_etcd
@pytest.mark.slow
def test_members_talk_to_each_other_over_mutual_tls(directory, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.sign()
    tls = PeerTls(cert_file=pair.cert, key_file=pair.key, ca_file=authority.file)
    addresses = {"a": free_address(), "b": free_address()}
    founding = Founding(state="new", members=tuple(addresses.items()), token="tls.0")

    async def whole():
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            tasks = []
            for name, address in addresses.items():
                plan = msgspec.structs.replace(
                    plan_of_one(directory / name, name),
                    bind=address,
                    advertise=address,
                    founding=founding,
                    tls=tls,
                )
                tasks.append(group.create_task(Member(plan, SystemClock(), Events()).run()))
            for name in addresses:
                async with open_client(directory / name) as client:
                    assert (await answering(client)).leader
            for task in tasks:
                task.cancel()

    etcd.run(whole())


def test_warning_that_etcd_repeats_is_told_once_in_a_while(directory, tmp_path):
    line = '{"level":"warn","msg":"waiting for ReadIndex response took too long","id":%d}'
    script = "\n".join(f"echo '{line % number}' >&2" for number in range(5))
    events = run(script_plan(directory, tmp_path, f"{script}\nexit 0"))
    assert (events.count("etcd_warning"), events.count("etcd_note")) == (1, 4)
