"""Save: the rows of one index, written to an archive by a worker thread and sent from its file."""

from __future__ import annotations

import asyncio
import base64
import errno
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from bellcow import failpoint, files
from bellcow.model.raft import RaftConfiguration
from bellcow.snapshot import archive
from bellcow.state.tables import CLUSTER, RAFT, REGISTRY
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.state.tables import Tables

PIECE = 256 << 10
FULL = {errno.ENOSPC, errno.EDQUOT}


class Moment(msgspec.Struct, frozen=True):
    """The state at one index: its origin, and the ids and rows of every table."""

    origin: archive.Origin
    tables: tuple[tuple[str, list[str], list[Any]], ...]

    def records(self) -> Iterator[tuple[str, str, bytes]]:
        for table, ids, rows in self.tables:
            for row_id, row in zip(ids, rows, strict=True):
                yield table, row_id, to_msgpack(row)


def take(tables: Tables, clock: Clock) -> Moment:
    """The present state. Rows are frozen, so copies of the lists are enough.

    Two lists, because a tuple for each row takes ten times as long and must be garbage-collected.
    """
    raft = tables.one(RAFT) or RaftConfiguration()
    cluster = tables.one(CLUSTER)
    origin = archive.Origin(
        index=tables.head.index,
        term=tables.head.term,
        wall_ns=clock.wall_ns(),
        cluster_id=cluster.cluster_id if cluster else "",
        region=cluster.region if cluster else "",
        servers=tuple(
            archive.Peer(suffrage=0 if s.voter else 1, id=s.id, address=s.address)
            for s in raft.servers
        ),
        configuration_index=raft.modify_index,
    )
    everything = ((name, tables.all(table)) for name, table in REGISTRY.items())
    return Moment(
        origin, tuple((name, list(rows), list(rows.values())) for name, rows in everything)
    )


class Saved:
    """A finished archive in a file without a name, which no crash can leave behind."""

    def __init__(
        self, file: BinaryIO, written: archive.Written, release: Callable[[], None]
    ) -> None:
        self._file = file
        self._release = release
        self.size = written.size
        self.digest = "sha-256=" + base64.b64encode(written.sha256).decode()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._file.read, PIECE)
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._release()


def write_file(moment: Moment, folder: Path | None) -> tuple[BinaryIO, archive.Written]:
    """Write an archive to a nameless file in `folder`. For a worker thread.

    Raises:
        OSError: a file cannot be written.
    """
    out = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  it outlives this function
    try:
        with tempfile.TemporaryFile(dir=folder) as spool:
            written = archive.write(out, moment.origin, moment.records(), spool)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    failpoint.reach("save-written")
    return out, written


def write_with_fallback(moment: Moment, folder: Path | None) -> tuple[BinaryIO, archive.Written]:
    """Like `write_file`, but use the folder for temporary files if the disk is full.

    The state of a server with a full disk should be saved before any repair.

    Raises:
        OSError: a file cannot be written there either.
    """
    try:
        return write_file(moment, folder)
    except OSError as error:
        if folder is None or error.errno not in FULL:
            raise
        return write_file(moment, None)


def keep_file(moment: Moment, folder: Path, name: str) -> Path:
    """Write an archive to `folder`, whole or not at all. For a worker thread.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / name
    with files.replacing(path) as out, tempfile.TemporaryFile(dir=folder) as spool:
        archive.write(out, moment.origin, moment.records(), spool)
    return path
