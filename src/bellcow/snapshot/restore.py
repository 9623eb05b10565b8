"""Restore: verify and decode all, save the present state, stage a generation, switch in one commit.

After a crash before the switch the state is the old one; after the switch it is the new one.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from bellcow import failpoint
from bellcow.errors import Code, Error
from bellcow.snapshot import archive, save
from bellcow.snapshot.verify import Verifier
from bellcow.state.tables import (
    AUTOPILOT,
    CLUSTER,
    NAMESPACES,
    ONLY,
    RAFT,
    REGISTRY,
    SCHEDULER,
    decode,
)
from bellcow.store.protocol import Change, Fenced, NoSpace, StoreError, Unavailable, Unknown
from bellcow.store.staging import chunks
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.state.committer import Committer
    from bellcow.state.tables import Table, Tables
    from bellcow.store.protocol import Head, Key, Store

PIECE_BYTES = 1 << 20
KEPT_ARCHIVES = 10
DROP_PAUSE_S = 10.0
# These identify this cluster and its servers: an archive never changes them.
OURS: tuple[Table[Any], ...] = (RAFT, CLUSTER)
# These rows must exist. If the archive has none, the present one stays.
NEEDED: tuple[tuple[Table[Any], str], ...] = (
    (AUTOPILOT, ONLY),
    (SCHEDULER, ONLY),
    (NAMESPACES, "default"),
)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """The index of the switch, the archive that was restored, and where the old state is kept."""

    index: int
    archive_id: str
    objects: int
    kept: str


class Restorer:
    """One restore at a time, on the leader."""

    def __init__(
        self,
        *,
        store: Store,
        tables: Tables,
        committer: Committer,
        clock: Clock,
        folder: Path | None,
        report: Report,
    ) -> None:
        self._store = store
        self._tables = tables
        self._committer = committer
        self._clock = clock
        self._folder = folder
        self._report = report
        self._busy = False
        self._litter = asyncio.Event()

    async def restore(self, body: AsyncIterator[bytes], content_type: str) -> Restored:
        """Replace the state by the archive in `body`.

        Raises:
            Error: UNKNOWN_OUTCOME, the switch may have been done; with any other code nothing has
                changed.
        """  # noqa: DOC501  made by `_explained` too
        if self._busy:
            raise Error(Code.CONFLICT, "another snapshot restore is in progress")
        self._busy = True
        try:
            with (
                tempfile.TemporaryFile(dir=self._folder) as upload,
                tempfile.TemporaryFile(dir=self._folder) as spool,
            ):
                await self._receive(body, upload)
                failpoint.reach("restore-received")
                try:
                    verified = await asyncio.to_thread(self._verify, upload, spool)
                except Error as error:
                    self._report("snapshot_refused", reason=error.message[:200])
                    plain = await asyncio.to_thread(_lost_its_line_breaks, upload)
                    raise _explained(error, content_type, stripped=plain) from None
                failpoint.reach("restore-verified")
                return await self._replace(verified)
        except (Fenced, Unknown) as error:
            self._committer.depose(error)
            raise Error(
                Code.UNKNOWN_OUTCOME, "outcome unknown: leadership was lost during the restore"
            ) from error
        except StoreError as error:
            text = f"not restored, nothing changed: {error.for_clients}"
            raise Error(Code.UNAVAILABLE, text) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise Error(Code.UNAVAILABLE, f"not restored, nothing changed: {reason}") from error
        finally:
            self._busy = False
            self._litter.set()

    async def _receive(self, body: AsyncIterator[bytes], upload: BinaryIO) -> None:
        async for piece in body:
            await asyncio.to_thread(upload.write, piece)
        upload.seek(0)

    def _verify(self, upload: BinaryIO, spool: BinaryIO) -> archive.Archive:
        """Read the whole archive and check every object. For a worker thread.

        Raises:
            Error: the archive is refused, with the code that `archive.read` or `Verifier.check`
                gives.
        """
        upload.seek(0, 2)
        size = upload.tell()
        upload.seek(0)
        free = shutil.disk_usage(self._folder or tempfile.gettempdir()).free
        verified = archive.read(upload, spool, archive.limit_for(size, free), known=REGISTRY)
        verifier = Verifier(verified.meta.index, self._store.limits.object_bytes)
        try:
            for record in verified.records():
                verifier.check(record)
        except Error as error:
            message = error.message.removeprefix(archive.PREFIX)
            raise Error(error.code, archive.PREFIX + message) from None
        return verified

    async def _replace(self, verified: archive.Archive) -> Restored:
        async with self._committer.hold():
            kept = await self._keep_present()
            failpoint.reach("restore-archived")
            gen = await self._take_generation()
            failpoint.reach("restore-generation-taken")
            objects, has = await self._stage(verified, gen)
            failpoint.reach("restore-staged")
            index = await self._switch(verified, gen, has)
            failpoint.reach("restore-switched")
        restored = Restored(index=index, archive_id=verified.meta.id, objects=objects, kept=kept)
        self._report("snapshot_restored", **msgspec.structs.asdict(restored))
        return restored

    async def _keep_present(self) -> str:
        """Save an archive of the present state beside the store, and delete the oldest of these."""
        if self._folder is None:
            return ""
        moment = save.take(self._tables, self._clock)
        stamp = moment.origin.wall_ns // 1_000_000
        name = f"before-restore-{moment.origin.index}-{stamp}.snap"
        path = await asyncio.to_thread(save.keep_file, moment, self._folder, name)
        old = sorted(self._folder.glob("before-restore-*.snap"), key=lambda p: p.stat().st_mtime_ns)
        for each in old[:-KEPT_ARCHIVES]:
            each.unlink()
        self._report("restore_backup_saved", path=str(path))
        return str(path)

    async def _take_generation(self) -> int:
        """Take a generation number that was never used: a failed attempt may have left objects."""
        known = self._known()
        gen = known.gens + 1
        head = self._committer.next_head(known, index=known.index, ops=0)
        await self._committer.advance(Change(msgspec.structs.replace(head, gens=gen), {}))
        return gen

    async def _stage(self, verified: archive.Archive, gen: int) -> tuple[int, set[Key]]:
        """Write the objects into the generation; returns how many, and the `NEEDED` keys."""
        needed = {(table.name, row_id) for table, row_id in NEEDED}
        has: set[Key] = set()
        count = 0
        cut = chunks(_theirs(verified))
        while chunk := await asyncio.to_thread(next, cut, None):
            await self._store.stage(self._known(), gen, chunk)
            count += len(chunk)
            has |= needed & {key for key, _ in chunk}
            failpoint.reach("restore-first-chunk-staged")
        return count, has

    async def _switch(self, verified: archive.Archive, gen: int, has: set[Key]) -> int:
        """Make the generation the current one, in one commit with the rows that stay."""
        known = self._known()
        index = max(known.index, verified.meta.index) + 1
        changes: dict[Key, bytes | None] = {}
        for table in OURS:
            if (row := self._tables.one(table)) is not None:
                changes[table.name, ONLY] = to_msgpack(row)
        for table, row_id in NEEDED:
            row = self._tables.get(table, row_id)
            if (table.name, row_id) not in has and row is not None:
                changes[table.name, row_id] = to_msgpack(row)
        head = self._committer.next_head(known, index=index, ops=len(changes))
        head = msgspec.structs.replace(head, gen=gen, floor=index)
        await self._committer.advance(Change(head, changes))
        return index

    async def run(self) -> None:
        """On the leader: drop the other generations, at the start and after each restore."""
        await self._sweep()
        while True:
            await self._litter.wait()
            self._litter.clear()
            await self._sweep()
            failpoint.reach("restore-done")

    async def _sweep(self) -> None:
        """Drop every generation but the current one; retries while the disk is full."""
        while True:
            try:
                for gen in range(self._tables.head.gens + 1):
                    await self._drop(gen)
            except (NoSpace, Unavailable):
                await asyncio.sleep(DROP_PAUSE_S)  # without ending leadership
            else:
                return

    async def _drop(self, gen: int) -> None:
        """Drop a generation in slices, each between two batches; never the current one."""
        empty = False
        while not empty:
            async with self._committer.turn():
                known = self._committer.known
                if known is None or gen == known.gen:
                    return
                empty = await self._store.drop(known, gen)
            failpoint.reach("restore-first-slice-dropped")
            await asyncio.sleep(0)

    def _known(self) -> Head:
        known = self._committer.known
        if known is None:
            raise Error(Code.NO_LEADER, "No cluster leader")
        return known


def _theirs(verified: archive.Archive) -> Iterator[tuple[Key, bytes]]:
    """The archive's objects without the tables of `OURS`, decoded and encoded again.

    So unknown fields are left out: deeply nested ones might be unreadable at another depth.
    """
    ours = {table.name for table in OURS}
    for table, row_id, value in verified.records():
        if table not in ours:
            key = table, row_id
            yield key, to_msgpack(decode(key, value)[1])


def _lost_its_line_breaks(upload: BinaryIO) -> bool:
    """Whether it has neither CR nor LF, though every archive of some size has them."""
    upload.seek(0)
    while piece := upload.read(PIECE_BYTES):
        if b"\n" in piece or b"\r" in piece:
            return False
    return True


def _explained(error: Error, content_type: str, *, stripped: bool) -> Error:
    """The same refusal, with a hint if the archive was sent as a form.

    curl -d and --data-binary send the same content type, so the type alone proves nothing.
    """
    form = content_type.startswith("application/x-www-form-urlencoded") and stripped
    if not form and not content_type.startswith("multipart/"):
        return error
    return Error(
        error.code,
        f"{error.message} (it came as a form: curl -d drops line breaks, "
        "send the archive as it is with --data-binary @FILE)",
    )
