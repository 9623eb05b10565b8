"""The mirror: memory follows the store, also when commits are lost on their way."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.store import Disk, Fault, MemoryStore, script
from tests.sim.world import LossyStore

from bellcow.model.namespace import Namespace
from bellcow.state.mirror import Mirror
from bellcow.state.tables import NAMESPACES, Tables
from bellcow.state.waiting import Waiting
from bellcow.store.protocol import Change, Corrupt, StoreError, Unknown
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.store.protocol import Head, Key

pytestmark = pytest.mark.virtual_time


class Store(LossyStore):
    """Its loads can be counted and held up."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.loads = 0
        self.loading = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        found = await super().load()
        self.loads += 1
        self.loading.set()
        await self.released.wait()
        return found


class Seen:
    """A mirror that runs, its memory, and the disk below it."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.client = MemoryStore(self.disk)
        self.store = Store(self.disk)
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

    async def make(self, *names: str, **fields: object):
        """As `put`, with what the committer passes to the mirror afterwards."""
        known = self.disk.head
        head = await self.put(*names, **fields)
        rows = {name: Namespace(name=name, modify_index=head.index) for name in names}
        changes = {("namespaces", name): to_msgpack(row) for name, row in rows.items()}
        return known, Change(head, changes), {(NAMESPACES, name): row for name, row in rows.items()}

    async def own(self, *names: str) -> None:
        """Commit namespaces as this server."""
        self.mirror.apply_own(*await self.make(*names))

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


async def test_commit_is_applied_and_wakes_waiters():
    async with following() as seen:
        woken = asyncio.Event()
        woken.wake = woken.set
        seen.waiting.add(["namespaces"], woken)
        head = await seen.put("a")
        await seen.mirror.reached(1)
        await woken.wait()
        assert seen.names() == {"a"}
        assert seen.tables.head == head


async def test_own_commit_is_in_memory_before_its_event():
    async with following() as seen:
        woken = asyncio.Event()
        woken.wake = woken.set
        seen.waiting.add(["namespaces"], woken)
        await seen.own("a")
        assert seen.names() == {"a"}
        assert len(seen.mirror.ring.after("") or ()) == 1
        await woken.wait()
        await asyncio.sleep(0.01)  # the event comes, and finds nothing new
        await seen.own("b")
        await seen.put("c")
        await seen.mirror.reached(3)
        assert seen.names() == {"a", "b", "c"}
        assert [each.head.index for each in seen.mirror.ring.after("") or ()] == [1, 2, 3]
        assert seen.store.loads == 1


async def test_own_commit_whose_event_was_faster_is_applied_once():
    async with following() as seen:
        known, change, rows = await seen.make("a")
        await seen.mirror.reached(1)
        seen.mirror.apply_own(known, change, rows)
        await seen.put("b")
        await seen.mirror.reached(2)
        assert [each.head.index for each in seen.mirror.ring.after("") or ()] == [1, 2]
        assert seen.store.loads == 1


async def test_own_commit_waits_for_the_commit_before_it():
    async with following() as seen:
        seen.store.lose = 1
        await seen.put("a")
        await seen.own("b")
        assert seen.names() == set()
        await seen.mirror.reached(2)
        assert seen.names() == {"a", "b"}


async def test_own_commit_whose_event_is_lost_stays():
    async with following() as seen:
        seen.store.lose = 1
        await seen.own("a")
        await asyncio.sleep(10.0)
        assert seen.names() == {"a"}
        await seen.put("b")
        await seen.mirror.reached(2)
        assert seen.names() == {"a", "b"}


async def test_own_commit_to_another_generation_is_loaded():
    async with following() as seen:
        known, change, rows = await seen.make("a", gen=1)
        seen.mirror.apply_own(known, change, rows)
        assert seen.names() == set()
        await seen.mirror.reached(1)
        assert seen.names() == {"a"}


async def test_own_commit_during_a_load_is_not_replaced_by_what_was_loaded():
    async with following() as seen:
        await seen.own("a")
        seen.store.loading.clear()
        seen.store.released.clear()
        seen.mirror._load_again()
        await seen.store.loading.wait()
        await seen.own("b")
        assert seen.names() == {"a", "b"}
        seen.store.released.set()
        await asyncio.sleep(0.01)
        assert seen.names() == {"a", "b"}
        await seen.put("c")
        await seen.mirror.reached(3)
        assert seen.names() == {"a", "b", "c"}


async def test_late_events_of_too_many_own_commits_are_a_load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bellcow.state.mirror.OWN_KEPT", 3)
    async with following() as seen:
        seen.store.lose = 5
        for name in "abcde":
            await seen.own(name)
        await asyncio.sleep(0.01)
        assert seen.store.loads == 2
        assert seen.names() == set("abcde")


@pytest.mark.parametrize("seed", range(60))
async def test_memory_is_a_state_of_the_store_in_any_order_of_events(seed: int):
    """Own commits are answered before, after and without their event; others write in between."""
    rng = random.Random(seed)
    async with following() as seen:
        states, index = {0: set[str]()}, 0
        for number in range(40):
            name = f"n{rng.randrange(8)}-{number}"
            act = rng.choice(("own", "own", "late", "put", "lose", "load", "rest"))
            if act == "own":
                await seen.own(name)
            elif act == "late":
                made = await seen.make(name)
                await asyncio.sleep(rng.choice((0, 0, 0.001, 1.5)))
                seen.mirror.apply_own(*made)
            elif act == "put":
                await seen.put(name)
            elif act == "lose":
                seen.store.lose = rng.randrange(3)
            elif act == "load":
                seen.mirror._load_again()
            else:
                await asyncio.sleep(rng.choice((0, 0.001, 0.2)))
            if seen.disk.head.index not in states:
                states[seen.disk.head.index] = set(states[max(states)]) | {name}
            assert seen.names() == states[seen.tables.index]
            assert seen.tables.index >= index
            index = seen.tables.index
        seen.store.lose = 0
        await seen.put("last")
        await seen.mirror.reached(seen.disk.head.index)
        assert seen.names() == states[max(states)] | {"last"}
        assert seen.tables.head == seen.disk.head


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


async def test_lost_commit_is_noticed_at_the_next_commit():
    async with following() as seen:
        seen.store.lose = 1
        await seen.put("a")
        await seen.put("b")
        await asyncio.sleep(0.01)
        assert seen.names() == {"a", "b"}


async def test_commit_that_arrives_in_part_is_loaded_whole():
    async with following() as seen:
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
        assert seen.names() == {"first", "second"}


async def test_lost_last_commit_is_loaded_after_a_second_of_waiting_for_it():
    async with following() as seen:
        seen.store.lose = 1
        await seen.put("a")
        began = asyncio.get_running_loop().time()
        await seen.mirror.reached(1)
        assert seen.names() == {"a"}
        assert 1.0 <= asyncio.get_running_loop().time() - began < 1.2


async def test_waiting_for_an_index_ends_after_five_seconds():
    async with following() as seen:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unknown, match="memory has not reached index 9 within 5 s"):
            await seen.mirror.reached(9)
        assert asyncio.get_running_loop().time() - began == 5.0


async def test_waiting_for_a_reached_index_returns_at_once():
    async with following() as seen:
        await seen.put("a")
        await seen.mirror.reached(1)
        began = asyncio.get_running_loop().time()
        await seen.mirror.reached(1)
        assert asyncio.get_running_loop().time() - began == 0.0


async def test_another_generation_is_loaded_whole():
    async with following() as seen:
        await seen.put("a")
        known = seen.disk.head
        row = to_msgpack(Namespace(name="b", modify_index=1))
        await seen.client.stage(known, 1, [(("namespaces", "b"), row)])
        await seen.put(gen=1, gens=1, floor=2)
        await seen.mirror.reached(2)
        assert seen.names() == {"b"}
        assert seen.tables.table_index(NAMESPACES) == 2


async def test_copy_with_a_lower_index_is_not_loaded():
    async with following() as seen:
        await seen.put("a")
        await seen.mirror.reached(1)
        older = Disk()
        seen.store.disk = older
        seen.disk.forget(1)
        seen.store.lose = 1
        await seen.put("b")
        seen.disk.wake()
        await asyncio.sleep(3)
        assert seen.names() == {"a"}
        assert seen.tables.index == 1


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


async def test_successor_of_a_head_is_returned_when_it_arrives():
    async with following() as seen:
        known = await seen.put("a")
        future = seen.mirror.successor_of(known, 5)
        head = await seen.put("b")
        assert await future == head
        assert await seen.mirror.successor_of(known, 5) == head  # also afterwards


async def test_successor_is_found_among_earlier_heads():
    async with following() as seen:
        first = await seen.put("a")
        second = await seen.put("b")
        await seen.put("c")
        await seen.mirror.reached(3)
        assert await seen.mirror.successor_of(first, 5) == second


async def test_successor_of_a_head_is_none_after_the_time_limit():
    async with following() as seen:
        head = await seen.put("a")
        successor = await seen.mirror.successor_of(head, 5)
        assert successor is None
        assert asyncio.get_running_loop().time() == 5.0


async def test_recent_commits_are_those_that_memory_applied_and_are_cleared_by_a_load():
    async with following() as seen:
        first = await seen.put("a")
        second = await seen.put("b")
        await seen.mirror.reached(2)
        kept = seen.mirror.ring.after(first.commit)
        third = await seen.put("c", gen=1)  # another generation: memory loads again
        await seen.mirror.reached(3)
        ring = seen.mirror.ring
        found = [change.head.commit for change in kept]
        assert found == [second.commit]
        assert ring.after(second.commit) is None
        assert ring.after(third.commit) == []


@pytest.mark.parametrize("odd", [b"\xc1", b"\x01", b"\x81\xa4Name\xa1\xff"])
async def test_unreadable_row_leaves_memory_unchanged_until_it_is_repaired(odd: bytes):
    async with following() as seen:
        await seen.put("a")
        await seen.mirror.reached(1)
        good = to_msgpack(Namespace(name="b", modify_index=2))
        await seen.write(b=good, c=odd)
        await asyncio.sleep(5)
        before = seen.names(), seen.tables.index, len(seen.reasons)
        await seen.write(c=good)
        await seen.mirror.reached(3)
        assert before == ({"a"}, 1, 1)
        assert seen.names() == {"a", "b", "c"}


@pytest.mark.parametrize("error", [Corrupt("corrupt cluster"), StoreError("odd")])
async def test_store_damaged_while_it_is_followed_is_reported_once(error: StoreError):
    async with following() as seen:
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
        assert before == ({"a"}, [str(error)])
        assert seen.names() == {"a", "b", "c"}


async def test_unreadable_state_fails_the_first_load():
    seen = Seen()
    await seen.write(a=b"\xc1")
    with pytest.raises(Corrupt, match="cannot be read"):
        await seen.mirror.run()


async def test_lost_last_commit_is_loaded_when_the_leader_reports_its_index():
    async with following() as seen:
        seen.store.lose = 1
        await seen.put("a")
        seen.leader_index = 1
        await asyncio.sleep(2.1)
        assert seen.names() == {"a"}


async def test_memory_behind_the_leader_is_loaded_every_five_seconds():
    async with following() as seen:
        await seen.put("a")
        await seen.mirror.reached(1)
        loads, load = [], seen.store.load

        async def counted():
            loads.append(asyncio.get_running_loop().time())
            return await load()

        seen.store.load = counted
        seen.leader_index = 9
        await asyncio.sleep(60)
        assert 9 <= len(loads) <= 12


async def test_memory_that_catches_up_is_not_loaded_again():
    async with following() as seen:
        first = seen.tables.head

        async def never():
            raise AssertionError

        seen.store.load = never
        for index in range(1, 200):
            seen.leader_index = index
            await asyncio.sleep(0.9)
            await seen.put(f"n{index}")
        assert first != seen.tables.head
