"""What waits for a client that does not read."""

from __future__ import annotations

import asyncio

from bellcow.api.http.flow import Flow


class _Transport:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def flow(transport: object = None) -> Flow:
    return Flow(transport)  # type: ignore[arg-type]


async def test_writer_waits_while_writing_is_paused():
    paused = flow()
    paused.pause_writing()
    waiting = [asyncio.ensure_future(paused.drain()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    paused.resume_writing()
    await asyncio.gather(*waiting)
    assert not paused.write_paused


async def test_second_pause_is_waited_for_again():
    paused = flow()
    paused.pause_writing()
    first = asyncio.ensure_future(paused.drain())
    await asyncio.sleep(0)
    paused.resume_writing()
    paused.pause_writing()
    second = asyncio.ensure_future(paused.drain())
    await first
    await asyncio.sleep(0)
    assert not second.done()
    paused.resume_writing()
    await second


async def test_writer_does_not_wait_when_nothing_is_paused():
    await flow().drain()


def test_reading_is_paused_and_resumed_once():
    transport = _Transport()
    paused = flow(transport)
    paused.pause_reading()
    paused.pause_reading()
    paused.resume_reading()
    paused.resume_reading()
    assert transport.calls == ["pause", "resume"]
