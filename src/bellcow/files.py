"""Writing a file whole or not at all: neither a crash nor another user of the folder can spoil it.

Every call blocks and raises OSError. What a file means, and what a refusal is called, is for the
callers to say.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL = ".partial"  # ends the name of a file that is not complete
_NAME_KEPT = 50  # characters of the final name in the partial one: a name has at most 255 bytes


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A new file that takes the name `path`, on disk, when the block ends well.

    It is made beside `path` under a name that nobody can guess and that must not exist, so neither
    a link nor an open file that waits there receives what is written. An existing file of that name
    is replaced with its owner and its mode. After an error nothing stays.
    """
    handle, name = tempfile.mkstemp(PARTIAL, f"{path.name[:_NAME_KEPT]}.", path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            os.fchmod(handle, mode)  # the umask may have taken more than it should
            yield file
            file.flush()
            os.fsync(handle)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file, or make it."""
    with replacing(path, mode) as file:
        file.write(content)


def sync_directory(path: Path) -> None:
    """Make new names in it outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
