"""Read an archive to restore it, or inspect it to describe it."""

from __future__ import annotations

import heapq
import re
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import msgspec

import bellcow
from bellcow.errors import Error
from bellcow.snapshot.archive.envelope import unpack
from bellcow.snapshot.archive.model import MAGIC, Header, Info, Limit, Meta, Origin, Record
from bellcow.snapshot.archive.refusals import PREFIX, broken, cut, listed
from bellcow.snapshot.archive.state import Chunk, read_chunks, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    Check: TypeAlias = Callable[[Record], None]

LARGEST: Final = 10  # objects that `inspect` names


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An archive whose envelope is sound. The records are checked while they are read."""

    meta: Meta
    header: Header
    skipped: frozenset[str]  # tables that this program does not know, left out
    spool: Any  # the file with state.bin

    def records(self) -> Iterator[Record]:
        """Every object; each call begins at the first.

        Raises:
            Error: INVALID, the state is malformed.
        """
        try:
            for chunk in read_chunks(self.spool, self.header):
                yield from (record for record in chunk if record[0] not in self.skipped)
        except Error as error:
            raise Error(error.code, PREFIX + error.message) from None


def read(
    source: BinaryIO,
    spool: BinaryIO,
    limit: Limit,
    known: Collection[str] | None = None,
    *,
    skip_unknown: bool = False,
) -> Archive:
    """Verify an archive and unpack its state into `spool`, an empty file.

    `known` are the tables of this program; others are refused, or left out with `skip_unknown`.

    Raises:
        Error: REFUSED, a bad envelope; INVALID, a bad state in a sound one; TOO_LARGE.
    """
    try:
        meta = unpack(source, spool, limit)
        header = read_header(spool)
        unknown = frozenset(header.counts) - frozenset(header.counts if known is None else known)
        if unknown and not skip_unknown:
            broken(
                f"bellcow {cut(header.version)} wrote it, and bellcow {bellcow.__version__} does"
                f" not know these types of object in it: {listed(unknown)}"
            )
    except Error as error:
        raise Error(error.code, PREFIX + error.message) from None
    return Archive(meta=meta, header=header, skipped=unknown, spool=spool)


def origin_of(archive: Archive) -> Origin:
    """Where and when an archive was saved, to write another one of the same moment."""
    return Origin(
        index=archive.meta.index,
        term=archive.meta.term,
        wall_ns=archive.header.wall_ns,
        cluster_id=archive.header.cluster_id,
        region=archive.header.region,
        servers=archive.meta.configuration.servers,
        configuration_index=archive.meta.configuration_index,
    )


def inspect(source: BinaryIO, check: Callable[[Meta], Check] | None = None) -> Info:
    """Verify a seekable archive to its last object and count the objects.

    `check` makes of the metadata a function that is called with each record. It may raise, so that
    an archive is refused that a restore would refuse. Exceptions of `read` pass through, without
    `PREFIX`.
    """
    size = source.seek(0, 2)
    source.seek(0)
    with tempfile.SpooledTemporaryFile(max_size=16 << 20) as file:
        spool: Any = file
        meta = unpack(source, spool, Limit(max(20 * size, 64 << 20)))
        spool.seek(0)
        # Nomad: its own program inspects any sound envelope, so an archive of Nomad is shown too.
        header = Header(format=0) if spool.read(len(MAGIC)) != MAGIC else read_header(spool)
        chunks = read_chunks(spool, header) if header.format else iter(())
        stats, largest = _count(_looked_at(chunks, check(meta)) if check else chunks)
    created_ms = meta.id.rpartition("-")[2]
    return Info(
        id=meta.id,
        size=meta.size,
        index=meta.index,
        term=meta.term,
        version=meta.version,
        created_ns=int(created_ms) * 1_000_000 if re.fullmatch(r"[0-9]{1,15}", created_ms) else 0,
        writer=header.version,
        cluster_id=header.cluster_id,
        region=header.region,
        stats=stats,
        largest=largest,
    )


def _looked_at(chunks: Iterable[Chunk], check: Check) -> Iterator[Chunk]:
    for chunk in chunks:
        for record in chunk:
            check(record)
        yield chunk


def _count(
    chunks: Iterable[Chunk],
) -> tuple[tuple[tuple[str, int, int], ...], tuple[tuple[str, str, int], ...]]:
    """Objects and bytes of each table, and the largest objects; the largest first."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    largest: list[tuple[int, str, str]] = []
    for chunk in chunks:
        sizes = [(len(value), table, name) for table, name, value in chunk]
        for size, table, _ in sizes:
            counts[table] += 1
            totals[table] += size
        largest = heapq.nlargest(LARGEST, [*largest, *sizes])
    stats = tuple((table, counts[table], size) for table, size in totals.most_common())
    return stats, tuple((table, name, size) for size, table, name in largest)
