"""Servers without a vote at work: what a voter tells them, and how it gets into their memory."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import uvloop
from tests.sim.loop import simulate
from tests.sim.net import itself
from tests.support.wires import KEY, client_of, keyed

from bellcow.api.http.server import bind, serve
from bellcow.api.internal import replication
from bellcow.api.internal.gate import LIMITS, Gate, Internal
from bellcow.api.internal.replication import ANSWER_BYTES, CHUNK_OBJECTS, routes
from bellcow.clock import SystemClock
from bellcow.cluster.members.schedule import Target
from bellcow.cluster.transport.replication import Voters
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import COMMITS_PATH, STATE_PATH, encode
from bellcow.model.namespace import Namespace
from bellcow.state.mirror import Mirror
from bellcow.state.tables import NAMESPACES, Tables, fill
from bellcow.state.waiting import Waiting
from bellcow.store.follow import FollowStore
from bellcow.store.follow_messages import (
    Behind,
    Commits,
    CommitsRequest,
    Gone,
    StateBegin,
    StateRequest,
    decode_answer,
    decode_begin,
    decode_chunk,
)
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.store.sqlite import open_store
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bellcow.store.protocol import Key, Store

pytestmark = pytest.mark.virtual_time

HERD = Cluster("herd", 0)


def row(name: str, index: int, text: str = "") -> bytes:
    return to_msgpack(
        Namespace(name=name, description=text, create_index=index, modify_index=index)
    )


def quiet(event: str, /, **fields: object) -> None:
    del event, fields


class Voter:
    """An embedded leader without its leadership: a store, memory, and the answers from both."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tables = Tables()
        self.mirror = Mirror(store, self.tables, Waiting(), quiet)
        self.cluster: Cluster | None = HERD
        self.head = NO_HEAD
        self.table = routes(self.tables, self.mirror.ring, lambda: self.cluster)

    async def put(self, *names: str, text: str = "", **fields: object) -> Head:
        index = self.head.index + 1
        changes: dict[Key, bytes | None] = {
            ("namespaces", name): row(name, index, text) for name in names
        }
        return await self.commit(changes, **fields)

    async def commit(self, changes: dict[Key, bytes | None], **fields: object) -> Head:
        index = self.head.index + 1
        head = msgspec.structs.replace(
            self.head, index=index, commit=f"c{index}", prev=self.head.commit, ops=len(changes)
        )
        head = msgspec.structs.replace(head, **fields)
        self.head = await self.store.commit(self.head, head, changes)
        await self.mirror.reached(index)
        return self.head

    async def commits_after(self, commit: str, index: int, cluster: Cluster = HERD):
        asked = encode(CommitsRequest(cluster, commit, index))
        return decode_answer(await self.table["POST", COMMITS_PATH].handle(None, asked))

    async def state(self, cluster: Cluster = HERD) -> AsyncIterator[bytes]:
        async def frames() -> AsyncIterator[bytes]:
            yield encode(StateRequest(cluster))

        return await self.table["POST", STATE_PATH].handle(None, frames())


@contextlib.asynccontextmanager
async def voting(*, run: bool = True) -> AsyncIterator[Voter]:
    store = await open_store(None, SystemClock())
    voter = Voter(store)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(voter.mirror.run()) if run else None
        if run:
            await voter.mirror.loaded.wait()
        try:
            yield voter
        finally:
            if task is not None:
                task.cancel()
            await store.close()


def answer_of(story):
    async def whole():
        async with voting() as voter:
            return await story(voter)

    return simulate(whole())


def names(answer: Commits) -> list[list[str]]:
    return [[name for _, name in change.changes] for change in answer.commits]


# --- the answers


def test_commits_after_the_held_one_are_sent_at_once():
    async def story(voter):
        first = await voter.put("a")
        await voter.put("b", "c")
        await voter.put("d")
        answer = await voter.commits_after(first.commit, 1)
        return names(answer), answer.cluster, asyncio.get_running_loop().time()

    assert answer_of(story) == ([["b", "c"], ["d"]], HERD, 0.0)


def test_question_waits_two_seconds_for_something_to_tell():
    async def story(voter):
        head = await voter.put("a")
        answer = await voter.commits_after(head.commit, 1)
        return answer, asyncio.get_running_loop().time()

    assert answer_of(story) == (Commits(HERD, ()), 2.0)


def test_question_that_waits_is_answered_by_the_next_commit():
    async def story(voter):
        loop = asyncio.get_running_loop()
        head = await voter.put("a")
        waiting = loop.create_task(voter.commits_after(head.commit, 1))
        await asyncio.sleep(0.5)
        await voter.put("b")
        return names(await waiting), loop.time()

    assert answer_of(story) == ([["b"]], 0.5)


def test_answer_is_cut_between_commits_and_the_next_one_has_the_rest():
    async def story(voter):
        head = await voter.put("a")
        for number in range(9):
            await voter.put(f"n{number}", text="x" * 500_000)
        await voter.put(*(f"m{number}" for number in range(9)), text="x" * 500_000)
        sizes, counts = [], []
        while head != voter.head:
            asked = encode(CommitsRequest(HERD, head.commit, head.index))
            raw = await voter.table["POST", COMMITS_PATH].handle(None, asked)
            answer = decode_answer(raw)
            sizes.append(len(raw))
            counts.append(len(answer.commits))
            head = answer.commits[-1].head
        return counts, max(sizes[:-1]) <= ANSWER_BYTES + 4_096, sizes[-1] > ANSWER_BYTES

    assert answer_of(story) == ([8, 1, 1], True, True)


def test_unknown_commit_is_gone_below_our_index_and_ahead_of_us_from_there_on():
    async def story(voter):
        await voter.put("a")
        await voter.put("b")
        return [type(await voter.commits_after("strange", index)) for index in (0, 1, 2, 3)]

    assert answer_of(story) == [Gone, Gone, Behind, Behind]


def test_after_a_restore_no_earlier_commit_is_continued():
    async def story(voter):
        await voter.put("a")
        before = await voter.put("b", gens=1)
        await voter.store.stage(before, 1, [(("namespaces", "z"), row("z", 2))])
        await voter.put(gen=1, floor=3)
        return await voter.commits_after(before.commit, before.index)

    assert answer_of(story) == Gone(HERD)


@pytest.mark.parametrize("ask", ["commits", "state"])
@pytest.mark.parametrize(
    ("asked", "ours", "text"),
    [
        (Cluster("other", 0), HERD, "this is cluster herd, epoch 0"),
        (Cluster("herd", 1), HERD, "this is cluster herd, epoch 0"),
        (HERD, None, "this server has no vote"),
    ],
)
def test_other_cluster_other_epoch_and_a_copy_are_refused(ask, asked, ours, text):
    async def story(voter):
        await voter.put("a")
        voter.cluster = ours
        with pytest.raises(Error, match=text) as refused:
            await (voter.commits_after("c1", 1, asked) if ask == "commits" else voter.state(asked))
        return refused.value.code

    assert answer_of(story) is Code.REFUSED


async def test_voter_that_has_not_loaded_sends_nothing():
    async with voting(run=False) as voter:
        for call in (lambda: voter.commits_after("", 0), voter.state):
            with pytest.raises(Error, match="not loaded") as refused:
                await call()
            assert refused.value.code is Code.UNAVAILABLE


def test_voter_that_loses_its_vote_while_a_question_waits_refuses_it():
    async def story(voter):
        head = await voter.put("a")
        waiting = asyncio.get_running_loop().create_task(voter.commits_after(head.commit, 1))
        await asyncio.sleep(0.5)
        voter.cluster = None
        with pytest.raises(Error, match="no vote"):
            await waiting

    answer_of(story)


def test_state_is_of_one_moment_whatever_is_committed_meanwhile():
    async def story(voter):
        wanted = [f"n{number:04}" for number in range(CHUNK_OBJECTS + 500)]
        head = await voter.put(*wanted, text="old")
        pieces = await voter.state()
        begin = decode_begin(await anext(pieces))
        first = decode_chunk(await anext(pieces))
        await voter.put(*wanted, text="new")
        await voter.commit({("namespaces", name): None for name in wanted})
        rest = [item async for piece in pieces for item in decode_chunk(piece)]
        rows = fill(iter(first + rest)).rows["namespaces"]
        assert begin == StateBegin(HERD, head)
        assert len(first) == CHUNK_OBJECTS
        assert sorted(rows) == wanted
        assert {each.description for each in rows.values()} == {"old"}
        assert first[0][1] == row(wanted[0], 1, "old")

    answer_of(story)


# --- over the wire


@contextlib.asynccontextmanager
async def listening(voter: Voter, name: str, key: bytes) -> AsyncIterator[Target]:
    """The voter on a port of loopback."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    me = itself(name, rpc=("127.0.0.1", port), serf=("127.0.0.1", port))
    clock = SystemClock()
    made = keyed(key) if key else None
    gate = made.gate if made else Gate(region="global")
    app = Internal(voter.table, gate, clock, quiet)
    async with serve(
        app,
        [listener],
        ssl_context=made.serve_with if made else None,
        limits=LIMITS,
        waiting=Waiting(),
        log=quiet,
        graceful_s=0.05,
    ):
        yield Target(server_id=me.server_id, address=me.serf, region="global")


class Follower:
    """Memory that is filled from voters."""

    def __init__(self, store: FollowStore) -> None:
        self.store = store
        self.tables = Tables()
        self.mirror = Mirror(store, self.tables, Waiting(), quiet)

    def names(self) -> set[str]:
        return set(self.tables.all(NAMESPACES))


@contextlib.asynccontextmanager
async def following(path, targets, *, key=b"", report=quiet) -> AsyncIterator[Follower]:
    clock = SystemClock()
    async with client_of(key) as client:
        store = FollowStore(path, HERD, Voters(client, lambda: targets, lambda: 0), clock, report)
        follower = Follower(store)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(follower.mirror.run())
            try:
                async with asyncio.timeout(60):
                    yield follower
            finally:
                task.cancel()
                await store.close()


def run(story) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story)


@pytest.mark.parametrize("key", [b"", KEY], ids=["open", "keyed"])
def test_memory_of_a_follower_equals_that_of_the_voter(tmp_path, key):
    async def story():
        async with voting() as voter, listening(voter, "one", key) as target:
            await voter.put("a", "b")
            async with following(tmp_path / "s/follow.db", [target], key=key) as follower:
                await follower.mirror.reached(1)
                await voter.put("c")
                await voter.commit({("namespaces", "a"): None})
                await follower.mirror.reached(3)
                assert follower.names() == {"b", "c"}
                before = await voter.put("d", gens=1)
                await voter.store.stage(before, 1, [(("namespaces", "z"), row("z", 2))])
                await voter.put(gen=1, floor=5)
                await follower.mirror.reached(5)
                await voter.put("y")
                await follower.mirror.reached(6)
                assert follower.names() == {"y", "z"}
                assert follower.tables.head == voter.tables.head

    run(story())


def test_follower_with_another_key_learns_nothing_and_says_why(tmp_path):
    async def story():
        said = []
        async with voting() as voter, listening(voter, "one", KEY) as target:
            await voter.put("a")
            reported = asyncio.Event()

            def report(event: str, /, **fields: object) -> None:
                said.append((event, fields))
                reported.set()

            path = tmp_path / "s/follow.db"
            async with following(path, [target], key=KEY[::-1], report=report) as follower:
                await reported.wait()
                assert not follower.mirror.loaded.is_set()
        assert said[0][0] == "copy_stalled"
        assert "`encrypt` must be the same" in said[0][1]["reason"]

    run(story())


def test_non_voter_changes_to_another_voter_when_its_own_is_gone(tmp_path):
    async def story():
        async with contextlib.AsyncExitStack() as stack:
            voter = await stack.enter_async_context(voting())
            second = await stack.enter_async_context(listening(voter, "two", b""))
            first_stack = await stack.enter_async_context(contextlib.AsyncExitStack())
            first = await first_stack.enter_async_context(listening(voter, "one", b""))
            await voter.put("a")
            path = tmp_path / "s/follow.db"
            follower = await stack.enter_async_context(following(path, [first, second]))
            await follower.mirror.reached(1)
            await first_stack.aclose()
            for index in range(2, 7):
                await voter.put(f"n{index}")
                await follower.mirror.reached(index)
            assert len(follower.names()) == 6

    run(story())


def test_delay_of_a_follower_is_measured(tmp_path):
    async def story():
        delays = []
        async with voting() as voter, listening(voter, "one", KEY) as target:
            await voter.put("a")
            async with following(tmp_path / "s/follow.db", [target], key=KEY) as follower:
                await follower.mirror.reached(1)
                for index in range(2, 102):
                    await voter.put(f"n{index}")
                    began = time.perf_counter()
                    await follower.mirror.reached(index)
                    delays.append((time.perf_counter() - began) * 1_000)
        delays.sort()
        print(f"\ncommit to follower: p50 {delays[50]:.1f} ms, p99 {delays[99]:.1f} ms")
        assert len(delays) == 100

    run(story())


@pytest.mark.slow
def test_state_of_fifty_thousand_objects_is_taken_with_flat_memory(tmp_path):
    async def story():
        async with voting() as voter, listening(voter, "one", b"") as target:
            for start in range(0, 50_000, 1_000):
                wanted = [f"n{number}" for number in range(start, start + 1_000)]
                await voter.put(*wanted, text="x" * 1_000)
            peaks = []
            for attempt in range(2):
                began = time.perf_counter()
                path = tmp_path / str(attempt) / "follow.db"
                async with following(path, [target]) as follower:
                    await follower.mirror.loaded.wait()
                    assert len(follower.names()) == 50_000
                    assert follower.tables.head == voter.tables.head
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024)
                seconds = time.perf_counter() - began
                print(f"\n50,000 objects: {seconds:.2f} s, peak {peaks[-1]} MB")
            pieces = await voter.state()
            sizes = [len(piece) async for piece in pieces]
            assert max(sizes) < 1 << 20
            assert len(sizes) > 50

    run(story())


@pytest.mark.parametrize(("size", "here"), [(100, True), (100_000, False)])
def test_large_answer_is_encoded_in_a_thread(monkeypatch, size, here):
    threads = []

    def noted(message: msgspec.Struct) -> bytes:
        threads.append(threading.get_ident())
        return encode(message)

    monkeypatch.setattr(replication, "encode", noted)

    async def story():
        async with voting() as voter:
            await voter.put("a")
            await voter.put("b", text="x" * size)
            answer = await voter.commits_after("c1", 1)
        assert [change.head.commit for change in answer.commits] == ["c2"]

    run(story())
    assert [each == threading.get_ident() for each in threads] == [here]
