"""Reading a file or standard input with Go's errors, and writing files without overwriting any."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bellcow import files
from bellcow.cli.shell.errors import CommandError, opening

if TYPE_CHECKING:
    from collections.abc import Iterator

_INPUT_MAX = 64 << 20


def read_input(name: str, prefix: str = "Failed to read file: ") -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        data = sys.stdin.buffer.read(_INPUT_MAX) if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{prefix}{opening(error, name)}") from error
    return data.decode("utf-8", "replace")


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read."""
    _write_new(path, text, 0o600)


def write_public(path: Path, text: str) -> None:
    """Write a new file that everybody may read."""
    _write_new(path, text, 0o644)


def _write_new(path: Path, text: str, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise CommandError(f"Failed to create file: {opening(error, path)}") from error
    with os.fdopen(handle, "w") as file:
        file.write(text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A private file that is renamed to `path` once it is on disk, and removed on an error.

    Raises:
        CommandError: the file cannot be created or written.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(files.replacing(path))
        except OSError as error:
            raise CommandError(f"Failed to create file: {opening(error, path)}") from error
        try:
            yield file
            stack.close()
        except OSError as error:
            raise CommandError(f"Failed to write snapshot file: {opening(error, path)}") from error
