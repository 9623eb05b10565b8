"""Starts the member beside this server, restarts and stops it, and copies its log into ours.

A guard process runs between the two, so that etcd also ends when bellcow is killed or hangs.
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
from bellcow.etcd import guard
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
STOP_S = 4.0  # the guard kills etcd after two seconds
LAST_WORDS_S = 1.0
PAUSE_S_MAX = 30.0
STEADY_S = 60.0  # a run as long as this forgets the exits before it
EXITS_MAX = 5  # within STEADY_S; after that etcd stays down
LINES_QUOTED = 5
LINE_BYTES = 16 << 10
SAME_CHARS = 40
_UNTOLD = {"level", "ts", "caller", "msg", "stacktrace", "logger"}
# Harmless warnings of etcd 3.4 (an unused login, a peer that answers), and those about each
# connection to a peer, which hello reports once and by name.
_POINTLESS = (
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
    # The address for clients; bellcow is the only one. A new or leaving member fails to publish it
    # and retries. A lost majority is reported elsewhere.
    "failed to publish local member to cluster through raft",
)
# Harmless: a new leader compacts a revision that the last one has already compacted.
_ANSWERED = "error=mvcc: required revision has been compacted"
# How a member ends, instead of with code 0, if its status is requested during its removal.
_GONE = "failed to find local ID in cluster members"
# What Go prints before the stack of every goroutine.
_LAST_CRY = (b"panic:", b"fatal error:")
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
        self._end_when_hung = end_when_hung and sys.gettrace() is None  # not under a debugger
        self._last_lines: deque[str] = deque(maxlen=LINES_QUOTED)
        self._cried = False  # the lines until the next one in JSON are a stack trace
        self._gone = False  # a panic said that it is no longer a member
        self._throttle = Throttle(STEADY_S)  # of warnings, by their first words

    async def run(self) -> None:
        """Keep the member running; cancel to stop it.

        Returns when it is no longer a member of its cluster, mostly shown by exit code 0.

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
            if code == 0 or self._gone:
                self._report("etcd_not_a_member", directory=directory)
                return
            now = self._clock.monotonic()
            exits = [now] if now - began >= STEADY_S else [*exits, now]
            pause_s = next_pause(exits)
            self._report("etcd_exited", code=code, again_in_s=pause_s)
            if pause_s is None:
                raise CannotRun(self._complaint())
            await asyncio.sleep(pause_s)

    def _complaint(self) -> str:
        said = "; ".join(self._last_lines) or "nothing"
        return (
            f"etcd ended {EXITS_MAX} times within {STEADY_S:g} s and stays down. Its files are in "
            f"{self._plan.directory} and were not changed by bellcow. Its last words: {said}"
        )

    async def _run_once(self) -> int:
        """Start the guard, which starts the member; returns the member's exit code.

        Raises:
            CannotRun: the guard or the member cannot be started.
        """
        command = command_line(self._plan)
        if await end_orphan(self._plan.directory):
            self._report("etcd_orphan_stopped", directory=self._plan.directory)
        reader, writer = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__, str(reader), *command),
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
                raise CannotRun(f"the guard of etcd cannot be started: {error}") from error
            raise
        finally:
            os.close(writer)
        self._cried = False
        self._report("etcd_started", directory=self._plan.directory)
        async with asyncio.TaskGroup() as group:
            words = group.create_task(self._relay(reader), name="etcd log")
            beat = group.create_task(self._beat(process), name="etcd beat")
            try:
                return await process.wait()
            finally:
                beat.cancel()
                await _end(process)
                await asyncio.wait([words], timeout=LAST_WORDS_S)
                words.cancel()

    async def _beat(self, process: asyncio.subprocess.Process) -> None:
        """Show the guard that the loop runs. A process that hangs exits with a traceback."""
        assert process.stdin is not None  # noqa: S101  asked for when it was started
        try:
            while True:
                if self._end_when_hung:
                    faulthandler.dump_traceback_later(HUNG_S, exit=True)
                if (
                    not process.stdin.is_closing()
                ):  # the guard may have ended, though its exit is not reported yet
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
                    self._tell(line)
                if len(rest) > LINE_BYTES:
                    self._tell(rest)
                    rest = b""
        finally:
            self._tell(rest)
            pipe.close()

    def _tell(self, raw: bytes) -> None:
        if not raw.strip():
            return
        event, text = parse_line(raw)
        if self._cried and not raw.startswith(b"{"):
            self._report("etcd_note", text=text)
            return
        self._cried = raw.startswith(_LAST_CRY)
        self._last_lines.append(text)
        if _GONE in text:
            self._gone = True
            event = "etcd_note"  # `etcd_not_a_member` reports it
        if event == "etcd_warning" and (_is_pointless(text) or self._is_repeated(text)):
            event = "etcd_note"
        self._report(event, text=text)

    def _is_repeated(self, text: str) -> bool:
        """Whether etcd logged a similar line within a minute: it repeats some twice a second."""
        return not self._throttle.passes(text[:SAME_CHARS], self._clock.monotonic())


def _is_pointless(text: str) -> bool:
    return text.startswith(_POINTLESS) or text.endswith(_ANSWERED)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the guard's input, which makes it end the member and itself."""
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
    more = "".join(f" {name}={value}" for name, value in fields.items() if name not in _UNTOLD)
    grave = fields.get("level") not in {"debug", "info", "warn"}
    return "etcd_error" if grave else "etcd_warning", f"{fields.get('msg', '')}{more}"
