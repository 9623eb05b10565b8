"""Starts, restarts and stops the etcd member beside this server, and copies its log into ours.

A watchdog process runs between the two, so that etcd also ends when bellcow is killed or hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.deadline import timeout
from bellcow.etcd import watchdog
from bellcow.etcd.flags import command_line
from bellcow.etcd.orphan import end_orphan
from bellcow.etcd.version import CannotRun, find_program, judge, read_version
from bellcow.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bellcow.clock import Clock
    from bellcow.etcd.flags import Plan
    from bellcow.etcd.version import Version
    from bellcow.events import Report

BEAT_S = 0.5
HUNG_S = 10.0
STOP_S = 4.0  # the watchdog kills etcd two seconds after SIGTERM
LAST_LINES_S = 1.0
PAUSE_S_MAX = 30.0
STEADY_S = 60.0  # after a run of this length, earlier exits do not count
EXITS_MAX = 5  # within STEADY_S; after that etcd stays down
LINES_QUOTED = 5
LINE_BYTES = 16 << 10
SAME_CHARS = 40
_OMITTED_FIELDS = {"level", "ts", "caller", "msg", "stacktrace", "logger"}
# Harmless warnings of etcd 3.4 (an unused login, a peer that answers), and those about each
# connection to a peer, which hello reports once and by name.
_HARMLESS = (
    "simple token is not cryptographically signed",
    "established TCP streaming connection with remote peer",
    "closed TCP streaming connection with remote peer",
    "stopped TCP streaming connection with remote peer",
    "lost TCP streaming connection with remote peer",
    "failed to find remote peer in cluster",
    "failed to get version",
    "failed to reach the peer URL",
    "peer became inactive",
    "prober detected unhealthy status",
    # It is about the address for clients, and bellcow is the only client. A new or leaving member
    # fails to publish it and retries. A lost majority is reported elsewhere.
    "failed to publish local member to cluster through raft",
)
# Harmless: a new leader compacts a revision that the last one has already compacted.
_ALREADY_COMPACTED = "error=mvcc: required revision has been compacted"
# etcd panics with this, instead of exiting with 0, if its status is requested during its removal.
_NOT_A_MEMBER = "failed to find local ID in cluster members"
# What Go prints before the stack of every goroutine.
_PANIC_STARTS = (b"panic:", b"fatal error:")
_KEPT_ENVIRONMENT = {"ETCD_UNSUPPORTED_ARCH"}


async def look_for_etcd(wanted: str, report: Report) -> tuple[str, Version]:
    """The program and its version, if it may be used.

    Raises:
        CannotRun: there is no program, it does not answer, or its release is unsafe.
    """
    program = find_program(wanted)
    version = await read_version(program)
    if note := judge(version):
        report("etcd_version", note=note)
    return program, version


class Member:
    """The member of one `Plan`. It runs while `run` runs."""

    def __init__(
        self, plan: Plan, clock: Clock, report: Report, *, end_when_hung: bool = False
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._report = report
        self._end_when_hung = (
            end_when_hung and sys.gettrace() is None
        )  # no time limit under a debugger
        self._last_lines: deque[str] = deque(maxlen=LINES_QUOTED)
        self._in_stack_trace = False  # until the next line in JSON
        self._removed = False  # a panic said that it is no longer a member
        self._throttle = Throttle(STEADY_S)  # of warnings, by their first words

    async def run(self) -> None:
        """Keep the member running; cancel to stop it.

        Returns when it is no longer a member of its cluster; usually its exit code is then 0.

        Raises:
            CannotRun: the member cannot start, or exited `EXITS_MAX` times within `STEADY_S`.
        """
        directory = self._plan.directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        exits: list[float] = []
        while True:
            began = self._clock.monotonic()
            code = await self._run_once()
            if code == 0 or self._removed:
                self._report("etcd_not_a_member", directory=directory)
                return
            now = self._clock.monotonic()
            exits = [now] if now - began >= STEADY_S else [*exits, now]
            pause_s = next_pause(exits)
            self._report("etcd_exited", code=code, again_in_s=pause_s)
            if pause_s is None:
                raise CannotRun(self._failure_text())
            await asyncio.sleep(pause_s)

    def _failure_text(self) -> str:
        lines = "; ".join(self._last_lines) or "nothing"
        return (
            f"etcd ended {EXITS_MAX} times within {STEADY_S:g} s and stays down. Its files are in "
            f"{self._plan.directory} and were not changed by bellcow. Its last lines: {lines}"
        )

    async def _run_once(self) -> int:
        """Start the watchdog, which starts the member; returns the member's exit code.

        Raises:
            CannotRun: the watchdog or the member cannot be started.
        """
        command = command_line(self._plan)
        if await end_orphan(self._plan.directory):
            self._report("etcd_orphan_stopped", directory=self._plan.directory)
        reader, writer = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", watchdog.__file__, str(reader), *command),
                cwd=self._plan.directory,
                env=environment(os.environ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=writer,
                pass_fds=(reader,),
                start_new_session=True,  # Ctrl-C on the terminal must reach only bellcow
            )
        except BaseException as error:
            os.close(reader)
            if isinstance(error, OSError):
                raise CannotRun(f"etcd's watchdog process cannot be started: {error}") from error
            raise
        finally:
            os.close(writer)
        self._in_stack_trace = False
        self._report("etcd_started", directory=self._plan.directory)
        async with asyncio.TaskGroup() as group:
            log = group.create_task(self._relay(reader), name="etcd log")
            beat = group.create_task(self._beat(process), name="etcd beat")
            try:
                return await process.wait()
            finally:
                beat.cancel()
                await _end(process)
                await asyncio.wait([log], timeout=LAST_LINES_S)
                log.cancel()

    async def _beat(self, process: asyncio.subprocess.Process) -> None:
        """Send the watchdog its bytes. If this loop hangs, end the process with a traceback."""
        assert process.stdin is not None  # noqa: S101  asked for when it was started
        try:
            while True:
                if self._end_when_hung:
                    faulthandler.dump_traceback_later(HUNG_S, exit=True)
                # The watchdog may have ended before its exit is reported.
                if not process.stdin.is_closing():
                    process.stdin.write(b".")
                await asyncio.sleep(BEAT_S)
        finally:
            if self._end_when_hung:
                faulthandler.cancel_dump_traceback_later()

    async def _relay(self, reader: int) -> None:
        """Report each line that the member writes."""
        stream = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", 0)
        )
        rest = b""
        try:
            while chunk := await stream.read(LINE_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._report_line(line)
                if len(rest) > LINE_BYTES:
                    self._report_line(rest)
                    rest = b""
        finally:
            self._report_line(rest)
            pipe.close()

    def _report_line(self, raw: bytes) -> None:
        if not raw.strip():
            return
        event, text = parse_line(raw)
        if self._in_stack_trace and not raw.startswith(b"{"):
            self._report("etcd_note", text=text)
            return
        self._in_stack_trace = raw.startswith(_PANIC_STARTS)
        self._last_lines.append(text)
        if _NOT_A_MEMBER in text:
            self._removed = True
            event = "etcd_note"  # `etcd_not_a_member` reports it
        if event == "etcd_warning" and (_is_harmless(text) or self._is_repeated(text)):
            event = "etcd_note"
        self._report(event, text=text)

    def _is_repeated(self, text: str) -> bool:
        """Whether etcd logged a similar line within a minute: it repeats some twice a second."""
        return not self._throttle.passes(text[:SAME_CHARS], self._clock.monotonic())


def _is_harmless(text: str) -> bool:
    return text.startswith(_HARMLESS) or text.endswith(_ALREADY_COMPACTED)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the watchdog's input, which makes it end the member and itself."""
    if process.returncode is not None:
        return
    assert process.stdin is not None  # noqa: S101  asked for when it was started
    process.stdin.close()
    try:
        async with timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def next_pause(exits: Sequence[float]) -> float | None:
    """Seconds until the next start, from the times of all exits so far; None: do not restart."""
    recent = [at for at in exits if exits[-1] - at < STEADY_S]
    if len(recent) >= EXITS_MAX:
        return None
    return min(2.0 ** (len(exits) - 1), PAUSE_S_MAX)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment without the variables that etcd reads as flags."""
    return {
        name: value
        for name, value in ours.items()
        if not name.startswith("ETCD_") or name in _KEPT_ENVIRONMENT
    }


def parse_line(raw: bytes) -> tuple[str, str]:
    """The event and its text for one line of etcd. A line that is not JSON is an error."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError:
        text = raw.decode("utf-8", "replace").strip()
        return "etcd_note" if text.startswith("WARNING") else "etcd_error", text
    more = "".join(
        f" {name}={value}" for name, value in fields.items() if name not in _OMITTED_FIELDS
    )
    is_error = fields.get("level") not in {"debug", "info", "warn"}
    return "etcd_error" if is_error else "etcd_warning", f"{fields.get('msg', '')}{more}"
