"""Reads that wait for a confirm: which one serves whom, and what happens when it fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from tests.sim.loop import simulate

from bellcow.state.confirmed_reads import RETRY_S, ConfirmedReads
from bellcow.state.waiting import Waiting
from bellcow.store.protocol import NO_HEAD, Corrupt, Unavailable, Unknown

if TYPE_CHECKING:
    from bellcow.store.protocol import Head, StoreError


class Confirming:
    """A store whose confirms end when the test says so; `index` is read at their beginning."""

    confirms_locally = False

    def __init__(self) -> None:
        self.index = 0
        self.began: list[asyncio.Future[Head]] = []

    async def confirm(self) -> Head:
        head = msgspec.structs.replace(NO_HEAD, index=self.index)
        future = asyncio.get_running_loop().create_future()
        self.began.append(future)
        await future
        return head

    def answer(self, failure: Exception | None = None) -> None:
        if failure is None:
            self.began[-1].set_result(NO_HEAD)
        else:
            self.began[-1].set_exception(failure)


class Memory:
    """A mirror that stands where the test says."""

    def __init__(self) -> None:
        self.index = 0
        self.moved = asyncio.Event()
        self.fails = False
        self.said: list[str] = []

    def unreadable(self, error: StoreError) -> None:
        self.said.append(str(error))

    async def reached(self, index: int, timeout_s: float = 5.0) -> None:
        if self.fails:
            raise Unknown("memory does not come")
        while self.index < index:
            self.moved.clear()
            await self.moved.wait()

    def move(self, index: int) -> None:
        self.index = index
        self.moved.set()


class Reader:
    """One read: whether it was woken, and whether its round was confirmed then."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.number = site.reads.ask()
        self.place = site.reads.place
        self.confirmed: list[bool] = []
        site.waiting.add(self.place, self)

    def wake(self) -> None:
        self.confirmed.append(self.site.reads.is_confirmed(self.number))

    def leave(self) -> None:
        self.site.waiting.discard(self.place, self)


class Site:
    def __init__(self) -> None:
        self.store = Confirming()
        self.memory = Memory()
        self.waiting = Waiting()
        self.reads = ConfirmedReads(self.store, self.memory, self.waiting)  # type: ignore[arg-type]


@asynccontextmanager
async def running():
    site = Site()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(site.reads.run())
        yield site
        task.cancel()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(story):
    async def whole():
        async with running() as site:
            return await story(site)

    return simulate(whole())


def test_nobody_asks_and_nothing_is_confirmed():
    async def story(site):
        await asyncio.sleep(10)
        return site.store.began

    assert run(story) == []


def test_one_confirm_serves_all_who_came_before_it_began():
    async def story(site):
        readers = [Reader(site) for _ in range(100)]
        await turn()
        site.store.answer()
        await turn()
        return [each.confirmed for each in readers], len(site.store.began)

    assert run(story) == ([[True]] * 100, 1)


def test_read_that_comes_during_a_confirm_waits_for_the_next_one():
    async def story(site):
        early = Reader(site)
        await turn()
        late = Reader(site)
        await turn()
        assert len(site.store.began) == 1
        site.store.answer()
        await turn()
        assert (early.confirmed, late.confirmed) == ([True], [])
        assert not site.reads.is_confirmed(late.number)
        assert len(site.store.began) == 2
        site.store.answer()
        await turn()
        return late.confirmed

    assert run(story) == [True]


def test_read_waits_until_memory_has_the_head_that_was_confirmed():
    async def story(site):
        site.store.index = 7
        reader = Reader(site)
        await turn()
        site.store.answer()
        await turn()
        site.memory.move(6)
        await turn()
        assert reader.confirmed == []
        site.memory.move(7)
        await turn()
        return reader.confirmed

    assert run(story) == [True]


def test_round_that_fails_is_served_by_the_next_that_does_not():
    async def story(site):
        first = Reader(site)
        await turn()
        second = Reader(site)
        site.store.answer(Unavailable("no leader"))
        await turn()
        assert (first.confirmed, second.confirmed) == ([], [])
        await asyncio.sleep(RETRY_S)
        await turn()
        assert len(site.store.began) == 2
        site.store.answer()
        await turn()
        return first.confirmed, second.confirmed

    assert run(story) == ([True], [True])


def test_memory_that_does_not_come_is_no_confirm():
    async def story(site):
        site.memory.fails = True
        reader = Reader(site)
        await turn()
        site.store.answer()
        await turn()
        assert reader.confirmed == []
        site.memory.fails = False
        await asyncio.sleep(RETRY_S)
        await turn()
        site.store.answer()
        await turn()
        return reader.confirmed

    assert run(story) == [True]


def test_nothing_is_tried_again_for_those_who_have_left():
    async def story(site):
        reader = Reader(site)
        await turn()
        reader.leave()
        site.store.answer(Unavailable("no leader"))
        await asyncio.sleep(10)
        assert len(site.store.began) == 1
        again = Reader(site)
        await turn()
        site.store.answer()
        await turn()
        return reader.confirmed, again.confirmed, len(site.waiting)

    assert run(story) == ([], [True], 0)


def test_round_that_was_never_asked_for_is_not_confirmed():
    async def story(site):
        return site.reads.is_confirmed(0), site.reads.is_confirmed(1)

    assert run(story) == (False, False)


def test_store_says_whether_reads_wait_at_all():
    async def story(site):
        waits = site.reads.immediate
        site.store.confirms_locally = True
        return waits, site.reads.immediate

    assert run(story) == (False, True)


def test_store_that_is_damaged_is_no_confirm_and_is_told_of():
    async def story(site):
        reader = Reader(site)
        await turn()
        site.store.answer(Corrupt("corrupt cluster"))
        await asyncio.sleep(RETRY_S)
        await turn()
        site.store.answer()
        await turn()
        return reader.confirmed, site.memory.said

    assert run(story) == ([True], ["corrupt cluster"])
