"""Which waiters are woken, when, and how often."""

from __future__ import annotations

import asyncio

import pytest

from bellcow.state.waiting import SLICE, Waiting

pytestmark = pytest.mark.virtual_time


class Sleeper:
    is_request = True

    def __init__(self, waiting: Waiting | None = None) -> None:
        self.woken = 0
        self._again = waiting

    def wake(self) -> None:
        self.woken += 1
        if self._again is not None:
            self._again.add(["a"], self)


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


async def test_only_waiters_of_the_table_are_woken(waiting):
    one, other = Sleeper(), Sleeper()
    waiting.add(["a"], one)
    waiting.add(["b"], other)
    waiting.wake(["a"])
    await asyncio.sleep(0)
    assert one.woken == 1
    assert other.woken == 0
    assert len(waiting) == 1


async def test_waiting_tasks_of_the_server_are_not_counted(waiting):
    own = asyncio.ensure_future(waiting.changed(["a"]))
    request = asyncio.ensure_future(waiting.changed(["a"], is_request=True))
    await asyncio.sleep(0)
    assert len(waiting) == 1
    waiting.wake(["a"])
    assert await own
    assert await request


async def test_waiter_of_two_tables_is_woken_once(waiting):
    sleeper = Sleeper()
    waiting.add(["a", "b"], sleeper)
    waiting.wake(["a", "b"])
    waiting.wake(["b"])
    await asyncio.sleep(0)
    assert sleeper.woken == 1
    assert len(waiting) == 0


async def test_woken_waiter_no_longer_waits_for_other_tables(waiting):
    sleeper = Sleeper()
    waiting.add(["a", "b"], sleeper)
    waiting.wake(["a"])
    await asyncio.sleep(0)
    waiting.wake(["b"])
    await asyncio.sleep(0)
    assert sleeper.woken == 1


async def test_discarded_waiter_is_not_woken(waiting):
    sleeper = Sleeper()
    waiting.add(["a"], sleeper)
    waiting.discard(["a", "never"], sleeper)
    waiting.wake(["a"])
    await asyncio.sleep(0)
    assert sleeper.woken == 0


async def test_waiter_that_registers_again_is_woken_by_the_next_change(waiting):
    sleeper = Sleeper(waiting)
    waiting.add(["a"], sleeper)
    for _ in range(3):
        waiting.wake(["a"])
        await asyncio.sleep(0)
    assert sleeper.woken == 3
    assert len(waiting) == 1


async def test_many_waiters_are_woken_in_slices_with_turns_of_the_loop_between(waiting):
    sleepers = [Sleeper() for _ in range(3 * SLICE)]
    for sleeper in sleepers:
        waiting.add(["a"], sleeper)
    waiting.wake_all()
    seen = []
    for _ in range(3):
        await asyncio.sleep(0)
        seen.append(sum(sleeper.woken for sleeper in sleepers))
    assert seen == [SLICE, 2 * SLICE, 3 * SLICE]


async def test_waking_a_table_without_waiters_is_no_error(waiting):
    waiting.wake(["a"])
    waiting.wake_all()
    assert len(waiting) == 0


async def test_coroutine_waits_for_a_change_of_its_tables(waiting):
    asyncio.get_running_loop().call_later(3, waiting.wake, ["b"])
    changed = await waiting.changed(["a", "b"], 5)
    assert changed
    assert asyncio.get_running_loop().time() == 3
    assert len(waiting) == 0


async def test_coroutine_stops_waiting_at_its_limit(waiting):
    assert not await waiting.changed(["a"], 5)
    assert len(waiting) == 0
