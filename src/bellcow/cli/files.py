"""Reading a file or standard input with Go's errors, and writing files that hold secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bellcow.cli.failure import CommandError, opening

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
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"Failed to create file: {opening(error, path)}") from error
    with os.fdopen(handle, "w") as file:
        file.write(text)
