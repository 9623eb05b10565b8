"""The slot is whichever store was put in last; who followed the one before is told to load anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.store import MemoryStore

from bellcow.store.protocol import NO_HEAD, Change, Limits, Reload, Unavailable
from bellcow.store.replaceable import ReplaceableStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIRST = msgspec.structs.replace(NO_HEAD, index=1, commit="a")
KEY = ("table", "one")


async def test_empty_slot_is_unavailable_whatever_is_asked():
    slot = ReplaceableStore()
    calls = (
        slot.load(),
        slot.confirm(),
        slot.confirm_in_term(),
        slot.commit(NO_HEAD, FIRST, {}),
        slot.stage(NO_HEAD, 1, []),
        slot.drop(NO_HEAD, 1),
        anext(slot.changes(NO_HEAD)),
    )
    for call in calls:
        with pytest.raises(Unavailable, match="in no cluster"):
            await call


async def test_slot_does_what_its_store_does():
    slot = ReplaceableStore(MemoryStore(limits=Limits(max_changes=7)))
    assert slot.limits.max_changes == 7
    await slot.commit(NO_HEAD, msgspec.structs.replace(FIRST, ops=1), {KEY: b"x"})
    head, items = await slot.load()
    assert (head.index, list(items)) == (1, [(KEY, b"x")])
    assert (await slot.confirm_in_term())[0] == await slot.confirm() == head
    await slot.stage(head, 5, [(KEY, b"y")])
    assert await slot.drop(head, 5)


async def test_store_that_is_put_in_takes_the_place_and_the_limits_of_the_one_before():
    before, after = MemoryStore(), MemoryStore(limits=Limits(max_changes=3))
    slot = ReplaceableStore(before)
    await slot.put(after)
    assert before.closed
    assert not after.closed
    assert slot.limits.max_changes == 3
    await slot.close()
    assert after.closed


async def test_who_follows_hears_the_end_when_another_store_is_put_in():
    before = MemoryStore()
    slot = ReplaceableStore(before)
    heard: list[Change | Reload] = []

    async def follow(changes: AsyncIterator[Change | Reload]) -> None:
        heard.extend([change async for change in changes])

    task = asyncio.ensure_future(follow(slot.changes(NO_HEAD)))
    await asyncio.sleep(0)
    await slot.commit(NO_HEAD, FIRST, {})
    await asyncio.sleep(0.01)
    await slot.put(MemoryStore())
    await asyncio.wait_for(task, 5)
    assert [change.head.index for change in heard] == [1]
