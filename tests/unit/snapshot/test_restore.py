"""Restoring: what is replaced, what stays, and what is left where it fails."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.sim.clock import BEGIN_NS
from tests.sim.store import Fault, no_fault, script
from tests.sim.world import SimServer, World

from bellcow.errors import Code, Error
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.bounds import ARCHIVE_INDEX_MAX, INDEX_MAX
from bellcow.model.namespace import Namespace
from bellcow.snapshot import archive, restore
from bellcow.snapshot.archive import Origin
from bellcow.state.commands import put_namespace, put_setting
from bellcow.state.tables import AUTOPILOT, CLUSTER, NAMESPACES, RAFT, SCHEDULER
from bellcow.store import staging
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.virtual_time


def files_in(folder: Path) -> list[str]:
    """The names of all files, those in folders below it too."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@asynccontextmanager
async def leading(folder: Path | None):
    async with World("a", folder=folder) as world:
        yield await world.begin()


async def body_of(packed: bytes, piece: int = 64):
    for start in range(0, len(packed), piece):
        yield packed[start : start + piece]


async def saved(server: SimServer) -> bytes:
    return b"".join([piece async for piece in await server.snapshots.save()])


async def put(server: SimServer, name: str) -> int:
    return (await server.write(put_namespace(Namespace(name=name)))).index


async def refusal(server: SimServer, packed: bytes, content_type: str = "") -> Error:
    with pytest.raises(Error) as caught:
        await server.snapshots.restore(body_of(packed), content_type)
    return caught.value


def names(server: SimServer) -> set[str]:
    return set(server.tables.all(NAMESPACES))


def made(records, *, index: int = 50) -> bytes:
    """An archive of another cluster with these records."""
    origin = Origin(index=index, term=9, wall_ns=BEGIN_NS, cluster_id="other", region="global")
    out = io.BytesIO()
    archive.write(out, origin, iter(records), io.BytesIO())
    return out.getvalue()


async def test_state_is_that_of_the_archive_at_an_index_above_all(tmp_path):
    async with leading(tmp_path) as server:
        await put(server, "kept")
        packed = await saved(server)
        last = await put(server, "gone")
        restored = await server.snapshots.restore(body_of(packed), "")
        assert names(server) == {"default", "kept"}
        assert restored.index - last == 1
        assert server.tables.head.floor == restored.index


async def test_rows_keep_the_indexes_of_the_archive_and_tables_have_the_new_one(tmp_path):
    async with leading(tmp_path) as server:
        index = await put(server, "kept")
        packed = await saved(server)
        restored = await server.snapshots.restore(body_of(packed), "")
        row = server.tables.get(NAMESPACES, "kept")
        assert row.modify_index == index
        assert server.tables.table_index(NAMESPACES) == restored.index


async def test_index_goes_above_that_of_an_archive_from_far_ahead(tmp_path):
    async with leading(tmp_path) as server:
        packed = made([("namespaces", "n", to_msgpack(Namespace(name="n")))], index=5_000)
        restored = await server.snapshots.restore(body_of(packed), "")
        assert restored.index == 5_001
        assert restored.objects == 1
        assert await put(server, "x") == 5_002


async def test_members_and_identity_stay_those_of_this_cluster(tmp_path):
    async with leading(tmp_path) as server:
        before = server.tables.one(RAFT), server.tables.one(CLUSTER)
        foreign = [
            ("raft_configuration", "-", to_msgpack({"Servers": []})),
            ("cluster", "-", to_msgpack({"ClusterID": "x", "CreateTime": "", "Region": "y"})),
        ]
        restored = await server.snapshots.restore(body_of(made(foreign)), "")
        assert restored.objects == 0
        assert (server.tables.one(RAFT), server.tables.one(CLUSTER)) == before


async def test_what_must_exist_stays_where_the_archive_lacks_it(tmp_path):
    async with leading(tmp_path) as server:
        mine = AutopilotConfiguration(max_trailing_logs=7)
        await server.write(put_setting(AUTOPILOT, mine))
        await server.snapshots.restore(body_of(made([])), "")
        assert server.tables.one(AUTOPILOT).max_trailing_logs == 7
        assert server.tables.one(SCHEDULER) is not None
        assert names(server) == {"default"}


async def test_what_the_archive_has_replaces_what_must_exist(tmp_path):
    async with leading(tmp_path) as server:
        theirs = to_msgpack(AutopilotConfiguration(max_trailing_logs=9))
        await server.snapshots.restore(
            body_of(made([("autopilot_configuration", "-", theirs)])), ""
        )
        assert server.tables.one(AUTOPILOT).max_trailing_logs == 9


async def test_many_objects_are_staged_in_chunks_and_dropped_in_slices(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "OBJECTS", 10)
    records = [(
        "namespaces", f"n{n}", to_msgpack(Namespace(name=f"n{n}"))
    ) for n in range(2_345)]  # fmt: skip

    async with leading(tmp_path) as server:
        for _ in range(2):
            restored = await server.snapshots.restore(body_of(made(records), 4_096), "")
        await asyncio.sleep(1)
        disk = server.store.disk
        kept = [gen for gen, rows in disk.objects.items() if rows]
        assert restored.objects == 2_345
        assert len(names(server)) == 2_346
        assert kept == [disk.head.gen]


async def test_what_no_field_takes_is_not_stored(tmp_path):
    async with leading(tmp_path) as server:
        odd = to_msgpack({"Name": "n", "New": [[[[1]]]]})
        await server.snapshots.restore(body_of(made([("namespaces", "n", odd)])), "")
        disk = server.store.disk
        assert disk.objects[disk.head.gen]["namespaces", "n"] == to_msgpack(Namespace(name="n"))


# Refused


async def test_row_that_the_api_would_refuse_is_named_and_nothing_is_touched(tmp_path):
    async with leading(tmp_path) as server:
        before = server.store.disk.head
        odd = to_msgpack({"LastContactThreshold": []})
        rows = [
            ("namespaces", "good", to_msgpack(Namespace(name="good"))),
            ("autopilot_configuration", "-", odd),
        ]
        error = await refusal(server, made(rows))
        await saved(server)
        assert error.code is Code.INVALID
        assert error.message.startswith(
            "failed to restore from snapshot: Raft error when restoring snapshot: "
            'autopilot_configuration "-": it cannot be decoded: '
        )
        assert server.store.disk.head == before
        assert files_in(tmp_path) == []


async def test_row_with_an_index_above_the_archive_is_refused(tmp_path):
    async with leading(tmp_path) as server:
        row = to_msgpack(Namespace(name="n", create_index=51, modify_index=51))
        error = await refusal(server, made([("namespaces", "n", row)], index=50))
        assert 'namespaces "n": CreateIndex 51, ModifyIndex 51' in error.message


async def test_archive_of_an_index_that_servers_do_not_believe_stops_no_cluster(tmp_path):
    async with World("a", "b", "c", folder=tmp_path) as world:
        leader = await world.begin()
        codes = [
            (await refusal(leader, made([], index=index))).code
            for index in (1 << 62, INDEX_MAX, ARCHIVE_INDEX_MAX + 1)
        ]
        index = await put(leader, "later")
        await asyncio.sleep(10)
        seen = {server.tables.index for server in world.servers.values()}
        assert (codes, seen == {index}, leader.leadership.is_leader) == (
            [Code.INVALID] * 3,
            True,
            True,
        )


async def test_object_that_cannot_be_decoded_is_refused_before_anything_is_touched(tmp_path):
    async with leading(tmp_path) as server:
        before = server.store.disk.head
        records = [("namespaces", "good", to_msgpack(Namespace(name="good")))]
        error = await refusal(
            server, made([*records, ("namespaces", "bad", to_msgpack({"Name": 5}))])
        )
        assert error.code is Code.INVALID
        assert error.message.startswith(
            "failed to restore from snapshot: Raft error when restoring snapshot: "
            'namespaces "bad": it cannot be decoded: '
        )
        assert server.store.disk.head == before
        assert server.saw("snapshot_refused") == 1
        assert files_in(tmp_path) == []


async def test_garbage_is_refused_and_a_form_is_told_to_be_one(tmp_path):
    async with leading(tmp_path) as server:
        plain = await refusal(server, b"not an archive")
        form = await refusal(server, b"a=b" * 20, "application/x-www-form-urlencoded")
        assert plain.message == (
            "failed to restore from snapshot: failed to decompress snapshot: gzip: invalid header"
        )
        assert form.message.startswith(plain.message)
        assert "--data-binary @FILE" in form.message


async def test_a_bad_archive_sent_as_documented_is_not_blamed_on_its_form(tmp_path):
    async with leading(tmp_path) as server:
        cut = (await saved(server))[:-200] + b"\n"
        plain = await refusal(server, cut)
        form = await refusal(server, cut, "application/x-www-form-urlencoded")
        assert form.message == plain.message


async def test_second_restore_is_refused_while_the_first_is_read(tmp_path):
    async with leading(tmp_path) as server:
        packed = await saved(server)

        async def slow():
            yield packed[:10]
            await asyncio.sleep(10)
            yield packed[10:]

        async with asyncio.TaskGroup() as group:
            first = group.create_task(server.snapshots.restore(slow(), ""))
            await asyncio.sleep(1)
            error = await refusal(server, packed)
        assert error.code == Code.CONFLICT
        assert first.result().objects > 0


async def test_broken_upload_changes_nothing_and_leaves_room_for_the_next(tmp_path):
    async with leading(tmp_path) as server:
        packed = await saved(server)

        async def broken():
            yield packed[:50]
            raise Error(Code.INVALID, "unexpected EOF")

        with pytest.raises(Error, match="unexpected EOF"):
            await server.snapshots.restore(broken(), "")
        before = files_in(tmp_path)
        await server.snapshots.restore(body_of(packed), "")
        assert before == []


async def test_restore_without_leadership_is_refused(tmp_path):
    async with leading(tmp_path) as server:
        packed = await saved(server)
        server.peers.votes.elect(None)
        await asyncio.sleep(0.3)
        assert (await refusal(server, packed)).code is Code.NO_LEADER


@pytest.mark.parametrize("call", ["stage", "commit"])
@pytest.mark.parametrize("fault", [Fault.NO_SPACE, Fault.UNAVAILABLE])
async def test_full_disk_changes_nothing_and_the_litter_goes(tmp_path, call, fault):
    async with leading(tmp_path) as server:
        packed = await saved(server)
        await put(server, "later")
        server.store.fault = script(call, fault)
        error = await refusal(server, packed)
        server.store.fault = no_fault
        await asyncio.sleep(1)
        assert "later" in names(server)
        kept = [gen for gen, rows in server.store.disk.objects.items() if rows]
        assert kept == [server.store.disk.head.gen]
        assert error.code is Code.UNAVAILABLE
        assert error.message.startswith("not restored, nothing changed: ")


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_DONE, Fault.UNKNOWN_NOT_DONE, Fault.FENCED])
async def test_lost_answer_to_the_switch_is_told_as_unknown_and_the_claim_renewed(tmp_path, fault):
    async with leading(tmp_path) as server:
        packed = await saved(server)
        await put(server, "later")
        server.store.fault = script("commit", None, fault)
        error = await refusal(server, packed)
        server.peers.votes.term += 5
        await asyncio.sleep(1)
        restored = fault is Fault.UNKNOWN_DONE
        assert ("later" not in names(server)) is restored
        kept = [gen for gen, rows in server.store.disk.objects.items() if rows]
        assert kept == [server.store.disk.head.gen]
        assert error.code == Code.UNKNOWN_OUTCOME
        assert server.leadership.is_leader
        assert server.saw("leadership_lost") == 1


async def test_litter_that_meets_a_full_disk_waits_and_leadership_goes_on(tmp_path):
    async with leading(tmp_path) as server:
        packed = await saved(server)
        server.store.fault = script("drop", Fault.NO_SPACE, Fault.NO_SPACE)
        await server.snapshots.restore(body_of(packed), "")
        await asyncio.sleep(60)
        kept = [gen for gen, rows in server.store.disk.objects.items() if rows]
        assert kept == [server.store.disk.head.gen]
        assert server.saw("leadership_lost") == 0


# What is kept


async def test_state_before_a_restore_is_kept_and_can_be_restored(tmp_path):
    async with leading(tmp_path) as server:
        packed = await saved(server)
        await put(server, "later")
        restored = await server.snapshots.restore(body_of(packed), "")
        assert "later" not in names(server)
        with open(restored.kept, "rb") as file:  # noqa: ASYNC230, PTH123  a test may wait
            before = file.read()
        await server.snapshots.restore(body_of(before), "")
        assert "later" in names(server)


async def test_only_the_newest_of_the_kept_archives_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "KEPT_ARCHIVES", 3)

    async with leading(tmp_path) as server:
        packed = await saved(server)
        for _ in range(5):
            await server.snapshots.restore(body_of(packed), "")
        assert len(files_in(tmp_path)) == 3


async def test_server_without_a_folder_restores_too(tmp_path):
    async with leading(None) as server:
        packed = await saved(server)
        assert (await server.snapshots.restore(body_of(packed), "")).kept == ""


async def test_health_is_judged_from_scratch_after_a_restore(tmp_path):
    async with leading(tmp_path) as server:
        packed = await saved(server)
        await asyncio.sleep(3)
        assert server.autopilot.health.servers is not None
        await server.snapshots.restore(body_of(packed), "")
        begun = server.autopilot.health.servers
        await asyncio.sleep(2.1)
        assert begun is None
        assert server.autopilot.health.healthy
