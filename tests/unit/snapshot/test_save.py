"""Saving: one moment, written whole, and nothing left behind however it ends."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.sim.clock import FixedClock
from tests.sim.world import World, configuration

from bellcow.errors import Code, Error
from bellcow.model.namespace import Namespace
from bellcow.snapshot import archive, save
from bellcow.state.commands import put_namespace
from bellcow.state.tables import NAMESPACES, REGISTRY, Tables, decode, with_indexes
from bellcow.store.protocol import Head
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def tables():
    tables = Tables()
    changes = {
        ("namespaces", name): to_msgpack(Namespace(name=name, modify_index=3)) for name in "ab"
    }
    raft = with_indexes(configuration(("a", "b")), 2, 2)
    changes["raft_configuration", "-"] = to_msgpack(raft)
    tables.apply(Head(index=7, term=3), changes)
    return tables


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(body: bytes) -> archive.Archive:
    return archive.read(
        io.BytesIO(body), io.BytesIO(), archive.limit_for(len(body), 1 << 30), known=REGISTRY
    )


def test_moment_is_not_changed_by_what_comes_after_it(tables):
    moment = save.take(tables, FixedClock())
    tables.apply(Head(index=8), {("namespaces", "a"): None})
    records = {(table, row_id) for table, row_id, _ in moment.records()}
    assert ("namespaces", "a") in records
    assert moment.origin.index == 7


def test_moment_tells_where_it_is_from(tables):
    origin = save.take(tables, FixedClock()).origin
    assert (origin.index, origin.term, origin.configuration_index) == (7, 3, 2)
    assert [(peer.suffrage, peer.id, peer.address) for peer in origin.servers] == [
        (0, "a", "a:4647"),
        (0, "b", "b:4647"),
    ]


def test_moment_of_empty_memory_is_an_archive_too(tmp_path):
    file, _ = save.write_file(save.take(Tables(), FixedClock()), tmp_path)
    with file:
        assert list(read(file.read()).records()) == []


def test_archive_holds_every_row(tables, tmp_path):
    file, written = save.write_file(save.take(tables, FixedClock()), tmp_path)
    with file:
        body = file.read()
    assert hashlib.sha256(body).digest() == written.sha256
    assert len(body) == written.size
    rows = {row_id: row for table, row_id, value in read(body).records()
            for kind, row in [decode((table, row_id), value)] if kind is NAMESPACES}  # fmt: skip
    assert rows == dict(tables.all(NAMESPACES))


def test_archive_in_the_making_has_no_name(tables, tmp_path):
    file, _ = save.write_file(save.take(tables, FixedClock()), tmp_path)
    with file:
        assert files_in(tmp_path) == []


def test_archive_that_is_kept_is_complete_and_for_its_owner_alone(tables, tmp_path):
    path = save.keep_file(save.take(tables, FixedClock()), tmp_path, "x.snap")
    assert files_in(tmp_path) == ["x.snap"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert read(path.read_bytes()).meta.index == 7


def test_archive_that_cannot_be_written_leaves_nothing(tables, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "write", fail)
    moment = save.take(tables, FixedClock())
    with pytest.raises(OSError, match="No space"):
        save.keep_file(moment, tmp_path, "x.snap")
    with pytest.raises(OSError, match="No space"):
        save.write_file(moment, tmp_path)
    assert files_in(tmp_path) == []


# The service around it


@asynccontextmanager
async def leading(folder: Path):
    async with World("a", folder=folder) as world:
        yield await world.begin()


async def test_saved_archive_is_sent_in_pieces_and_told_by_its_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(save, "PIECE", 100)

    async with leading(tmp_path) as server:
        saved = await server.snapshots.save()
        pieces = [piece async for piece in saved]
        assert len(pieces) > 1
        assert saved.size == sum(map(len, pieces))
        digest = hashlib.sha256(b"".join(pieces)).digest()
        assert saved.digest == "sha-256=" + base64.b64encode(digest).decode()


async def test_two_saves_at_once_and_no_more(tmp_path):
    async with leading(tmp_path) as server:
        first, second = await server.snapshots.save(), await server.snapshots.save()
        async with asyncio.TaskGroup() as group:
            third = group.create_task(server.snapshots.save())
            await asyncio.sleep(1)
            assert not third.done()
            await first.aclose()
            await (await third).aclose()
        await second.aclose()
        await second.aclose()
        assert server.saw("snapshot_saved") == 3


async def test_save_on_a_full_disk_goes_where_temporary_files_go(tmp_path, monkeypatch):
    write = save.write_file

    def full_here(moment, folder):
        if folder is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(moment, folder)

    async with leading(tmp_path) as server:
        with monkeypatch.context() as patch:
            patch.setattr(save, "write_file", full_here)
            packed = b"".join([piece async for piece in await server.snapshots.save()])
        assert read(packed).meta.index


async def test_save_that_fails_says_why_and_gives_its_place_back(tmp_path, monkeypatch):
    async with leading(tmp_path) as server:

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(save, "write_file", fail)
            for _ in range(5):
                with pytest.raises(Error) as caught:
                    await server.snapshots.save()
                assert caught.value.code is Code.UNAVAILABLE
                assert caught.value.message == (
                    "no snapshot was made: No space left on device, "
                    "on the server in its data directory and in its folder for temporary files"
                )
        await server.write(put_namespace(Namespace(name="x")))
        assert [piece async for piece in await server.snapshots.save()]
