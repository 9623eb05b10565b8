"""The mirror: memory follows the store, also when commits are lost on their way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.sim.loop import simulate
from tests.sim.store import Disk, Fault, MemoryStore, script
from tests.sim.world import LossyStore

from bellcow.model.namespace import Namespace
from bellcow.state.mirror import Mirror
from bellcow.state.tables import NAMESPACES, Tables
from bellcow.state.waiting import Waiting
from bellcow.store.protocol import Change, Corrupt, StoreError, Unknown
from bellcow.wire import to_msgpack

pytestmark = pytest.mark.virtual_time


class Seen:
    """A mirror that runs, its memory, and the disk below it."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.client = MemoryStore(self.disk)
        self.store = LossyStore(self.disk)
        self.tables = Tables()
        self.waiting = Waiting()
        self.leader_index = 0
        self.reasons: list[object] = []
        self.mirror = Mirror(
            self.store,
            self.tables,
            self.waiting,
            self.report,
            leader_index=lambda: self.leader_index,
        )

    def report(self, event: str, /, **fields: object) -> None:
        assert event == "state_unreadable"
        self.reasons.append(fields["reason"])

    async def write(self, **values: bytes):
        """Commit anything as namespaces."""
        known = self.disk.head
        index = known.index + 1
        head = msgspec.structs.replace(
            known, index=index, commit=f"c{index}", prev=known.commit, ops=len(values)
        )
        changes = {("namespaces", name): value for name, value in values.items()}
        return await self.client.commit(known, head, changes)

    async def put(self, *names: str, **fields: object):
        """Commit namespaces, as another server would."""
        known = self.disk.head
        index = known.index + 1
        changes = {
            ("namespaces", name): to_msgpack(Namespace(name=name, modify_index=index))
            for name in names
        }
        head = msgspec.structs.replace(
            known, index=index, commit=f"c{index}", prev=known.commit, ops=len(changes)
        )
        return await self.client.commit(known, msgspec.structs.replace(head, **fields), changes)

    def names(self) -> set[str]:
        return set(self.tables.all(NAMESPACES))


@asynccontextmanager
async def following():
    seen = Seen()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(seen.mirror.run())
        await seen.mirror.loaded.wait()
        yield seen
        task.cancel()


def run(story):
    async def whole():
        async with following() as seen:
            return await story(seen)

    return simulate(whole())


def test_commit_is_applied_and_wakes_waiters():
    async def story(seen):
        woken = asyncio.Event()
        woken.wake = woken.set
        seen.waiting.add(["namespaces"], woken)
        head = await seen.put("a")
        await seen.mirror.reached(1)
        await woken.wait()
        return seen.names(), seen.tables.head == head

    assert run(story) == ({"a"}, True)


async def test_store_is_loaded_before_it_is_followed():
    seen = Seen()
    await seen.put("a")
    await seen.put("b")
    seen.disk.forget(2)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(seen.mirror.run())
        await seen.mirror.reached(2)
        task.cancel()
    assert seen.names() == {"a", "b"}


def test_lost_commit_is_noticed_at_the_next_commit():
    async def story(seen):
        seen.store.lose = 1
        await seen.put("a")
        await seen.put("b")
        await asyncio.sleep(0.01)
        return seen.names()

    assert run(story) == {"a", "b"}


def test_commit_that_arrives_in_part_is_loaded_whole():
    async def story(seen: Seen):
        known = seen.disk.head
        head = msgspec.structs.replace(known, index=1, commit="c1", prev=known.commit, ops=2)
        rows = {
            ("namespaces", name): to_msgpack(Namespace(name=name, modify_index=1))
            for name in ("first", "second")
        }
        seen.disk.apply(Change(head, rows))
        part = {("namespaces", "first"): rows["namespaces", "first"]}
        seen.disk.log[-1] = Change(head, part)
        await seen.mirror.reached(1)
        return seen.names()

    assert run(story) == {"first", "second"}


def test_lost_last_commit_is_loaded_after_a_second_of_waiting_for_it():
    async def story(seen):
        seen.store.lose = 1
        await seen.put("a")
        began = asyncio.get_running_loop().time()
        await seen.mirror.reached(1)
        return seen.names(), asyncio.get_running_loop().time() - began

    names, seconds = run(story)
    assert names == {"a"}
    assert 1.0 <= seconds < 1.2


def test_waiting_for_an_index_ends_after_five_seconds():
    async def story(seen):
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unknown, match="memory has not reached index 9 within 5 s"):
            await seen.mirror.reached(9)
        return asyncio.get_running_loop().time() - began

    assert run(story) == 5.0


def test_waiting_for_a_reached_index_returns_at_once():
    async def story(seen):
        await seen.put("a")
        await seen.mirror.reached(1)
        began = asyncio.get_running_loop().time()
        await seen.mirror.reached(1)
        return asyncio.get_running_loop().time() - began

    assert run(story) == 0.0


def test_another_generation_is_loaded_whole():
    async def story(seen):
        await seen.put("a")
        known = seen.disk.head
        row = to_msgpack(Namespace(name="b", modify_index=1))
        await seen.client.stage(known, 1, [(("namespaces", "b"), row)])
        await seen.put(gen=1, gens=1, floor=2)
        await seen.mirror.reached(2)
        return seen.names(), seen.tables.table_index(NAMESPACES)

    assert run(story) == ({"b"}, 2)


def test_copy_with_a_lower_index_is_not_loaded():
    async def story(seen):
        await seen.put("a")
        await seen.mirror.reached(1)
        older = Disk()
        seen.store.disk = older
        seen.disk.forget(1)
        seen.store.lose = 1
        await seen.put("b")
        seen.disk.wake()
        await asyncio.sleep(3)
        return seen.names(), seen.tables.index

    assert run(story) == ({"a"}, 1)


async def test_last_state_on_disk_is_shown_until_the_store_can_be_read():
    seen = Seen()
    await seen.put("a")
    old = seen.disk.head
    last = [(key, value) for key, value in seen.disk.objects[old.gen].items()]
    await seen.put("b")
    await seen.mirror.recall(old, last)
    before = seen.names(), seen.tables.head
    async with asyncio.TaskGroup() as group:
        task = group.create_task(seen.mirror.run())
        await seen.mirror.reached(seen.disk.head.index)
        await seen.mirror.recall(old, last)
        after = seen.names(), seen.tables.head
        task.cancel()
    assert (before == ({"a"}, old), after == ({"a", "b"}, seen.disk.head)) == (True, True)


async def test_failed_load_is_retried():
    seen = Seen()
    seen.store.fault = script("load", Fault.UNAVAILABLE, Fault.UNAVAILABLE)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(seen.mirror.run())
        await seen.mirror.loaded.wait()
        task.cancel()
    assert asyncio.get_running_loop().time() == pytest.approx(0.2)


def test_successor_of_a_head_is_returned_when_it_arrives():
    async def story(seen):
        known = await seen.put("a")
        future = seen.mirror.successor_of(known, 5)
        head = await seen.put("b")
        assert await future == head
        assert await seen.mirror.successor_of(known, 5) == head  # also afterwards
        return True

    assert run(story)


def test_successor_is_found_among_earlier_heads():
    async def story(seen):
        first = await seen.put("a")
        second = await seen.put("b")
        await seen.put("c")
        await seen.mirror.reached(3)
        return await seen.mirror.successor_of(first, 5) == second

    assert run(story)


def test_successor_of_a_head_is_none_after_the_time_limit():
    async def story(seen):
        head = await seen.put("a")
        successor = await seen.mirror.successor_of(head, 5)
        return successor, asyncio.get_running_loop().time()

    assert run(story) == (None, 5.0)


def test_recent_commits_are_those_that_memory_applied_and_are_cleared_by_a_load():
    async def story(seen):
        first = await seen.put("a")
        second = await seen.put("b")
        await seen.mirror.reached(2)
        kept = seen.mirror.ring.after(first.commit)
        third = await seen.put("c", gen=1)  # another generation: memory loads again
        await seen.mirror.reached(3)
        ring = seen.mirror.ring
        found = [change.head.commit for change in kept]
        return found == [second.commit], ring.after(second.commit), ring.after(third.commit)

    assert run(story) == (True, None, [])


@pytest.mark.parametrize("odd", [b"\xc1", b"\x01", b"\x81\xa4Name\xa1\xff"])
def test_unreadable_row_leaves_memory_unchanged_until_it_is_repaired(odd: bytes):
    async def story(seen):
        await seen.put("a")
        await seen.mirror.reached(1)
        good = to_msgpack(Namespace(name="b", modify_index=2))
        await seen.write(b=good, c=odd)
        await asyncio.sleep(5)
        before = seen.names(), seen.tables.index, len(seen.reasons)
        await seen.write(c=good)
        await seen.mirror.reached(3)
        return before, seen.names()

    assert run(story) == (({"a"}, 1, 1), {"a", "b", "c"})


@pytest.mark.parametrize("error", [Corrupt("corrupt cluster"), StoreError("odd")])
def test_store_damaged_while_it_is_followed_is_reported_once(error: StoreError):
    async def story(seen):
        await seen.put("a")
        await seen.mirror.reached(1)
        load = seen.store.load

        async def fails():
            raise error

        seen.store.load = fails
        seen.store.lose = 1
        await seen.put("b")
        await seen.put("c")
        await asyncio.sleep(5)
        before = seen.names(), seen.reasons
        seen.store.load = load
        await asyncio.sleep(2)
        return before, seen.names()

    assert run(story) == (({"a"}, [str(error)]), {"a", "b", "c"})


async def test_unreadable_state_fails_the_first_load():
    seen = Seen()
    await seen.write(a=b"\xc1")
    with pytest.raises(Corrupt, match="cannot be read"):
        await seen.mirror.run()


def test_lost_last_commit_is_loaded_when_the_leader_reports_its_index():
    async def story(seen):
        seen.store.lose = 1
        await seen.put("a")
        seen.leader_index = 1
        await asyncio.sleep(2.1)
        return seen.names()

    assert run(story) == {"a"}


def test_memory_behind_the_leader_is_loaded_every_five_seconds():
    async def story(seen):
        await seen.put("a")
        await seen.mirror.reached(1)
        loads, load = [], seen.store.load

        async def counted():
            loads.append(asyncio.get_running_loop().time())
            return await load()

        seen.store.load = counted
        seen.leader_index = 9
        await asyncio.sleep(60)
        return len(loads)

    assert 9 <= run(story) <= 12


def test_memory_that_catches_up_is_not_loaded_again():
    async def story(seen):
        first = seen.tables.head

        async def never():
            raise AssertionError

        seen.store.load = never
        for index in range(1, 200):
            seen.leader_index = index
            await asyncio.sleep(0.9)
            await seen.put(f"n{index}")
        return first != seen.tables.head

    assert run(story)
