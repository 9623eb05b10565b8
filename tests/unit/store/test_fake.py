"""The faults of the fake: each does what it is called, and the same seed orders the same ones."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.store import Disk, Fault, MemoryStore, script, seeded

from bellcow.store.protocol import NO_HEAD, Fenced, Head, NoSpace, Reload, Unavailable, Unknown

FIRST = Head(index=1, commit="c1", ops=1)
CHANGES = {("t", "a"): b"1"}


def committed(fault, expected):
    """The disk after one commit with that fault."""

    async def story():
        store = MemoryStore(fault=script("commit", fault))
        with pytest.raises(expected):
            await store.commit(NO_HEAD, FIRST, CHANGES)
        return store.disk

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.UNKNOWN_NOT_DONE, Unknown),
        (Fault.UNAVAILABLE, Unavailable),
        (Fault.NO_SPACE, NoSpace),
    ],
)
def test_refused_commit_is_not_done(fault, expected):
    disk = committed(fault, expected)
    assert (disk.head, disk.objects, disk.log) == (NO_HEAD, {}, [])


def test_lost_answer_of_a_commit_that_was_done_is_unknown():
    disk = committed(Fault.UNKNOWN_DONE, Unknown)
    assert (disk.head, disk.objects) == (FIRST, {0: CHANGES})


def test_fenced_commit_lost_against_another_head_that_watchers_see():
    disk = committed(Fault.FENCED, Fenced)
    assert disk.head == Head(index=1, commit="intruder-1", leader="intruder", term=1)
    assert disk.objects == {0: {}}
    assert [change.head for change in disk.log] == [disk.head]


async def test_script_counts_only_its_own_calls_and_ends():
    store = MemoryStore(fault=script("confirm", None, Fault.UNAVAILABLE))
    await store.load()
    await store.confirm()
    with pytest.raises(Unavailable):
        await store.confirm()
    assert await store.confirm() == NO_HEAD


def test_same_seed_orders_the_same_faults():
    def ordered(seed):
        ask = seeded(seed, 0.3)
        return [ask(call) for call in ("commit", "load") * 200]

    assert ordered(1) == ordered(1) != ordered(2)
    assert set(ordered(1)) == {None, *Fault}
    assert 30 < sum(fault is not None for fault in ordered(1)) < 90


async def test_several_clients_share_one_disk_and_one_of_them_may_end():
    disk = Disk()
    one, other = MemoryStore(disk), MemoryStore(disk)
    stream = other.changes(NO_HEAD)
    await one.commit(NO_HEAD, FIRST, CHANGES)
    assert (await anext(stream)).head == FIRST
    with pytest.raises(Fenced):
        await other.commit(NO_HEAD, FIRST, CHANGES)
    await one.close()
    assert await other.confirm() == FIRST
    assert dict((await other.load())[1]) == CHANGES


async def test_forgotten_history_is_a_reload():
    store = MemoryStore()
    stream = store.changes(NO_HEAD)
    await store.commit(NO_HEAD, FIRST, CHANGES)
    store.disk.forget(1)
    assert [each async for each in stream] == [Reload()]
