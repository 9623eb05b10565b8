"""The progress of a long transfer, shown on a terminal only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def counted(chunks: Iterable[bytes], label: str, total: int | None = None) -> Iterator[bytes]:
    """The chunks unchanged; standard error shows how many bytes have passed."""
    if not sys.stderr.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        for chunk in chunks:
            progress.advance(task, len(chunk))
            yield chunk
