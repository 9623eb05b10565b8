"""What only the store on etcd can meet: a member that dies, hangs, forgets, or loses its stream."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from tests.support import etcd
from tests.support.etcd import (
    Cluster,
    answering,
    forget,
    freeze,
    needs_etcd,
    short_directory,
    thaw,
    wipe,
)

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import open_client
from bellcow.model.namespace import Namespace
from bellcow.state.mirror import Mirror
from bellcow.state.tables import NAMESPACES, Tables
from bellcow.state.waiting import Waiting
from bellcow.store import etcd as module
from bellcow.store.etcd import EtcdStore
from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Corrupt,
    Fenced,
    NoSpace,
    Reload,
    TooLarge,
    Unavailable,
    Unknown,
)
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from bellcow.etcd.client import Client
    from bellcow.store.protocol import Head, Key

pytestmark = needs_etcd


class Site(NamedTuple):
    """A store, its client, and a second client of the same member, as another server's."""

    store: EtcdStore
    client: Client
    other: EtcdStore
    other_client: Client


@pytest.fixture
def run(etcd_directory):
    """Runs a story on the member of this session, wiped."""

    async def whole(story):
        async with (
            asyncio.timeout(30),
            open_client(etcd_directory) as client,
            open_client(etcd_directory) as other_client,
        ):
            await wipe(client)
            site = Site(EtcdStore(client), client, EtcdStore(other_client), other_client)
            for store in (site.store, site.other):
                await store.load()
            await story(site)
            for store in (site.store, site.other):
                await store.close()

    return lambda story: etcd.run(whole(story))


@pytest.fixture
def run_alone():
    """Runs a story on a member of its own, which it may kill."""

    async def whole(story, directory):
        async with asyncio.timeout(60), Cluster(directory, 1) as cluster:
            server = cluster.servers["s1"]
            store = EtcdStore(server.client)
            await store.load()
            await story(server, store)
            await store.close()

    def runner(story):
        with short_directory() as directory:
            etcd.run(whole(story, directory))

    return runner


numbers = itertools.count(1)


async def put(
    store: EtcdStore, known: Head, changes: dict[Key, bytes | None] | None = None, **fields: object
) -> Head:
    changes = changes or {}
    head = msgspec.structs.replace(
        known,
        index=known.index + 1,
        commit=f"c{next(numbers)}",
        prev=known.commit,
        ops=len(changes),
        **fields,
    )
    return await store.commit(known, head, changes)


def test_raft_term_of_a_confirm_is_that_of_the_members_status(run):
    async def story(site):
        head = await put(site.store, NO_HEAD, term=77)
        status = await site.client.status(pb.StatusRequest())
        assert await site.store.confirm_in_term() == (head, status.raft_term)

    run(story)


def test_server_that_was_deposed_is_fenced_by_the_others_claim(run):
    async def story(site):
        head = await put(site.store, NO_HEAD, leader="a")
        assert await site.other.confirm() == head
        claim = await put(site.other, head, leader="b")
        with pytest.raises(Fenced):
            await put(site.store, head, {("t", "a"): b"late"})
        with pytest.raises(Fenced):
            await site.store.stage(head, 1, [(("t", "a"), b"late")])
        assert await site.store.confirm() == claim
        assert await site.store.drop(claim, 1)

    run(story)


def test_unknown_head_is_fenced_without_asking_etcd(run):
    async def story(site):
        head = await put(site.other, NO_HEAD)
        with pytest.raises(Fenced, match="never seen"):
            await put(site.store, head)

    run(story)


def test_old_heads_are_forgotten(run, monkeypatch):
    monkeypatch.setattr(module, "HEADS_KEPT", 3)

    async def story(site):
        first = head = await put(site.store, NO_HEAD)
        for _ in range(3):
            head = await put(site.store, head)
        assert [each async for each in site.store.changes(first)] == [Reload()]
        assert await put(site.store, head)

    run(story)


def test_delete_of_a_missing_object_is_part_of_the_change(run):
    async def story(site):
        stream = site.store.changes(NO_HEAD)
        changes = {("t", "a"): b"1", ("t", "no"): None}
        head = await put(site.store, NO_HEAD, changes)
        assert await anext(stream) == Change(head, changes)
        changes = {("t", "a"): None, ("t", "no"): None, ("u", "no"): None}
        head = await put(site.store, head, changes)
        assert await anext(stream) == Change(head, changes)
        await stream.aclose()

    run(story)


def test_commit_of_many_deletes_is_seen_whole_and_leaves_a_small_head(run):
    async def story(site):
        stream = site.store.changes(NO_HEAD)
        changes: dict[Key, bytes | None] = {("t", f"{number:036}"): None for number in range(4_096)}
        head = await put(site.store, NO_HEAD, changes)
        assert await anext(stream) == Change(head, changes)
        found = await site.client.range(pb.RangeRequest(key=b"head"))
        assert len(found.kvs[0].value) < 200
        await stream.aclose()

    run(story)


def test_head_written_by_a_later_version_is_read_and_replaced(run):
    """Two versions of one cluster run side by side during an upgrade."""

    async def story(site):
        head = await put(site.store, NO_HEAD)
        newer = msgspec.msgpack.encode(msgspec.structs.asdict(head) | {"invented": 1})
        operation = pb.RequestOp(request_put=pb.PutRequest(key=b"head", value=newer))
        await site.client.txn(pb.TxnRequest(success=[operation]))
        assert await site.store.confirm() == head
        await put(site.store, head)

    run(story)


def test_load_of_many_objects_is_one_revision_though_it_takes_pages(run, monkeypatch):
    monkeypatch.setattr(module, "PAGE_OBJECTS", 2)
    monkeypatch.setattr(module, "PAGE_BYTES", 2_000)

    async def story(site):
        objects = {("t", f"{number:04}"): b"x" * number for number in range(200)}
        head = await put(site.store, NO_HEAD, objects)
        calls = 0
        real = site.other_client.range

        async def counted(request):
            nonlocal calls
            calls += 1
            if calls == 5:
                await put(site.store, head, dict.fromkeys(objects))
            return await real(request)

        site.other_client.range = counted
        found, items = await site.other.load()
        assert (found, dict(items)) == (head, objects)
        assert calls > 10

    run(story)


def test_load_whose_revision_is_compacted_meanwhile_is_unavailable(run, monkeypatch):
    monkeypatch.setattr(module, "PAGE_OBJECTS", 2)
    monkeypatch.setattr(module, "PAGE_BYTES", 1)

    async def story(site):
        objects = {("t", str(number)): b"x" for number in range(20)}
        head = await put(site.store, NO_HEAD, objects)
        calls = 0
        real = site.other_client.range

        async def forgetful(request):
            nonlocal calls
            calls += 1
            if calls == 5:
                await put(site.store, head)
                await forget(site.client)
            return await real(request)

        site.other_client.range = forgetful
        with pytest.raises(Unavailable, match="compacted"):
            await site.other.load()
        assert len(dict((await site.other.load())[1])) == 20

    run(story)


def test_damaged_key_and_head_are_refused(run):
    async def story(site):
        operation = pb.RequestOp(request_put=pb.PutRequest(key=b"g/0/x", value=b"1"))
        await site.client.txn(pb.TxnRequest(success=[operation]))
        _, items = await site.store.load()
        with pytest.raises(Corrupt, match="not one of ours"):
            list(items)
        operation = pb.RequestOp(request_put=pb.PutRequest(key=b"head", value=b"\xc1"))
        await site.client.txn(pb.TxnRequest(success=[operation]))
        for call in (site.store.load, site.store.confirm):
            with pytest.raises(Corrupt, match="head"):
                await call()

    run(story)


def test_commit_above_the_limits_of_etcd_raises_too_large(run):
    async def story(site):
        site.store.limits = msgspec.structs.replace(
            site.store.limits, max_changes=9_000, max_bytes=1 << 30, object_bytes=1 << 30
        )
        for changes in (
            {("t", "a"): b"x" * (11 << 20)},
            {("t", str(n)): b"" for n in range(8_193)},
        ):
            with pytest.raises(TooLarge):
                await put(site.store, NO_HEAD, changes)
        assert await site.store.confirm() == NO_HEAD

    run(story)


def test_full_quota_refuses_writes_and_goes_on_reading(run):
    async def story(site):
        head = await put(site.store, NO_HEAD)
        found = await site.client.status(pb.StatusRequest())
        alarm = {"member_id": found.header.member_id, "alarm": pb.NOSPACE}
        await site.client.alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, **alarm))
        try:
            with pytest.raises(NoSpace):
                await put(site.store, head, {("t", "a"): b"1"})
            assert await site.store.confirm() == head
        finally:
            await site.client.alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, **alarm))
        await put(site.store, head, {("t", "a"): b"1"})

    run(story)


def test_broken_stream_resumes_where_it_broke_and_loses_nothing(run):
    async def story(site):
        stream = site.store.changes(NO_HEAD)
        waiting = asyncio.ensure_future(anext(stream))
        head, seen = NO_HEAD, []
        for number in range(40):
            head = await put(site.other, head, {("t", str(number)): b"1"})
            if number % 10 == 0:
                site.client.end_watches()
        seen = [await waiting, *[await anext(stream) for _ in range(39)]]
        assert [change.head.index for change in seen] == list(range(1, 41))
        assert all(b.head.prev == a.head.commit for a, b in itertools.pairwise(seen))
        await stream.aclose()

    run(story)


def test_history_forgotten_while_the_stream_was_broken_is_a_reload(run):
    async def story(site):
        head = await put(site.store, NO_HEAD)
        stream = site.store.changes(NO_HEAD)
        assert (await anext(stream)).head == head
        site.client.end_watches()
        waiting = asyncio.ensure_future(anext(stream))
        head = await put(site.other, await site.other.confirm())
        head = await put(site.other, head)
        await forget(site.other_client)
        assert await waiting == Reload()
        assert await anext(stream, None) is None

    run(story)


def test_compaction_of_delivered_history_does_not_affect_a_watcher(run):
    async def story(site):
        head = await put(site.store, NO_HEAD)
        stream = site.store.changes(NO_HEAD)
        assert (await anext(stream)).head == head
        head = await put(site.store, head)
        await forget(site.client)
        assert (await anext(stream)).head == head
        head = await put(site.store, head)
        assert (await anext(stream)).head == head
        assert [each async for each in site.store.changes(NO_HEAD)] == [Reload()]
        await stream.aclose()

    run(story)


def test_commit_at_the_compacted_revision_is_still_whole(run):
    """etcd forgets which objects that revision deleted, and says nothing of it."""

    async def story(site):
        first = await put(site.store, NO_HEAD, {("t", "a"): b"1"})
        changes = {("t", "a"): None, ("t", "b"): b"2"}
        head = await put(site.store, first, changes)
        await forget(site.client)
        stream = site.store.changes(first)
        assert await anext(stream) == Change(head, changes)
        await stream.aclose()

    run(story)


def test_head_deleted_by_a_stranger_is_a_reload(run):
    async def story(site):
        await put(site.store, NO_HEAD)
        stream = site.store.changes(NO_HEAD)
        await anext(stream)
        await wipe(site.other_client)
        assert await anext(stream) == Reload()
        assert await site.store.confirm() == NO_HEAD

    run(story)


def test_closing_a_store_leaves_its_client_open(run):
    async def story(site):
        await site.store.close()
        assert await site.client.range(pb.RangeRequest(key=b"head"))

    run(story)


# With a member of its own


@pytest.mark.slow
def test_commit_to_a_member_that_dies_is_unknown_and_the_next_head_tells(run_alone):
    async def story(server, store):
        known = await put(store, NO_HEAD, {("t", "a"): b"0"})
        stream = store.changes(known)
        for delay_s in (0.0, 0.001, 0.003):  # before, while and after the disk is written
            writing = asyncio.ensure_future(put(store, known, {("t", "a"): b"1"}))
            await asyncio.sleep(delay_s)
            server.signal(signal.SIGKILL)
            await asyncio.wait([writing])
            assert writing.exception() is None or isinstance(writing.exception(), Unknown)
            await answering(server.client, leads=True)
            now = await store.confirm()
            if writing.exception() is None:
                assert now == writing.result()
            if now != known:
                # Whatever the answer was: the one head that follows tells that it was done.
                assert now.prev == known.commit
                with pytest.raises(Fenced):
                    await put(store, known)
                assert (await anext(stream)).head == now
            known = now
        known = await put(store, known)
        assert (await anext(stream)).head == known
        await stream.aclose()

    run_alone(story)


@pytest.mark.slow
def test_commit_to_a_member_that_hangs_is_unknown_after_eight_seconds(run_alone):
    async def story(server, store):
        known = await put(store, NO_HEAD)
        freeze(server.pid)
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unknown):
            await put(store, known, {("t", "a"): b"1"})
        waited = asyncio.get_running_loop().time() - began
        with pytest.raises(Unavailable):
            await store.confirm()
        thaw(server.pid)
        await answering(server.client, leads=True)
        assert 7.5 < waited < 10
        # The kernel kept it: it is done, or refused, once the member goes on.
        async with asyncio.timeout(5):
            head, _ = await store.load()
        assert head in {known, await store.confirm()}

    run_alone(story)


@pytest.mark.slow
def test_watcher_survives_restarts_of_the_member(run_alone):
    async def story(server, store):
        head = await put(store, NO_HEAD)
        stream = store.changes(NO_HEAD)
        assert (await anext(stream)).head == head
        for number in (signal.SIGKILL, signal.SIGTERM):
            waiting = asyncio.ensure_future(anext(stream))
            started = server.events.count("etcd_started")
            server.signal(number)
            await server.events.wait_for("etcd_started", started + 1)
            await answering(server.client, leads=True)
            head = await put(store, head)
            assert (await waiting).head == head
        await stream.aclose()

    run_alone(story)


@asynccontextmanager
async def mirrored(store: EtcdStore):
    tables = Tables()
    mirror = Mirror(store, tables, Waiting(), lambda _event, **_fields: None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mirror.run())
        await mirror.loaded.wait()
        yield mirror, tables
        task.cancel()


def namespaces(index: int, *names: str) -> dict[Key, bytes | None]:
    return {
        ("namespaces", name): to_msgpack(Namespace(name=name, modify_index=index)) for name in names
    }


def test_mirror_follows_commits_and_takes_a_restored_generation(run):
    async def story(site):
        async with mirrored(site.store) as (mirror, tables):
            head = await put(site.other, NO_HEAD, namespaces(1, "a", "b"))
            head = await put(
                site.other, head, {("namespaces", "a"): None, ("namespaces", "x"): None}
            )
            await mirror.reached(2)
            assert set(tables.all(NAMESPACES)) == {"b"}
            head = await put(site.other, head, gens=1)
            await site.other.stage(head, 1, list(namespaces(1, "c", "d").items()))
            head = await put(site.other, head, gen=1, floor=4)
            await mirror.reached(4)
            assert set(tables.all(NAMESPACES)) == {"c", "d"}
            while not await site.other.drop(head, 0):
                pass
            head = await put(site.other, head, namespaces(5, "e"))
            await mirror.reached(5)
            assert set(tables.all(NAMESPACES)) == {"c", "d", "e"}

    run(story)


def test_mirror_loads_again_when_history_is_forgotten(run):
    async def story(site):
        async with mirrored(site.store) as (mirror, tables):
            head = await put(site.other, NO_HEAD, namespaces(1, "a"))
            await mirror.reached(1)
            site.client.end_watches()
            head = await put(site.other, head, namespaces(2, "b"))
            head = await put(site.other, head, {("namespaces", "a"): None})
            await forget(site.other_client)
            await mirror.reached(3)
            assert set(tables.all(NAMESPACES)) == {"b"}

    run(story)


@pytest.mark.slow
def test_mirror_goes_on_after_the_member_was_killed(run_alone):
    async def story(server, store):
        async with mirrored(store) as (mirror, tables):
            head = await put(store, NO_HEAD, namespaces(1, "a"))
            await mirror.reached(1)
            server.signal(signal.SIGKILL)
            await server.events.wait_for("etcd_started", 2)
            await answering(server.client, leads=True)
            with contextlib.suppress(Unknown):
                head = await put(store, head, namespaces(2, "b"))
            await mirror.reached(2)
            assert set(tables.all(NAMESPACES)) == {"a", "b"}

    run_alone(story)
