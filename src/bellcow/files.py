"""Writes a file completely or not at all: neither a crash nor another user can leave half of it.

Every call blocks and may raise OSError, which callers translate.
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
    """A new file that replaces `path`, synced to disk, when the block ends without an error.

    It is made in the same directory under a random name that must not exist, so that a link or an
    open file prepared by another user never receives the content. The new file has this process's
    owner, and `mode`. After an error it is removed.
    """
    handle, name = tempfile.mkstemp(PARTIAL, f"{path.name[:_NAME_KEPT]}.", path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            os.fchmod(handle, mode)  # whatever the umask is
            yield file
            file.flush()
            os.fsync(handle)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace or create the file.

    Raises:
        OSError: it cannot be written or synced.
    """
    with replacing(path, mode) as file:
        file.write(content)


def sync_directory(path: Path) -> None:
    """Sync the directory, so that new names survive a loss of power.

    Raises:
        OSError: it cannot be synced.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
