"""Checks the ownership of a data directory: no entry may be a link or belong to another user.

A server writes to, truncates and changes the mode of the files in it, possibly as root. Another
user who could write to the directory before the start must not choose which files those are.
`data_dir` itself may be a symbolic link: the operator names it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class DataDirectoryError(Exception):
    """The directory cannot be used. The message says why, and what to do."""


class Above(msgspec.Struct, frozen=True):
    """The check of `data_dir`: `closed` if access was removed, `exposed` says what remains open."""

    closed: bool = False
    exposed: str = ""


def make_own(folder: Path) -> None:
    """Create the directory, or check an existing one, and remove the access of other users.

    Raises:
        DataDirectoryError: there is a file, a link, or a directory of another user.
        OSError: it cannot be created or changed.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        _check_entry(folder)
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise DataDirectoryError(
            f"{folder} is a file, and there must be a directory: move it away, or choose another"
            " data_dir"
        )
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_mode & _OTHERS:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def check_entries(folder: Path) -> None:
    """Check who owns the entries of a directory.

    Raises:
        DataDirectoryError: an entry is a link, or belongs to another user.
    """
    for each in _entries(folder):
        _check_entry(each)


def look_above(data_dir: Path) -> Above:
    """Remove write access of other users to `data_dir`: they could replace the server's directory.

    A directory with the sticky bit, such as /tmp, is left as it is: other users cannot rename ours.

    Raises:
        OSError: it cannot be read.
    """
    found = data_dir.stat()
    if found.st_uid not in _trusted():
        return Above(
            exposed=f"it belongs to user {found.st_uid}, who can put other files in the place of"
            f" ours: run `chown {os.geteuid()} {data_dir}`"
        )
    if not found.st_mode & _OTHERS_WRITE or found.st_mode & stat.S_ISVTX:
        return Above()
    try:
        data_dir.chmod(found.st_mode & 0o7777 & ~_OTHERS_WRITE)
    except OSError:
        return Above(exposed=f"other users can write there: run `chmod go-w {data_dir}`")
    return Above(closed=True)


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.exists() else iter(())


def _check_entry(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise DataDirectoryError(
            f"{path} is a symbolic link, which is not followed: put the file or directory itself"
            " there, or mount it there; only data_dir itself may be a link"
        )
    if found.st_uid not in _trusted():
        raise DataDirectoryError(
            f"{path} belongs to user {found.st_uid}, and this server runs as user {os.geteuid()}:"
            f" run it as that user, or give it all of the data directory with `chown -R`"
        )


def _trusted() -> set[int]:
    """The users who may own our files: this one, and root, who can change any file anyway."""
    return {os.geteuid(), 0}
