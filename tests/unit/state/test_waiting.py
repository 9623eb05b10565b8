"""Which waiters are woken, when, and how often."""

from __future__ import annotations

import asyncio

from tests.sim.loop import simulate

from bellcow.state.waiting import SLICE, Waiting


class Sleeper:
    def __init__(self, waiting: Waiting | None = None) -> None:
        self.woken = 0
        self._again = waiting

    def wake(self) -> None:
        self.woken += 1
        if self._again is not None:
            self._again.add(["a"], self)


def run(story):
    async def whole():
        return await story(Waiting())

    return simulate(whole())


def test_only_waiters_of_the_table_are_woken():
    async def story(waiting):
        one, other = Sleeper(), Sleeper()
        waiting.add(["a"], one)
        waiting.add(["b"], other)
        waiting.wake(["a"])
        await asyncio.sleep(0)
        return one.woken, other.woken, len(waiting)

    assert run(story) == (1, 0, 1)


def test_waiter_of_two_tables_is_woken_once():
    async def story(waiting):
        sleeper = Sleeper()
        waiting.add(["a", "b"], sleeper)
        waiting.wake(["a", "b"])
        waiting.wake(["b"])
        await asyncio.sleep(0)
        return sleeper.woken, len(waiting)

    assert run(story) == (1, 0)


def test_woken_waiter_no_longer_waits_for_other_tables():
    async def story(waiting):
        sleeper = Sleeper()
        waiting.add(["a", "b"], sleeper)
        waiting.wake(["a"])
        await asyncio.sleep(0)
        waiting.wake(["b"])
        await asyncio.sleep(0)
        return sleeper.woken

    assert run(story) == 1


def test_discarded_waiter_is_not_woken():
    async def story(waiting):
        sleeper = Sleeper()
        waiting.add(["a"], sleeper)
        waiting.discard(["a", "never"], sleeper)
        waiting.wake(["a"])
        await asyncio.sleep(0)
        return sleeper.woken

    assert run(story) == 0


def test_waiter_that_registers_again_is_woken_by_the_next_change():
    async def story(waiting):
        sleeper = Sleeper(waiting)
        waiting.add(["a"], sleeper)
        for _ in range(3):
            waiting.wake(["a"])
            await asyncio.sleep(0)
        return sleeper.woken, len(waiting)

    assert run(story) == (3, 1)


def test_many_waiters_are_woken_in_slices_with_turns_of_the_loop_between():
    async def story(waiting):
        sleepers = [Sleeper() for _ in range(3 * SLICE)]
        for sleeper in sleepers:
            waiting.add(["a"], sleeper)
        waiting.wake_all()
        seen = []
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(sum(sleeper.woken for sleeper in sleepers))
        return seen

    assert run(story) == [SLICE, 2 * SLICE, 3 * SLICE]


def test_waking_a_table_without_waiters_is_no_error():
    async def story(waiting):
        waiting.wake(["a"])
        waiting.wake_all()
        return len(waiting)

    assert run(story) == 0


def test_coroutine_waits_for_a_change_of_its_tables():
    async def story(waiting):
        asyncio.get_running_loop().call_later(3, waiting.wake, ["b"])
        changed = await waiting.changed(["a", "b"], 5)
        return changed, asyncio.get_running_loop().time(), len(waiting)

    assert run(story) == (True, 3, 0)


def test_coroutine_stops_waiting_at_its_limit():
    async def story(waiting):
        return await waiting.changed(["a"], 5), len(waiting)

    assert run(story) == (False, 0)
