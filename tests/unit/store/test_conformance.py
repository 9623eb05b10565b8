"""What every store does, run on SQLite on disk and in memory, on the simulator's fake, on etcd."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.store import MemoryStore
from tests.support.etcd import needs_etcd, wipe

from bellcow.clock import SystemClock
from bellcow.etcd.client import open_client
from bellcow.store.etcd import EtcdStore
from bellcow.store.protocol import NO_HEAD, Change, Fenced, Head, Reload, TooLarge, Unavailable
from bellcow.store.sqlite import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from bellcow.store.protocol import Key, Store

KINDS = ("disk", "memory", "fake", pytest.param("etcd", marks=needs_etcd))
SHORT_MEMORY = ("disk", "memory", "fake")  # etcd keeps a minute of history, however much that is


@asynccontextmanager
async def opened(kind: str, tmp_path: Path, etcd: Path | None) -> AsyncIterator[Store]:
    """A store that was never written."""
    async with AsyncExitStack() as stack:
        if kind == "fake":
            store: Store = MemoryStore()
        elif kind == "etcd":
            client = await stack.enter_async_context(open_client(etcd))
            await wipe(client)
            store = EtcdStore(client)
            await store.load()  # as the mirror does; from here on its history is known
        else:
            path = tmp_path / "server/store.db" if kind == "disk" else None
            store = await open_store(path, SystemClock())
        stack.push_async_callback(store.close)
        yield store


def following(
    known: Head, changes: dict[Key, bytes | None] | None = None, **fields: object
) -> Head:
    index = known.index + 1
    head = msgspec.structs.replace(
        known, index=index, commit=f"c{index}", prev=known.commit, ops=len(changes or {})
    )
    return msgspec.structs.replace(head, **fields)


async def put(
    store: Store, known: Head, changes: dict[Key, bytes | None], **fields: object
) -> Head:
    return await store.commit(known, following(known, changes, **fields), changes)


async def rows(store: Store) -> tuple[Head, dict[Key, bytes]]:
    head, items = await store.load()
    return head, dict(items)


@pytest.fixture(params=KINDS)
def run(request, tmp_path):
    """Runs a coroutine function on a new store of each kind, and closes the store."""
    etcd = request.getfixturevalue("etcd_directory") if request.param == "etcd" else None

    def runner(story: Callable[[Store], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with opened(request.param, tmp_path, etcd) as store, asyncio.timeout(20):
                await story(store)

        asyncio.run(whole())

    return runner


def test_new_store_has_no_head_and_no_objects(run):
    async def story(store):
        assert await rows(store) == (NO_HEAD, {})
        assert await store.confirm() == NO_HEAD

    run(story)


def test_commit_is_seen_by_load_and_confirm(run):
    async def story(store):
        head = await put(store, NO_HEAD, {("jobs", "a"): b"1", ("jobs", "b"): b"2"}, epoch=3)
        assert head.epoch == 3
        assert await store.confirm() == head
        assert await rows(store) == (head, {("jobs", "a"): b"1", ("jobs", "b"): b"2"})

    run(story)


def test_commit_replaces_and_deletes(run):
    async def story(store):
        head = await put(store, NO_HEAD, {("t", "a"): b"1", ("t", "b"): b"2", ("u", "a"): b"3"})
        head = await put(store, head, {("t", "a"): b"4", ("t", "b"): None, ("t", "no"): None})
        assert await rows(store) == (head, {("t", "a"): b"4", ("u", "a"): b"3"})

    run(story)


def test_any_text_and_any_bytes_are_kept_as_they_are(run):
    changes = {
        ("t", ""): b"",
        ("t", "a/b c\0d"): bytes(range(256)),
        ("t", "żółw ☃ \U0001f422"): b"\xff" * 5_000,
        ("tt", "a"): b"1",
    }

    async def story(store):
        await put(store, NO_HEAD, changes)
        assert (await rows(store))[1] == changes

    run(story)


def test_commit_on_an_old_head_is_fenced_and_changes_nothing(run):
    async def story(store):
        first = await put(store, NO_HEAD, {("t", "a"): b"1"})
        second = await put(store, first, {("t", "a"): b"2"})
        late = following(first, {("t", "a"): b"9", ("t", "b"): b"9"}, commit="late")
        with pytest.raises(Fenced):
            await store.commit(first, late, {("t", "a"): b"9", ("t", "b"): b"9"})
        with pytest.raises(Fenced):
            await put(store, NO_HEAD, {("t", "c"): b"9"}, commit="later")
        assert await rows(store) == (second, {("t", "a"): b"2"})

    run(story)


def test_compare_takes_the_whole_head_and_not_only_its_commit_id(run):
    async def story(store):
        first = await put(store, NO_HEAD, {})
        with pytest.raises(Fenced):
            await put(store, msgspec.structs.replace(first, leader="another"), {})
        assert await store.confirm() == first

    run(story)


def test_of_many_commits_on_one_head_exactly_one_is_done(run):
    async def story(store):
        async def attempt(number: int) -> bool:
            try:
                await put(store, NO_HEAD, {("t", "a"): b"%d" % number}, commit=f"try-{number}")
            except Fenced:
                return False
            return True

        done = await asyncio.gather(*(attempt(number) for number in range(20)))
        head, objects = await rows(store)
        assert done.count(True) == 1
        winner = done.index(True)
        assert (head.commit, objects) == (f"try-{winner}", {("t", "a"): b"%d" % winner})

    run(story)


def test_chain_that_does_not_fit_is_a_fault_of_the_caller(run):
    async def story(store):
        head = await put(store, NO_HEAD, {})
        for wrong in ({"prev": "elsewhere"}, {"ops": 7}, {"commit": head.commit}, {"commit": ""}):
            with pytest.raises(ValueError, match="head"):
                await put(store, head, {("t", "a"): b"1"}, **wrong)
        assert await rows(store) == (head, {})

    run(story)


def test_commit_of_head_alone_is_a_commit(run):
    async def story(store):
        head = await put(store, NO_HEAD, {})
        assert await put(store, head, {}) == await store.confirm()

    run(story)


def test_changes_come_whole_in_order_and_chained(run):
    async def story(store):
        start = await put(store, NO_HEAD, {("t", "0"): b"0"})
        stream = store.changes(start)
        head = start
        sent = []
        for number in range(1, 30):
            changes = {("t", str(number)): b"x" * number, ("t", str(number - 1)): None}
            head = await put(store, head, changes)
            sent.append(Change(head, changes))
        got = [await anext(stream) for _ in sent]
        assert got == sent
        assert [each.head.prev for each in got] == [
            start.commit,
            *(e.head.commit for e in got[:-1]),
        ]
        assert all(each.head.ops == len(each.changes) for each in got)
        await stream.aclose()

    run(story)


def test_changes_wait_for_the_next_commit(run):
    async def story(store):
        stream = store.changes(NO_HEAD)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert not waiting.done()
        head = await put(store, NO_HEAD, {("t", "a"): b"1"})
        assert await waiting == Change(head, {("t", "a"): b"1"})
        await stream.aclose()

    run(story)


def test_two_subscribers_see_the_same_commits(run):
    async def story(store):
        streams = [store.changes(NO_HEAD), store.changes(NO_HEAD)]
        head = await put(store, NO_HEAD, {("t", "a"): b"1"})
        head = await put(store, head, {("t", "a"): b"2"})
        seen = [[(await anext(stream)).head.index for _ in range(2)] for stream in streams]
        assert seen == [[1, 2], [1, 2]]
        for stream in streams:
            await stream.aclose()

    run(story)


def test_changes_after_an_unknown_head_are_a_reload(run):
    async def story(store):
        await put(store, NO_HEAD, {})
        stranger = Head(index=1, commit="of another history")
        assert [each async for each in store.changes(stranger)] == [Reload()]

    run(story)


@pytest.mark.parametrize("run", SHORT_MEMORY, indirect=True)
def test_subscriber_that_fell_behind_is_told_to_reload(run):
    async def story(store):
        head = await put(store, NO_HEAD, {})
        stream = store.changes(head)
        for _ in range(1_030):
            head = await put(store, head, {})
        assert [each async for each in stream] == [Reload()]
        following_now = store.changes(head)
        head = await put(store, head, {})
        assert (await anext(following_now)).head == head
        await following_now.aclose()

    run(story)


@pytest.mark.parametrize("run", SHORT_MEMORY, indirect=True)
def test_subscriber_that_falls_behind_while_it_reads_is_told_to_reload(run):
    async def story(store):
        stream = store.changes(NO_HEAD)
        head = await put(store, NO_HEAD, {})
        assert (await anext(stream)).head == head
        for _ in range(1_030):
            head = await put(store, head, {})
        assert [each async for each in stream] == [Reload()]

    run(story)


def test_history_does_not_hold_what_the_caller_changes_afterwards(run):
    async def story(store):
        changes: dict[Key, bytes | None] = {("t", "a"): b"1"}
        head = await put(store, NO_HEAD, changes)
        changes[("t", "b")] = b"2"
        stream = store.changes(NO_HEAD)
        assert await anext(stream) == Change(head, {("t", "a"): b"1"})
        await stream.aclose()

    run(story)


def test_staged_objects_are_not_seen_until_the_switch_which_is_a_reload(run):
    async def story(store):
        known = await put(store, NO_HEAD, {("t", "a"): b"old"})
        stream = store.changes(known)
        known = await put(store, known, {}, gens=1)
        await store.stage(known, 1, iter([(("t", "a"), b"new"), (("t", "b"), b"new")]))
        await store.stage(known, 1, [(("t", "b"), b"newer")])
        assert await rows(store) == (known, {("t", "a"): b"old"})
        head = await put(store, known, {("t", "c"): b"own"}, gen=1, floor=9)
        expected = {("t", "a"): b"new", ("t", "b"): b"newer", ("t", "c"): b"own"}
        assert await rows(store) == (head, expected)
        assert [type(each) async for each in stream] == [Change, Reload]
        late = store.changes(head)
        head = await put(store, head, {})
        assert (await anext(late)).head == head
        await late.aclose()

    run(story)


def test_stage_and_drop_are_fenced_by_another_head(run):
    async def story(store):
        known = await put(store, NO_HEAD, {("t", "a"): b"1"})
        await store.stage(known, 1, [(("t", "x"), b"1")])
        newer = await put(store, known, {})
        with pytest.raises(Fenced):
            await store.stage(known, 1, [(("t", "y"), b"1")])
        with pytest.raises(Fenced):
            await store.drop(known, 1)
        head = await put(store, newer, {}, gen=1, gens=1)
        assert await rows(store) == (head, {("t", "x"): b"1"})

    run(story)


def test_drop_deletes_in_slices_and_says_when_none_is_left(run):
    async def story(store):
        known = await put(store, NO_HEAD, {("t", "a"): b"1"})
        await store.stage(known, 1, [(("t", f"{n:05}"), b"1") for n in range(2_500)])
        assert [await store.drop(known, 1) for _ in range(3)] == [False, False, True]
        assert await store.drop(known, 7)
        assert await rows(store) == (known, {("t", "a"): b"1"})
        head = await put(store, known, {}, gen=1, gens=1)
        assert await rows(store) == (head, {})

    run(story)


def test_generation_that_is_the_truth_is_neither_staged_nor_dropped(run):
    async def story(store):
        known = await put(store, NO_HEAD, {("t", "a"): b"1"}, gen=2, gens=2)
        with pytest.raises(ValueError, match="generation 2"):
            await store.stage(known, 2, [(("t", "b"), b"1")])
        with pytest.raises(ValueError, match="generation 2"):
            await store.drop(known, 2)
        assert await rows(store) == (known, {("t", "a"): b"1"})

    run(story)


@pytest.mark.parametrize(
    "changes",
    [
        {("t", str(n)): b"" for n in range(4_097)},
        {("t", "a"): b"x" * ((512 << 10) + 1)},
        {("t", str(n)): b"x" * (512 << 10) for n in range(16)},
    ],
    ids=["4097 changes", "an object of 512 KiB and a byte", "8 MiB and the keys"],
)
def test_commit_over_a_limit_is_refused_and_changes_nothing(run, changes):
    async def story(store):
        known = await put(store, NO_HEAD, {})
        with pytest.raises(TooLarge, match="at most"):
            await put(store, known, changes)
        with pytest.raises(TooLarge, match="at most"):
            await store.stage(known, 1, changes.items())
        assert await rows(store) == (known, {})

    run(story)


def test_commit_at_the_limits_is_done(run):
    async def story(store):
        known = await put(store, NO_HEAD, {("t", str(n)): b"1" for n in range(4_096)})
        known = await put(store, known, {("u", str(n)): b"x" * (512 << 10) for n in range(15)})
        assert len((await rows(store))[1]) == 4_096 + 15

    run(story)


def test_load_is_one_revision_and_may_be_consumed_in_another_thread(run):
    async def story(store):
        known = await put(store, NO_HEAD, {("t", str(n)): b"1" for n in range(3_000)})
        head, items = await store.load()
        first = next(items)
        await put(store, known, {("t", str(n)): b"2" for n in range(3_000)})
        got = [first]
        thread = threading.Thread(target=lambda: got.extend(items))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert head == known
        assert sorted(got) == sorted((("t", str(n)), b"1") for n in range(3_000))

    run(story)


def test_commit_whose_caller_gave_up_is_still_whole_and_announced(run):
    async def story(store):
        stream = store.changes(NO_HEAD)
        waiting = asyncio.ensure_future(put(store, NO_HEAD, {("t", "a"): b"1"}))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        head, objects = await rows(store)
        if head == NO_HEAD:
            assert objects == {}
            with suppress(Fenced):  # it was under way and came first after all
                await put(store, NO_HEAD, {("t", "a"): b"1"})
        assert (await anext(stream)).head == await store.confirm() == following(NO_HEAD, {0: None})
        await stream.aclose()

    run(story)


def test_closed_store_refuses_and_ends_its_subscribers(run):
    async def story(store):
        waiting = asyncio.ensure_future(anext(store.changes(NO_HEAD), None))
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert await waiting is None
        for call in (store.load, store.confirm, lambda: put(store, NO_HEAD, {})):
            with pytest.raises(Unavailable, match="closed"):
                await call()

    run(story)
