"""`operator snapshot state`: every object of a snapshot file as JSON."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from bellcow.cli import goflags
from bellcow.cli.failure import CommandError, failing, opening
from bellcow.cli.goflags import one
from bellcow.cli.output import say


@goflags.command(
    "Prints every object of a snapshot file as JSON, by table, without a server.\n\n"
    "The output holds secrets when the state does.",
    takes=one("filename"),
)
def state(*, words: tuple[str, ...]) -> None:
    import msgspec

    try:
        found = _tables(Path(words[0]))
    except OSError as error:
        raise CommandError(f"Error opening snapshot file: {opening(error, words[0])}") from error
    encoded = msgspec.json.encode(found, order="sorted")
    say(msgspec.json.format(encoded, indent=2).decode())


def _tables(path: Path) -> dict[str, Any]:
    import msgspec

    from bellcow.snapshot import archive

    with path.open("rb") as source, tempfile.TemporaryFile() as spool:
        free = os.statvfs(tempfile.gettempdir())
        limit = archive.limit_for(path.stat().st_size, free.f_bavail * free.f_frsize)
        with failing("Error reading snapshot: "):
            read = archive.read(source, spool, limit)
            tables: dict[str, Any] = {"SnapshotMeta": msgspec.to_builtins(read.meta)}
            for table, _name, value in read.records():
                tables.setdefault(table, []).append(msgspec.msgpack.decode(value))
    return tables
