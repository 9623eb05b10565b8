"""Time limits, also in a task that was cancelled before."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.loop import simulate

from bellcow.deadline import timeout, timeout_at, until

pytestmark = pytest.mark.virtual_time


async def cancelled_once() -> None:
    """The running task has been cancelled, and goes on with its clean-up."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(1)
    assert task.cancelling() == 1


async def test_limit_ends_a_slower_block():
    with pytest.raises(TimeoutError):
        async with timeout(2) as limit:
            await asyncio.sleep(5)
    assert limit.expired()
    assert asyncio.get_running_loop().time() == 2


async def test_limit_ends_a_wait_in_the_clean_up_of_a_cancelled_task():
    await cancelled_once()
    with pytest.raises(TimeoutError):
        async with timeout(2):
            await asyncio.sleep(5)
    assert asyncio.current_task().cancelling() == 1, "that it was cancelled is still known"


async def test_cancellation_from_elsewhere_stays_one_even_when_the_time_is_over_too():
    async def wait() -> None:
        async with timeout_at(2):
            await asyncio.sleep(5)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait())
        loop = asyncio.get_running_loop()
        loop.call_at(2, waiting.cancel)
        await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_inner_limit_leaves_the_outer_one_alone():
    async with timeout(9) as outer:
        with pytest.raises(TimeoutError):
            async with timeout(2):
                await asyncio.sleep(5)
        await asyncio.sleep(3)
    assert not outer.expired()


async def test_time_can_be_set_while_it_is_in_force_and_only_then():
    limit = timeout(None)

    async def end_at_once() -> None:
        async with limit:
            limit.reschedule(0)
            await asyncio.sleep(5)

    with pytest.raises(RuntimeError):
        limit.reschedule(1)
    with pytest.raises(TimeoutError):
        await end_at_once()
    with pytest.raises(RuntimeError):
        limit.reschedule(None)


async def test_limit_does_not_disturb_a_quicker_block():
    async with timeout(2) as limit:
        await asyncio.sleep(1)
    await asyncio.sleep(5)
    assert not limit.expired()


@pytest.mark.parametrize(("ready_s", "found", "seconds"), [(0, 7, 0), (1, 7, 1), (9, None, 3)])
async def test_until_returns_what_is_found_within_the_limit(
    ready_s: int, found: int | None, seconds
):
    loop = asyncio.get_running_loop()

    async def look() -> int | None:
        return 7 if loop.time() >= ready_s else None

    assert (await until(look, 3.0, 0.25), loop.time()) == (found, seconds)


def test_until_passes_on_what_the_look_raises():
    async def look() -> None:
        raise ValueError("ended")

    with pytest.raises(ValueError, match="ended"):
        simulate(until(look, 3.0, 0.25))
