from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bellcow.clock import SystemClock
from bellcow.store.protocol import NO_HEAD, Head, NoSpace
from bellcow.store.settling import REST_S, Settling
from bellcow.store.sqlite import open_store
from bellcow.store.sqlite_mark import remembered_beside

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_is_settled_after_writes_until_nothing_is_left() -> None:
    answers = [False, False, True]
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def settle() -> bool:
        calls.append(loop.time())
        if len(calls) == 3:
            loop.call_soon_threadsafe(done.set)
        return answers[len(calls) - 1]

    with ThreadPoolExecutor(1) as worker:
        resting = Settling(worker, settle)
        began = loop.time()
        resting.wrote()
        resting.wrote()
        await done.wait()
        assert calls[0] - began < 2
        assert calls[2] - calls[0] >= REST_S
        resting.wrote()
        resting.end()
        resting.wrote()
    assert len(calls) == 3


async def test_settling_that_fails_is_tried_again_after_the_next_write() -> None:
    calls: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def settle() -> bool:
        loop.call_soon_threadsafe(calls.put_nowait, 1)
        raise NoSpace("the disk is full")

    with ThreadPoolExecutor(1) as worker:
        resting = Settling(worker, settle)
        for _ in range(2):
            resting.wrote()
            await calls.get()
        resting.end()
    assert calls.empty()


async def test_what_was_acknowledged_is_remembered_and_its_log_emptied_in_two_seconds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"

    store = await open_store(path, SystemClock())
    before = remembered_beside(path)
    await store.commit(NO_HEAD, Head(index=1, commit="a"), {})
    log = path.with_name("store.db-wal")
    async with asyncio.timeout(5):
        while remembered_beside(path) == before or log.stat().st_size:  # noqa: ASYNC110  files
            await asyncio.sleep(0.01)
    await store.close()
