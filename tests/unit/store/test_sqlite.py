"""What the embedded store promises beyond every store: it remembers, and it counts its starts."""

from __future__ import annotations

from bellcow.clock import SystemClock
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.store.sqlite import open_store


async def test_objects_and_the_count_of_starts_survive_a_restart(tmp_path):
    path = tmp_path / "server/store.db"

    store = await open_store(path, SystemClock())
    assert await store.starts() == 1
    head = await store.commit(NO_HEAD, Head(index=1, commit="c", ops=1), {("t", "a"): b"1"})
    await store.close()
    store = await open_store(path, SystemClock())
    assert await store.starts() == 2
    assert await store.confirm() == head
    loaded, items = await store.load()
    assert (loaded, list(items)) == (head, [(("t", "a"), b"1")])
    await store.close()
