"""Run as `python -m bench.encoding STORE`: how fast the rows of a store are encoded and saved."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from isal import isal_zlib

from bellcow.clock import SystemClock
from bellcow.snapshot import save
from bellcow.state.tables import REGISTRY, Tables, fill
from bellcow.store.sqlite import open_store
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPS = 7


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """Objects a second, without a server: encoded; packed, which no archive can do without; saved.

    Packed means encoded, digested and compressed in one piece, with nothing around the objects.
    """

    objects: int
    encoded_per_s: float
    packed_per_s: float
    saved_per_s: float


async def _tables(path: Path) -> Tables:
    store = await open_store(path, SystemClock())
    try:
        head, items = await store.load()
        tables = Tables()
        tables.replace(head, fill(items))
        return tables
    finally:
        await store.close()


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(LOOPS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main(path: Path) -> None:
    tables = asyncio.run(_tables(path))
    rows = [row for table in REGISTRY.values() for row in tables.all(table).values()]

    def encode() -> None:
        for row in rows:
            to_msgpack(row)

    def pack() -> None:
        everything = b"".join(map(to_msgpack, rows))
        hashlib.sha256(everything).digest()
        compressor = isal_zlib.compressobj(level=1, wbits=31)
        compressor.compress(everything)
        compressor.flush()

    def archive() -> None:
        moment = save.take(tables, SystemClock())
        save.write_file(moment, path.parent)[0].close()

    encoding = Encoding(
        objects=len(rows),
        encoded_per_s=len(rows) / _best(encode),
        packed_per_s=len(rows) / _best(pack),
        saved_per_s=len(rows) / _best(archive),
    )
    print(msgspec.json.encode(encoding).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
