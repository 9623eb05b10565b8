"""Reading a file or standard input with Go's errors, and writing files without overwriting any."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bellcow.cli.failure import CommandError, opening

if TYPE_CHECKING:
    from collections.abc import Iterator

_INPUT_MAX = 64 << 20


def read_input(name: str, prefix: str = "Failed to read file: ") -> str:
    """The text of a file, or of standard input for `-`."""
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
    """A private file that takes the name `path` when all of it is on disk; else nothing stays."""
    temporary = path.with_name(f"{path.name}.tmp")
    handle = _create(temporary)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise CommandError(f"Failed to write snapshot file: {opening(error, path)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CommandError(f"Failed to create file: {opening(error, path)}") from error


def _sync_directory(path: Path) -> None:
    """Make the new name last through a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
