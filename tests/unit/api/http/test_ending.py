"""When a connection closes, and that unread answers do not hold it open."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.http_wire import Wire
from tests.support.raw_http import get, running, until
from uvicorn.protocols.http.flow_control import FlowControl

from bellcow.api.http.deadlines import Deadline
from bellcow.api.http.ending import Ending
from bellcow.api.http.limits import HttpLimits


@pytest.mark.parametrize("path", ["/json", "/slow"])
@pytest.mark.parametrize("by", ["HTTP/1.0", "Connection: close"])
async def test_connection_closes_when_the_client_asks_for_it(path: str, by: str):
    async with running() as site, site.connect() as client:
        old = f"GET {path} HTTP/1.0\r\n\r\n".encode()
        await client.send(old if by == "HTTP/1.0" else get(path, by))
        answer = await client.answer()
        assert answer.status == 200
        assert answer.headers[b"Connection"] == b"close"
        assert await client.rest() == b""


async def test_connection_closes_when_the_answer_asks_for_it():
    async with running() as site, site.connect() as client:
        await client.send(get("/last") + get("/json"))
        assert (await client.answer()).headers[b"Connection"] == b"close"
        assert await client.rest() == b""


@pytest.mark.parametrize("last", [True, False])
async def test_unread_answer_is_dropped_in_the_end(last: bool):
    async with running(stall_s=0.05, keep_alive_s=0.05) as site, site.connect() as client:
        await client.send(get("/huge", *["Connection: close"] * last))
        await until(lambda: bool(site.listener.server_state.connections))
        await until(lambda: not site.listener.server_state.connections)
        assert len(await client.rest()) < 30_000_000


class Full(Wire):
    """A transport with bytes left to send: so many in each span of 10 s."""

    def __init__(self, *left: int) -> None:
        super().__init__()
        self.left = list(left)
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        span = int(asyncio.get_running_loop().time() // 10)
        return self.left[min(span, len(self.left) - 1)]

    def abort(self) -> None:
        super().abort()
        self.aborted = True


class Closing:
    """One connection that closes. It is its own deadline, admission and log."""

    peer = "192.0.2.7"

    def __init__(self, wire: Full) -> None:
        self.limits = HttpLimits(stall_s=10.0, linger_s=0.5)
        self.deadline = Deadline(asyncio.get_running_loop(), self)
        self.ending = Ending(self, self.deadline, self)
        self.ending.begin(wire, FlowControl(wire))
        self.events: list[tuple[str, str, str]] = []

    def log_mistake(self, event: str, /, *, client: str, waited_for: str) -> None:
        self.events.append((event, client, waited_for))


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("left", "ends_s"), [((0,), None), ((500,), 10.0), ((500, 300), 20.0), ((500, 300, 1), 30.0)]
)
async def test_closed_connection_is_aborted_when_no_bytes_leave(
    left: tuple[int, ...], ends_s: float
):
    wire = Full(*left)
    closing = Closing(wire)
    closing.ending.close()
    assert (wire.closing, closing.ending.ended) == (True, True)
    if ends_s is None:
        await asyncio.sleep(100.0)
        assert not wire.aborted
        return
    await asyncio.sleep(ends_s - 1.0)
    assert not wire.aborted
    await asyncio.sleep(2.0)
    assert wire.aborted


@pytest.mark.virtual_time
async def test_lingering_connection_is_read_until_it_is_closed():
    wire = Full(0)
    closing = Closing(wire)
    closing.ending._flow.pause_reading()
    closing.ending.linger()
    assert (wire.reading, wire.closing, closing.ending.ended) == (True, False, True)
    await asyncio.sleep(0.6)
    assert wire.closing


@pytest.mark.virtual_time
async def test_slow_client_is_logged_and_cut_off():
    wire = Full(500)
    closing = Closing(wire)
    closing.ending.cut_off("headers")
    assert (wire.aborted, closing.ending.ended) == (True, True)
    assert closing.events == [("http_client_too_slow", "192.0.2.7", "headers")]


@pytest.mark.virtual_time
async def test_aborted_connection_has_ended():
    wire = Full(500)
    closing = Closing(wire)
    closing.ending.abort()
    assert (wire.aborted, closing.ending.ended) == (True, True)
