"""The log: renders events as lines, for the terminal, a file, syslog and watchers over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import structlog

from bellcow.deadline import timeout
from bellcow.events import EVENTS, Event, Level
from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import rfc3339
from bellcow.wire import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bellcow.agent.log_outputs import LogFile, Syslog
    from bellcow.clock import Clock

Fields: TypeAlias = MutableMapping[str, Any]

WATCHER_LINES = 512  # a watcher that is further behind loses the oldest lines
FIELD_CHARS = 1_000
NS_PER_MS = 1_000_000


class Watcher:
    """A client that follows the log, with its own level and form."""

    __slots__ = ("as_json", "level", "lines")

    def __init__(self, level: Level, *, as_json: bool) -> None:
        self.level = level
        self.as_json = as_json
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue(WATCHER_LINES)

    def put(self, line: bytes | None) -> None:
        if self.lines.full():
            self.lines.get_nowait()
        self.lines.put_nowait(line)


class Log:
    """Writes events as Nomad's lines or as lines of JSON. `level` may change while running."""

    def __init__(
        self, clock: Clock, level: Level, *, as_json: bool = False, out: TextIO | None = None
    ) -> None:
        self._clock = clock
        self._as_json = as_json
        self._out: TextIO = out or sys.stdout
        self._file: LogFile | None = None
        self._syslog: Syslog | None = None
        self._watchers: set[Watcher] = set()
        self._counts: Counter[str] = Counter()
        self._level = self._least = level  # the lowest of it and of the watchers' levels
        self._logger = structlog.wrap_logger(
            self,
            processors=[self._stamp, _with_traceback],
            wrapper_class=structlog.BoundLogger,
            cache_logger_on_first_use=True,
        )

    @property
    def level(self) -> Level:
        """The lowest level that is written."""
        return self._level

    @level.setter
    def level(self, level: Level) -> None:
        self._level = level
        self._compare()

    def _compare(self) -> None:
        self._least = min([self._level, *(each.level for each in self._watchers)])

    def report(self, event: str, /, **fields: object) -> None:
        """Log one event of the closed list."""
        kind = EVENTS[event].with_level_for(fields)
        self._counts[event] += 1
        if self.shows(kind.level):
            self._logger.msg(event, _kind=kind, **fields)

    def shows(self, level: Level) -> bool:
        """Whether the log or a watcher shows events of this level."""
        return level >= self._least

    def reported(self, event: str) -> int:
        """How often this event happened, shown or not."""
        return self._counts[event]

    def _stamp(self, _logger: Any, _method: str, fields: Fields) -> Fields:
        fields["_time"] = self._clock.wall_ns() // NS_PER_MS * NS_PER_MS
        return fields

    def msg(self, event: str, _kind: Event, _time: int, _trace: str = "", **fields: object) -> None:
        """The end of structlog's chain: render and write. Fields may have any other name."""
        kind, time, trace = _kind, _time, _trace
        shown = {name: _plain(value) for name, value in fields.items()}
        shown = {**shown, "event": event} if kind.name_last else {"event": event, **shown}
        line = _line(kind, time, shown, trace)
        as_json = _json_line(kind, time, shown, trace)
        if kind.level >= self.level:
            text = as_json if self._as_json else line
            _write(self._out, f"{text}\n")
            if self._file is not None:
                self._file.write(f"{text}\n")
            if self._syslog is not None:
                self._syslog.write(kind.level, as_json if self._as_json else _untimed(line))
        for watcher in self._watchers:
            if kind.level >= watcher.level:
                seen = as_json if watcher.as_json else line.lstrip()
                watcher.put(seen.encode("utf-8", "replace") + b"\n")

    def write_to(self, *, file: LogFile | None = None, syslog: Syslog | None = None) -> None:
        """Write to these as well, from now on."""
        self._file = file
        self._syslog = syslog

    def end_following(self) -> None:
        """End all watchers, because the agent stops."""
        for watcher in self._watchers:
            watcher.put(None)

    def close(self) -> None:
        for output in (self._file, self._syslog):
            if output is not None:
                output.close()
        self._file = self._syslog = None

    async def follow(
        self, level: Level, *, as_json: bool, heartbeat_s: float
    ) -> AsyncIterator[bytes]:
        """Lines until the agent stops; b"" when nothing was logged for `heartbeat_s` seconds."""
        watcher = Watcher(level, as_json=as_json)
        self._watchers.add(watcher)
        self._compare()
        try:
            while True:
                line: bytes | None = b""
                with contextlib.suppress(TimeoutError):
                    async with timeout(heartbeat_s):
                        line = await watcher.lines.get()
                if line is None:
                    return
                yield line
        finally:
            self._watchers.discard(watcher)
            self._compare()


def _with_traceback(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Replace the exception in `exc_info` by its name and text, and by its traceback."""
    error = fields.pop("exc_info", None)
    if isinstance(error, BaseException):
        fields["error"] = f"{type(error).__name__}: {error}"
        fields["_trace"] = _indented("".join(traceback.format_exception(error)))
    return fields


def _plain(value: object) -> str:
    """A field as text: shortened, with control characters of clients made visible."""
    return _visible(str(value)[:FIELD_CHARS])


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _indented(trace: str) -> str:
    """A traceback that cannot look like lines of the log, even with a client's text in it."""
    return "\n".join(f"        {_visible(line)}" for line in trace.rstrip().split("\n"))


def _write(out: TextIO, text: str) -> None:
    """Write and flush. Errors are ignored: a full disk must not stop the server."""
    with contextlib.suppress(OSError, ValueError):
        out.write(text)
        out.flush()


def _untimed(line: str) -> str:
    """A line without its time and its level."""
    return line.partition("]")[2].lstrip()


def _line(kind: Event, time: int, fields: dict[str, str], trace: str) -> str:
    """`    2026-11-23T13:58:58.915Z [INFO]  nomad: message: event=name key="two words"`."""
    words = "".join(f" {name}={_quoted(value)}" for name, value in fields.items())
    label = f"[{kind.level.name}]"
    text = f"    {_millis(time)} {label:<7} {kind.module}: {kind.message}:{words}"
    return f"{text}\n{trace}" if trace else text


def _json_line(kind: Event, time: int, fields: dict[str, str], trace: str) -> str:
    record: dict[str, str] = {
        "@level": kind.level.name.lower(),
        "@message": kind.message,
        "@module": kind.module,
        "@timestamp": _millis(time),
        **fields,
    }
    if trace:
        record["trace"] = trace
    return to_json(record).decode()


def _millis(time: int) -> str:
    whole, ns = divmod(time, NS_PER_S)
    return f"{rfc3339(whole * NS_PER_S)[:-1]}.{ns // NS_PER_MS:03d}Z"


def _quoted(value: str) -> str:
    if value and not any(c in value for c in ' "='):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
