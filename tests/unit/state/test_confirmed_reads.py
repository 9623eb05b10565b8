"""Reads that wait for a confirm: which confirm serves which read, and what a failure does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from bellcow.state.confirmed_reads import RETRY_S, ConfirmedReads
from bellcow.state.waiting import Waiting
from bellcow.store.protocol import NO_HEAD, Confirmation, Corrupt, Unavailable, Unknown

if TYPE_CHECKING:
    from bellcow.store.protocol import Head, StoreError

pytestmark = pytest.mark.virtual_time


class Confirming:
    """A store whose confirms end when the test says so; `index` is read at their beginning."""

    confirmation = Confirmation.MAJORITY

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

    is_request = True

    def __init__(self, site: Site) -> None:
        self.site = site
        self.number = site.reads.ask()
        self.waits_for = site.reads.waits_for
        self.confirmed: list[bool] = []
        site.waiting.add(self.waits_for, self)

    def wake(self) -> None:
        self.confirmed.append(self.site.reads.is_confirmed(self.number))

    def leave(self) -> None:
        self.site.waiting.discard(self.waits_for, self)


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


async def test_nothing_is_confirmed_until_a_read_asks():
    async with running() as site:
        await asyncio.sleep(10)
        assert site.store.began == []


async def test_one_confirm_serves_all_reads_that_arrived_before_it_began():
    async with running() as site:
        readers = [Reader(site) for _ in range(100)]
        await turn()
        site.store.answer()
        await turn()
        assert [each.confirmed for each in readers] == [[True]] * 100
        assert len(site.store.began) == 1


async def test_read_that_arrives_during_a_confirm_waits_for_the_next_one():
    async with running() as site:
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
        assert late.confirmed == [True]


async def test_read_waits_until_memory_has_the_head_that_was_confirmed():
    async with running() as site:
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
        assert reader.confirmed == [True]


async def test_failed_round_is_served_by_the_next_that_succeeds():
    async with running() as site:
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
        assert first.confirmed == [True]
        assert second.confirmed == [True]


async def test_confirm_fails_when_memory_does_not_reach_the_head():
    async with running() as site:
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
        assert reader.confirmed == [True]


async def test_failed_confirm_is_not_retried_when_no_read_waits():
    async with running() as site:
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
        assert reader.confirmed == []
        assert again.confirmed == [True]
        assert len(site.waiting) == 0


async def test_round_that_no_read_asked_for_is_not_confirmed():
    async with running() as site:
        assert not site.reads.is_confirmed(0)
        assert not site.reads.is_confirmed(1)


async def test_reads_do_not_wait_where_the_store_confirms_locally():
    async with running() as site:
        waits = site.reads.immediate
        site.store.confirmation = Confirmation.LOCAL
        assert not waits
        assert site.reads.immediate


async def test_damaged_store_confirms_nothing_and_is_reported():
    async with running() as site:
        reader = Reader(site)
        await turn()
        site.store.answer(Corrupt("corrupt cluster"))
        await asyncio.sleep(RETRY_S)
        await turn()
        site.store.answer()
        await turn()
        assert reader.confirmed == [True]
        assert site.memory.said == ["corrupt cluster"]
