"""The store of a server without a vote: it holds what a voter told, whatever becomes of either."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sim.clock import VirtualClock
from tests.sim.store import Disk, MemoryStore

from bellcow.model.hello import Cluster
from bellcow.store import offline
from bellcow.store.follow import FollowStore, State
from bellcow.store.follow_copy import open_copy
from bellcow.store.protocol import NO_HEAD, Change, Head, Reload, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from bellcow.store.protocol import Key

pytestmark = pytest.mark.virtual_time

HERD = Cluster("herd", 0)
ROWS = {("t", "a"): b"1", ("t", "b"): b"2"}


class Voter:
    """A `Source` that reads a disk, and does what a test orders besides."""

    def __init__(self, disk: Disk, held: int = 10_000) -> None:
        self.disk = disk
        self.held = held  # commits that are still known, as in the ring
        self.down = False
        self.chunk = 500  # objects
        self.cut_after: int | None = None  # chunks of a state before the connection breaks
        self.garble = False  # the next answer leaves its first commit out
        self.asked = 0
        self.states = 0

    async def commits(self, cluster: Cluster, after: Head) -> Sequence[Change] | Reload | None:
        assert cluster == HERD
        self.asked += 1
        await asyncio.sleep(0.001)
        if self.down:
            raise Unavailable("connection refused")
        log = self.disk.log[-self.held :]
        numbers = [n for n, change in enumerate(log) if change.head.prev == after.commit]
        if after == self.disk.head:
            await asyncio.sleep(0.1)
            return []
        if not numbers or log[numbers[0]].head.gen != after.gen:
            return Reload() if self.disk.head.index > after.index else None
        if self.garble:
            self.garble = False
            return log[numbers[0] + 1 :]
        gen = after.gen
        return [change for change in log[numbers[0] :] if change.head.gen == gen]

    @asynccontextmanager
    async def state(self, cluster: Cluster) -> AsyncIterator[State]:
        assert cluster == HERD
        self.states += 1
        if self.down:
            raise Unavailable("connection refused")
        rows = sorted(self.disk.objects.get(self.disk.head.gen, {}).items())

        async def chunks() -> AsyncIterator[list[tuple[Key, bytes]]]:
            for number, start in enumerate(range(0, len(rows), self.chunk)):
                if number == self.cut_after:
                    raise Unavailable("cut off")
                await asyncio.sleep(0)
                yield rows[start : start + self.chunk]

        yield State(self.disk.head, chunks())


class Seen:
    """A voter's disk, and what reads it."""

    def __init__(self, path: Path | None = None) -> None:
        self.disk = Disk()
        self.client = MemoryStore(self.disk)
        self.voter = Voter(self.disk)
        self.path = path
        self.events: list[tuple[str, dict[str, object]]] = []

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def said(self) -> list[str]:
        return [event for event, _ in self.events]

    def store(self, cluster: Cluster = HERD) -> FollowStore:
        return FollowStore(self.path, cluster, self.voter, VirtualClock(), self.report)

    async def put(self, changes: dict[Key, bytes | None] | None = None, **fields: object) -> Head:
        known = self.disk.head
        index = known.index + 1
        head = msgspec.structs.replace(
            known, index=index, commit=f"c{index}", prev=known.commit, ops=len(changes or {})
        )
        head = msgspec.structs.replace(head, **fields)
        return await self.client.commit(known, head, changes or {})

    async def restore(self, rows: dict[Key, bytes]) -> Head:
        """Another generation becomes the truth."""
        gen = self.disk.head.gens + 1
        known = await self.put(gens=gen)
        await self.client.stage(known, gen, rows.items())
        return await self.put(gen=gen, floor=known.index + 1)


async def rows(store: FollowStore) -> tuple[Head, dict[Key, bytes]]:
    head, items = await store.load()
    return head, dict(items)


async def caught_up(store: FollowStore, head: Head) -> dict[Key, bytes]:
    """Follow until our copy stands at `head`, as a mirror would; what it holds then."""
    async with asyncio.timeout(60):
        own, objects = await rows(store)
        while own != head:
            async for change in store.changes(own):
                if isinstance(change, Reload):
                    own, objects = await rows(store)
                    break
                assert change.head.prev == own.commit
                assert change.head.ops == len(change.changes)
                own = change.head
                for key, value in change.changes.items():
                    objects.pop(key, None)
                    if value is not None:
                        objects[key] = value
                if own == head:
                    break
    kept = await rows(store)
    assert kept == (own, objects)
    return objects


@pytest.fixture
def path(tmp_path):
    return tmp_path / "server/follow.db"


async def test_first_load_takes_the_state_of_a_voter(path):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    assert await rows(store) == (head, ROWS)
    assert seen.events == [("copy_loaded", {"index": 1, "objects": 2})]
    await store.close()


async def test_load_without_any_voter_is_unavailable_and_said_once(path):
    seen = Seen(path)
    seen.voter.down = True
    store = seen.store()
    for _ in range(3):
        with pytest.raises(Unavailable, match="connection refused"):
            await store.load()
    assert seen.said() == ["copy_stalled"]
    await store.close()


async def test_voter_without_a_state_is_not_copied(path):
    seen = Seen(path)
    store = seen.store()
    with pytest.raises(Unavailable, match="no state yet"):
        await store.load()
    await store.close()


async def test_commits_of_the_voter_come_whole_and_in_order_and_stay(path):
    seen = Seen(path)
    start = await seen.put({("t", "0"): b"0"})
    store = seen.store()
    await rows(store)
    sent = []
    for number in range(1, 30):
        changes = {("t", str(number)): b"x" * number, ("t", str(number - 1)): None}
        sent.append(Change(await seen.put(changes), changes))
    stream = store.changes(start)
    assert [await anext(stream) for _ in sent] == sent
    await stream.aclose()
    await store.close()
    seen.voter.down = True
    store = seen.store()
    assert await rows(store) == (sent[-1].head, {("t", "29"): b"x" * 29})
    await store.close()


async def test_any_text_and_any_bytes_are_kept_as_they_are(path):
    changes = {
        ("t", ""): b"",
        ("t", "a/b c\0d"): bytes(range(256)),
        ("t", "żółw ☃ \U0001f422"): b"\xff" * 5_000,
    }

    seen = Seen(path)
    await seen.put({})
    store = seen.store()
    await store.load()
    head = await seen.put(changes)
    assert await caught_up(store, head) == changes
    await store.close()


async def test_commits_wait_for_the_next_one(path):
    seen = Seen(path)
    store = seen.store()
    head = await seen.put(ROWS)
    await store.load()
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(anext(store.changes(head)))
    await asyncio.sleep(5)
    assert not waiting.done()
    head = await seen.put({("t", "a"): None})
    assert await waiting == Change(head, {("t", "a"): None})
    await store.close()


async def test_voter_that_is_killed_is_waited_for_and_nothing_is_lost(path):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    seen.voter.down = True
    waiting = asyncio.get_running_loop().create_task(anext(store.changes(head)))
    await asyncio.sleep(30)
    assert not waiting.done()
    head = await seen.put({("t", "c"): b"3"})
    seen.voter.down = False
    assert (await waiting).head == head
    assert seen.said() == ["copy_loaded", "copy_stalled", "copy_resumed"]
    await store.close()


async def test_voters_that_are_behind_are_asked_again_in_a_moment(path):
    seen = Seen(path)
    store = seen.store()
    head = await seen.put(ROWS)
    await store.load()
    behind = seen.voter.disk
    seen.voter.disk = Disk()  # a voter that has seen nothing of it
    waiting = asyncio.get_running_loop().create_task(anext(store.changes(head)))
    await asyncio.sleep(2)
    assert not waiting.done()
    assert 5 < seen.voter.asked < 15
    assert seen.voter.states == 1
    seen.voter.disk = behind
    assert (await seen.put(), (await waiting).head.index) == (behind.head, 2)
    await store.close()


async def test_broken_chain_makes_it_take_the_whole_state(path):
    seen = Seen(path)
    await seen.put(ROWS)
    store = seen.store()
    await store.load()
    await seen.put({("t", "a"): b"7"})
    head = await seen.put({("t", "b"): b"8"})
    seen.voter.garble = True
    assert await caught_up(store, head) == {("t", "a"): b"7", ("t", "b"): b"8"}
    assert seen.voter.states == 2
    await store.close()


@pytest.mark.parametrize("wrong", [{"ops": 3}, {"gen": 4}, {"index": 0}, {"prev": "x"}])
async def test_commit_that_does_not_fit_is_not_kept(path, wrong):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    good = Change(await seen.put({("t", "c"): b"3"}), {("t", "c"): b"3"})
    last = await seen.put({("t", "d"): b"4"})
    bad = Change(msgspec.structs.replace(last, **wrong), {("t", "d"): b"evil"})
    seen.disk.log[-1] = bad
    stream = store.changes(head)
    assert [await anext(stream), await anext(stream)] == [good, Reload()]
    assert (await rows(store))[1] == {**ROWS, ("t", "c"): b"3", ("t", "d"): b"4"}
    await store.close()


async def test_history_that_is_gone_makes_it_take_the_whole_state(path):
    seen = Seen(path)
    seen.voter.held = 5
    await seen.put(ROWS)
    store = seen.store()
    await store.load()
    for number in range(9):
        head = await seen.put({("t", str(number)): b"1"})
    objects = await caught_up(store, head)
    assert objects == seen.disk.objects[0]
    assert seen.voter.states == 2
    await store.close()


async def test_restore_is_taken_as_a_whole_and_what_it_replaces_is_deleted(path):
    seen = Seen(path)
    await seen.put({("t", str(n)): b"1" for n in range(2_500)})
    store = seen.store()
    await store.load()
    head = await seen.restore(ROWS)
    assert await caught_up(store, head) == ROWS
    await store.close()
    assert count(path) == 2
    head = await seen.put({("t", "c"): b"3"})
    store = seen.store()
    assert await caught_up(store, head) == {**ROWS, ("t", "c"): b"3"}
    await store.close()


async def test_what_a_life_that_ended_amid_deleting_has_left_is_deleted_by_the_next(path):
    seen = Seen(path)
    await seen.put({**ROWS})
    store = seen.store()
    await store.load()
    await store.close()
    copy, _ = open_copy(path, HERD, VirtualClock())
    copy.stage(copy.begin(), [(("t", str(n)), b"1") for n in range(2_500)])
    copy.close()
    store = seen.store()
    assert (await rows(store))[1] == ROWS
    await store.close()
    assert count(path) == len(ROWS)


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM objects").fetchone()[0]
    finally:
        connection.close()


async def test_state_that_is_cut_off_leaves_the_copy_as_it_was(path):
    seen = Seen(path)
    old = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    head = await seen.restore({("u", str(n)): b"1" for n in range(9)})
    seen.voter.chunk, seen.voter.cut_after = 2, 3
    stream = store.changes(old)
    assert (await anext(stream)).head.gens == 1
    waiting = asyncio.get_running_loop().create_task(anext(stream))
    await asyncio.sleep(1)
    assert not waiting.done()
    assert (await rows(store))[1] == ROWS
    seen.voter.cut_after = None
    assert await waiting == Reload()
    assert await rows(store) == (head, seen.disk.objects[1])
    await store.close()
    assert count(path) == 9


async def test_state_of_a_lower_index_is_never_taken(path):
    seen = Seen(path)
    for _ in range(5):
        head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    ours, seen.disk, seen.voter.disk = seen.disk, Disk(), Disk()
    seen.voter.disk.apply(Change(Head(index=3, commit="other", ops=0), {}))
    waiting = asyncio.get_running_loop().create_task(anext(store.changes(head)))
    with_reload = seen.voter.commits

    async def lies(cluster, after):
        await with_reload(cluster, after)
        return Reload()

    seen.voter.commits = lies
    await asyncio.sleep(3)
    assert not waiting.done()
    assert ("copy_stalled", {"reason": "the voter's index 3 is lower than ours, 5"}) in (
        seen.events
    )
    seen.voter.disk = ours
    assert await waiting == Reload()
    assert (await rows(store))[0] == head
    await store.close()


async def test_memory_that_is_ahead_of_an_old_copy_waits_until_it_has_caught_up(path):
    seen = Seen(path)
    first = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    for number in range(3):
        memory = await seen.put({("t", str(number)): b"1"})
    stream = store.changes(memory)
    waiting = asyncio.get_running_loop().create_task(anext(stream))
    await asyncio.sleep(1)
    assert not waiting.done()
    assert await rows(store) == (memory, seen.disk.objects[0])
    assert (seen.voter.states, first.index) == (1, 1)
    later = await seen.put({("t", "z"): b"1"})
    assert (await waiting).head == later
    await store.close()


async def test_damaged_copy_is_set_aside_and_fetched_again(path):
    seen = Seen(path)
    head = await seen.put(ROWS)
    for damage in range(4):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(b"not a database, %d " % damage * 300)
        store = seen.store()
        assert await rows(store) == (head, ROWS)
        await store.close()
    said = [fields for event, fields in seen.events if event == "copy_restarted"]
    assert len(said) == 4
    assert "follow.db is damaged" in said[0]["reason"]
    assert "a voter sends the state again" in said[0]["reason"]
    kept = path.with_name("follow.db.aside-1")
    assert said[0]["kept"] == kept
    assert kept.read_bytes().startswith(b"not a database, 3")
    assert path.with_name("follow.db.aside-2").read_bytes().startswith(b"not a database, 2")
    assert not path.with_name("follow.db.aside-3").exists()


async def test_copy_that_was_deleted_is_fetched_again_and_said(path):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    await store.close()
    path.unlink()
    store = seen.store()
    assert await rows(store) == (head, ROWS)
    assert seen.said() == ["copy_loaded", "copy_restarted", "copy_loaded"]
    await store.close()


async def test_copy_that_is_replaced_while_it_is_open_is_set_aside(path):
    seen = Seen(path)
    old = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    path.unlink()
    head = await seen.put({("t", "c"): b"3"})
    assert [each async for each in store.changes(old)] == [Reload()]
    assert await rows(store) == (head, {**ROWS, ("t", "c"): b"3"})
    assert seen.said() == ["copy_loaded", "copy_stalled", "copy_restarted", "copy_loaded"]
    path.unlink()
    with pytest.raises(Unavailable, match="deleted or replaced"):
        await store.load()
    assert await rows(store) == (head, {**ROWS, ("t", "c"): b"3"})
    await store.close()


async def test_damage_met_while_loading_makes_the_next_load_fetch_again(path):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE objects SET value = x'00' WHERE id = 'b'")
    connection.commit()
    connection.close()
    _, items = await store.load()
    with pytest.raises(Unavailable, match="checksum"):
        list(items)
    assert await rows(store) == (head, ROWS)
    assert seen.said() == ["copy_loaded", "copy_restarted", "copy_loaded"]
    await store.close()


@pytest.mark.parametrize("other", [Cluster("other", 0), Cluster("herd", 1)])
async def test_copy_of_another_cluster_or_epoch_is_set_aside_and_not_shown(path, other):
    seen = Seen(path)
    await seen.put(ROWS)
    store = seen.store()
    await store.load()
    await store.close()
    seen.disk = Disk()
    seen.client = MemoryStore(seen.disk)
    seen.voter = AnyCluster(seen.disk)
    head = await seen.put({("u", "x"): b"9"})
    store = seen.store(other)
    assert await rows(store) == (head, {("u", "x"): b"9"})
    assert seen.events[1] == (
        "copy_restarted",
        {
            "reason": "it is of cluster herd, epoch 0",
            "kept": path.with_name("follow.db.aside-1"),
        },
    )
    assert count(path.with_name("follow.db.aside-1")) == 2
    await store.close()


class AnyCluster(Voter):
    @asynccontextmanager
    async def state(self, cluster):
        del cluster
        async with super().state(HERD) as state:
            yield state


async def test_copy_is_for_the_owner_only_and_can_be_read_beside_the_server(path):
    seen = Seen(path)
    await seen.put(ROWS)
    head = await seen.restore(ROWS)
    store = seen.store()
    await store.load()
    modes = {each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes == {0o600}
    with offline.opened(path) as (found, items):
        assert (found.index, found.commit, dict(items)) == (head.index, head.commit, ROWS)
    await store.close()


async def test_rights_of_others_are_taken_away_and_said(path):
    seen = Seen(path)
    await seen.put(ROWS)
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    path.chmod(0o644)
    store = seen.store()
    await store.load()
    await store.load()
    assert seen.events[0] == ("permissions_tightened", {"path": path})
    assert seen.said().count("permissions_tightened") == 1
    await store.close()


async def test_second_process_is_kept_out(path):
    seen = Seen(path)
    await seen.put(ROWS)
    store, second = seen.store(), seen.store()
    await store.load()
    with pytest.raises(Unavailable, match="in use by another process"):
        await second.load()
    await second.close()
    await store.close()


async def test_copy_in_memory_follows_as_well():
    seen = Seen()
    await seen.put(ROWS)
    store = seen.store()
    await store.load()
    await seen.put({("t", "c"): b"3"})
    head = await seen.restore({("t", "d"): b"4"})
    assert await caught_up(store, head) == {("t", "d"): b"4"}
    await store.close()


async def test_full_disk_is_said_and_waited_out(path):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    copy = store._copy
    connection = copy._files._writer
    connection.execute("PRAGMA max_page_count = 1")
    changes = {("t", "c"): b"3" * 50_000}
    last = await seen.put(changes)
    waiting = asyncio.get_running_loop().create_task(anext(store.changes(head)))
    await asyncio.sleep(5)
    assert not waiting.done()
    stalls = [fields["reason"] for event, fields in seen.events if event == "copy_stalled"]
    assert len(stalls) == 1
    assert "the disk or a quota is full" in stalls[0]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await waiting == Change(last, changes)
    await store.close()


async def test_server_without_a_vote_neither_writes_nor_confirms(path):
    store = Seen(path).store()
    for call in (
        store.confirm,
        store.confirm_in_term,
        lambda: store.commit(NO_HEAD, Head(index=1, commit="c"), {}),
        lambda: store.stage(NO_HEAD, 1, []),
        lambda: store.drop(NO_HEAD, 1),
    ):
        with pytest.raises(Unavailable, match="a non-voter"):
            await call()
    await store.close()


@pytest.mark.parametrize("down", [False, True])
async def test_closed_store_refuses_and_ends_who_follows_it(path, down):
    seen = Seen(path)
    head = await seen.put(ROWS)
    store = seen.store()
    await store.load()
    seen.voter.down = down
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(anext(store.changes(head), None))
    await asyncio.sleep(1)
    began = loop.time()
    await store.close()
    await store.close()
    assert await waiting is None
    assert loop.time() == began
    with pytest.raises(Unavailable, match="closed"):
        await store.load()
    assert [each async for each in store.changes(head)] == []


async def test_load_that_waits_for_a_voter_ends_when_the_store_is_closed(path):
    seen = Seen(path)
    await seen.put(ROWS)

    @asynccontextmanager
    async def never(cluster):
        await asyncio.sleep(3_600)
        yield

    seen.voter.state = never
    store = seen.store()
    waiting = asyncio.get_running_loop().create_task(store.load())
    await asyncio.sleep(1)
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await waiting


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 6), st.integers(0, 3)),
        st.just(("restore",)),
        st.just(("forget",)),
        st.just(("follow",)),
        st.just(("restart",)),
        st.just(("garble",)),
        st.just(("damage",)),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(steps)
async def test_whatever_happens_the_copy_ends_as_the_voter(tmp_path_factory, story):
    path = tmp_path_factory.mktemp("follow") / "server/follow.db"

    seen = Seen(path)
    await seen.put(ROWS)
    store = seen.store()
    highest = 0
    for step in [*story, ("follow",)]:
        match step:
            case ("put", name, size):
                value = b"x" * size if size else None
                await seen.put({("t", str(name)): value, ("t", "n"): b"%d" % name})
            case ("restore",):
                await seen.restore({("r", str(seen.disk.head.index)): b"1"})
            case ("forget",):
                seen.disk.forget(len(seen.disk.log))
            case ("garble",):
                seen.voter.garble = True
            case ("damage",):
                await store.close()
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.write_bytes(b"damage" * 100)
                store = seen.store()
            case ("restart",):
                await store.close()
                store = seen.store()
            case ("follow",):
                objects = await caught_up(store, seen.disk.head)
                assert objects == seen.disk.objects[seen.disk.head.gen]
                head, _ = await rows(store)
                assert head.index >= highest
                highest = head.index
    await store.close()
