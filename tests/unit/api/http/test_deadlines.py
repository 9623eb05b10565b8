"""How long a client may take, what happens afterwards, and how rarely a timer is set."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from tests.support.http_wire import wired
from tests.support.raw_http import FixedApp, get, request, running, trickle

from bellcow.api.http import deadlines
from bellcow.api.http.deadlines import WHEN_LATE, Deadline


async def test_silent_connection_is_cut_off():
    async with running(header_s=0.05) as site, site.connect() as client:
        assert await client.rest() == b""
        assert site.names() == ["http_client_too_slow"]


@pytest.mark.parametrize("first", ["", "after an answer"])
async def test_headers_sent_byte_by_byte_are_cut_off(first: str):
    async with running(header_s=0.1) as site, site.connect() as client:
        if first:
            await client.get("/json")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in get("/json", "X-Long: " + "v" * 500):
                await client.send(bytes([byte]))
                await asyncio.sleep(0.005)
                if client.reader.at_eof():
                    break
        assert 0.09 < time.monotonic() - began < 2
        assert site.names() == ["http_client_too_slow"]


async def test_half_a_header_behind_a_slow_request_has_a_deadline():
    async with running(header_s=0.05) as site, site.connect() as client:
        await client.send(get("/slow") + get("/json")[:-10])
        assert (await client.answer()).body == b"GET /slow"
        assert await client.rest() == b""
        assert site.names() == ["http_client_too_slow"]


async def test_idle_connection_is_closed_after_the_keep_alive_time():
    async with running(keep_alive_s=0.4, header_s=0.1) as site, site.connect() as client:
        for _ in range(4):
            assert (await client.get("/json")).status == 200
            await asyncio.sleep(0.15)
        began = time.monotonic()
        assert await client.rest() == b""
        assert time.monotonic() - began < 1
        assert site.events == []


async def test_whole_body_has_a_deadline_however_it_trickles():
    async with running(body_s=0.1) as site, site.connect() as client:
        await client.send(request("PUT", "/a", "Content-Length: 900"))
        sending = asyncio.ensure_future(trickle(client.send, b"x", 0.01))
        answer = await client.answer()
        sending.cancel()
        assert answer.status == 408
        assert answer.headers[b"Connection"] == b"close"
        assert await client.rest() == b""


async def test_upload_slower_than_the_least_speed_is_refused():
    async with (
        running(upload_window_s=0.1, upload_bytes_per_s=10_000) as site,
        site.connect() as client,
    ):
        await client.send(request("PUT", "/upload", "Content-Length: 1000000"))
        sending = asyncio.ensure_future(trickle(client.send, b"x", 0.01))
        assert (await client.answer()).status == 408
        sending.cancel()


async def test_upload_that_keeps_the_least_speed_may_take_any_time():
    async with (
        running(upload_window_s=0.2, upload_bytes_per_s=1000, body_s=0.05) as site,
        site.connect() as client,
    ):
        await client.send(request("PUT", "/upload", "Content-Length: 3000"))
        for _ in range(30):
            await client.send(b"x" * 100)
            await asyncio.sleep(0.015)
        assert (await client.answer()).body == b"3000"


async def test_small_unread_body_has_a_deadline():
    async with running(body_s=0.05) as site, site.connect() as client:
        await client.send(request("POST", "/missing", "Content-Length: 5"))
        await client.answer()
        assert await client.rest() == b""
        assert site.names() == ["http_client_too_slow"]


async def test_requests_in_a_row_set_no_new_timer():
    with wired(FixedApp()) as (connection, wire):
        connection.data_received(get("/json"))
        timer = connection._deadline._timer
        for _ in range(100):
            connection.data_received(get("/json"))
        assert connection._deadline._timer is timer
        assert len(wire.written) == 101


class Recorder:
    """A connection that writes down what its deadline does. It is its own ending."""

    def __init__(self) -> None:
        self.done: list[tuple[float, str]] = []
        self.deadline = Deadline(asyncio.get_running_loop(), self)

    @property
    def ending(self) -> Recorder:
        return self

    def _note(self, what: str) -> None:
        self.done.append((asyncio.get_running_loop().time(), what))

    def cut_off(self, waited_for: str) -> None:
        self._note(f"cut off: {waited_for}")

    def close(self) -> None:
        self._note("close")

    def close_lingering(self) -> None:
        self._note("close lingering")

    def watch_close(self) -> None:
        self._note("watch close")

    def check_stream(self) -> None:
        self._note("check stream")

    def stop_waiting(self) -> None:
        self._note("stop waiting")


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("phase", "action"),
    [
        (deadlines.FIRST_BYTE, "cut off: first byte"),
        (deadlines.HEADERS, "cut off: headers"),
        (deadlines.UNREAD_BODY, "cut off: rest of an unread body"),
        (deadlines.NEXT_REQUEST, "close"),
        (deadlines.CHANGE, "stop waiting"),
        (deadlines.STREAM_READER, "check stream"),
        (deadlines.LINGER, "close lingering"),
        (deadlines.LAST_BYTES, "watch close"),
    ],
)
async def test_each_phase_ends_in_its_own_way(phase: str, action: str):
    recorder = Recorder()
    recorder.deadline.expect(phase, 2.0)
    await asyncio.sleep(10.0)
    assert recorder.done == [(2.0, action)]


def test_every_phase_but_our_answer_has_an_action():
    phases = {
        value
        for name, value in vars(deadlines).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str)
    }
    assert phases - set(WHEN_LATE) == {deadlines.OUR_ANSWER}


@pytest.mark.virtual_time
async def test_later_deadline_fires_when_it_is_due_and_not_before():
    recorder = Recorder()
    for _ in range(5):
        recorder.deadline.expect(deadlines.NEXT_REQUEST, 2.0)
        await asyncio.sleep(1.0)
    await asyncio.sleep(10.0)
    assert recorder.done == [(6.0, "close")]


@pytest.mark.virtual_time
async def test_earlier_deadline_replaces_a_later_one():
    recorder = Recorder()
    recorder.deadline.expect(deadlines.NEXT_REQUEST, 75.0)
    recorder.deadline.expect(deadlines.HEADERS, 10.0)
    await asyncio.sleep(100.0)
    assert recorder.done == [(10.0, "cut off: headers")]


@pytest.mark.virtual_time
@pytest.mark.parametrize("end", ["lift", "cancel"])
async def test_nothing_happens_after_the_deadline_is_lifted_or_canceled(end: str):
    recorder = Recorder()
    recorder.deadline.expect(deadlines.HEADERS, 1.0)
    getattr(recorder.deadline, end)()
    await asyncio.sleep(10.0)
    assert recorder.done == []
