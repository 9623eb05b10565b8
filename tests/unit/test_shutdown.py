"""Waits that are ended from elsewhere."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.loop import simulate

from bellcow.shutdown import Waits

pytestmark = pytest.mark.virtual_time


class GoneError(Exception):
    """Why they end."""


async def waiting(waits: Waits, seconds: float) -> str:
    try:
        async with waits.until_ended():
            await asyncio.sleep(seconds)
    except GoneError:
        return "ended"
    return "done"


async def test_ended_waits_raise_the_reason_and_finished_ones_keep_their_result():
    waits = Waits(GoneError)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(waiting(waits, seconds)) for seconds in (0.5, 9, 99)]
        await asyncio.sleep(1)
        assert not waits.ended
        waits.end()
    assert [task.result() for task in tasks] == ["done", "ended", "ended"]


async def test_nothing_is_waited_for_after_the_end():
    waits = Waits(GoneError)
    waits.end()
    assert waits.ended
    assert await waiting(waits, 0) == "ended"


def test_other_time_limit_inside_is_no_end():
    async def story() -> None:
        async with Waits(GoneError).until_ended(), asyncio.timeout(1):
            await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        simulate(story())
