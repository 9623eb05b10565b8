"""The log: lines for people, lines of JSON, and its watchers."""

from __future__ import annotations

import asyncio
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sim.clock import FixedClock
from tests.sim.loop import simulate

from bellcow.agent.log import FIELD_CHARS, WATCHER_LINES, Log
from bellcow.agent.log_outputs import LogFile
from bellcow.events import Level

TIME = 1_800_000_000_915_400_000


def lines(event: str, *, level: Level = Level.DEBUG, as_json: bool = False, **fields) -> list[str]:
    out = io.StringIO()
    Log(FixedClock(TIME), level, as_json=as_json, out=out).report(event, **fields)
    return out.getvalue().splitlines()


def test_event_is_a_line_as_nomad_writes_it():
    (line,) = lines("leadership_acquired", term=2, index=7)
    assert line == (
        "    2027-01-15T08:00:00.915Z [INFO]  nomad: cluster leadership acquired: "
        "event=leadership_acquired term=2 index=7"
    )


def test_event_without_fields_ends_with_its_name():
    stopped = "    2027-01-15T08:00:00.915Z [INFO]  agent: stopped: event=stopped"
    assert lines("stopped") == [stopped]


def test_level_is_padded_to_one_width():
    assert "[ERROR] nomad.store:" in lines("no_space", reason="x")[0]
    assert "[WARN]  nomad:" in lines("leadership_lost", reason="x")[0]


def test_event_below_the_level_is_not_written():
    assert lines("stopped", level=Level.WARN) == []
    assert lines("leadership_lost", level=Level.WARN, reason="x")


def test_good_news_of_a_warning_is_at_info():
    (bad,) = lines("health_changed", server="b", healthy=False)
    (good,) = lines("health_changed", server="b", healthy=True)
    assert "[WARN] " in bad
    assert "[INFO] " in good
    assert lines("health_changed", level=Level.WARN, healthy=True) == []


def test_level_may_change_while_running():
    out = io.StringIO()
    log = Log(FixedClock(TIME), Level.ERROR, out=out)
    log.report("stopped")
    log.level = Level.INFO
    log.report("stopped")
    assert len(out.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "reason=plain"),
        ("two words", 'reason="two words"'),
        ("", 'reason=""'),
        ('a"b', 'reason="a\\"b"'),
        ("a=b", 'reason="a=b"'),
        ("a\nb", "reason=a\\nb"),
        ("\x1b[31mred", "reason=\\x1b[31mred"),
        ("\r\x00", "reason=\\r\\x00"),
        ("é", "reason=é"),
        ("\u202e\ud800", "reason=\\u202e\\ud800"),
        (7, "reason=7"),
        (None, "reason=None"),
    ],
)
def test_field_is_shown_on_the_line_and_cannot_leave_it(value, shown):
    (line,) = lines("leadership_lost", reason=value)
    assert line.endswith(f": event=leadership_lost {shown}")


def test_long_field_is_cut():
    (line,) = lines("leadership_lost", reason="x" * 100_000)
    assert len(line) < FIELD_CHARS + 100


@given(st.text())
def test_whatever_a_client_sends_is_one_printable_line(text):
    (line,) = lines("request_refused", error=text)
    assert line.isprintable()
    (line,) = lines("request_refused", as_json=True, error=text)
    assert set(msgspec.json.decode(line)) == {
        "@level", "@message", "@module", "@timestamp", "event", "error"
    }  # fmt: skip


def test_json_line_has_the_keys_of_nomad_and_the_fields():
    (line,) = lines("leadership_acquired", as_json=True, term=2, index=7)
    assert msgspec.json.decode(line) == {
        "@level": "info",
        "@message": "cluster leadership acquired",
        "@module": "nomad",
        "@timestamp": "2027-01-15T08:00:00.915Z",
        "event": "leadership_acquired",
        "term": "2",
        "index": "7",
    }


def failure(text: str) -> Exception:
    with pytest.raises(ValueError, match=r"\w") as caught:
        raise ValueError(text)
    return caught.value


def test_failure_is_written_with_its_traceback():
    first, *rest = lines("request_failed", exc_info=failure("oh"))
    assert first.endswith('error="ValueError: oh"')
    assert rest[0] == "        Traceback (most recent call last):"
    assert rest[-1] == "        ValueError: oh"
    (line,) = lines("request_failed", as_json=True, exc_info=failure("oh"))
    assert "Traceback" in msgspec.json.decode(line)["trace"]


def test_traceback_cannot_pass_for_lines_of_the_log():
    forged = "x\n    2027-01-15T08:00:00.915Z [INFO]  agent: stopped\x1b[2J"
    _, *rest = lines("request_failed", exc_info=failure(forged))
    assert all(line.startswith("        ") and line.isprintable() for line in rest)


def test_unwritable_log_does_not_stop_the_server():
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    log = Log(FixedClock(TIME), Level.INFO, out=Full())
    log.report("stopped")
    closed = io.StringIO()
    closed.close()
    Log(FixedClock(TIME), Level.INFO, out=closed).report("stopped")


def test_event_that_is_not_in_the_list_is_a_slip():
    with pytest.raises(KeyError):
        lines("no_such_event")


def test_log_file_is_for_its_owner_alone_and_is_continued(tmp_path):
    path = tmp_path / "nomad.log"
    for _ in range(2):
        log = Log(FixedClock(TIME), Level.INFO, out=io.StringIO())
        log.write_to(file=LogFile(path, FixedClock(TIME)))
        log.report("stopped")
        log.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().splitlines()) == 2


# Watchers


async def taken(stream, count: int) -> list[bytes]:
    return [await anext(stream) for _ in range(count)]


def followed(story):
    async def whole():
        log = Log(FixedClock(TIME), Level.ERROR, out=io.StringIO())
        return await story(log)

    return simulate(whole())


def test_watcher_gets_lines_of_its_own_level_and_form():
    async def story(log):
        streams = [
            log.follow(Level.DEBUG, as_json=False, heartbeat_s=1),
            log.follow(Level.WARN, as_json=True, heartbeat_s=1),
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(taken(stream, 2)) for stream in streams]
            await asyncio.sleep(0)
            log.report("stopped")
            log.report("leadership_lost", reason="x")
        for stream in streams:
            await stream.aclose()
        return [task.result() for task in tasks]

    plain, as_json = followed(story)
    assert plain[0] == b"2027-01-15T08:00:00.915Z [INFO]  agent: stopped: event=stopped\n"
    assert b"leadership lost" in plain[1]
    assert msgspec.json.decode(as_json[0])["@level"] == "warn"
    assert as_json[1] == b""  # nothing more came: a heartbeat


def test_heartbeat_comes_when_nothing_is_logged():
    async def story(log):
        stream = log.follow(Level.INFO, as_json=False, heartbeat_s=10)
        seen = await taken(stream, 3)
        await stream.aclose()
        return seen, asyncio.get_running_loop().time()

    assert followed(story) == ([b"", b"", b""], 30.0)


def test_slow_watcher_loses_the_oldest_lines():
    async def story(log):
        stream = log.follow(Level.INFO, as_json=False, heartbeat_s=1)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(taken(stream, 1))
            await asyncio.sleep(0)
            for number in range(WATCHER_LINES + 10):
                log.report("leadership_lost", reason=number)
        rest = await taken(stream, WATCHER_LINES)
        await stream.aclose()
        return first.result()[0], rest[-2], rest[-1]

    first, last, heartbeat = followed(story)
    assert first.endswith(b"reason=10\n")
    assert last.endswith(b"reason=%d\n" % (WATCHER_LINES + 9))
    assert heartbeat == b""


def test_watcher_that_left_is_removed():
    async def story(log):
        stream = log.follow(Level.INFO, as_json=False, heartbeat_s=1)
        await taken(stream, 1)
        assert log._watchers
        await stream.aclose()
        return len(log._watchers)

    assert followed(story) == 0


def test_field_may_have_a_name_the_log_uses_itself():
    out = io.StringIO()
    log = Log(FixedClock(), Level.INFO, out=out)
    log.report("stopped", kind="remove", time="now", trace="none")
    assert out.getvalue().rstrip().endswith(": event=stopped kind=remove time=now trace=none")
