"""Files of embedded stores with commits that are the same in every process that makes them."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from bellcow.clock import SystemClock
from bellcow.store.protocol import NO_HEAD, Change, Head, Key, StoreError
from bellcow.store.sqlite_files import Files

SUFFIXES = ("", "-wal", ".mark")
PAGE_BYTES = 512


def change_of(index: int, known: Head) -> Change:
    """The commit with this index, the same in each process that makes it."""
    changes: dict[Key, bytes | None] = {
        ("t", str(index % 20)): b"%d" % index,
        ("t", str((index + 7) % 20)): None,
        ("u", str(index % 3)): b"%d" % index * 30,
    }
    head = Head(index=index, commit=f"c{index}", prev=known.commit, ops=len(changes))
    return Change(head, changes)


def objects_at(index: int) -> dict[Key, bytes]:
    objects: dict[Key, bytes] = {}
    head = NO_HEAD
    for number in range(1, index + 1):
        change = change_of(number, head)
        head = change.head
        for key, value in change.changes.items():
            objects.pop(key, None)
            if value is not None:
                objects[key] = value
    return objects


def fill(files: Files, commits: int) -> Head:
    head = files.read_head()
    for index in range(head.index + 1, head.index + 1 + commits):
        change = change_of(index, head)
        files.commit(head, change)
        head = change.head
    return head


def opened(path: Path) -> Files:
    return Files(path, SystemClock())


def state_in(path: Path) -> tuple[Head, dict[Key, bytes]]:
    files = opened(path)
    try:
        head, items = files.load()
        return head, dict(items)
    finally:
        files.close()


def state_or_refusal(path: Path) -> tuple[Head, dict[Key, bytes]] | StoreError:
    try:
        return state_in(path)
    except StoreError as error:
        if str(path) not in str(error):
            raise
        return error


def is_open(path: Path) -> bool:
    """Whether this process has it open."""
    files = [*Path("/proc/self/fd").iterdir()]
    return path in {each.readlink() for each in files if each.is_symlink()}


def copy_to(source: Path, target: Path) -> Path:
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(mode=0o700)
    for suffix in SUFFIXES:
        if source.with_name(source.name + suffix).exists():
            shutil.copy(
                source.with_name(source.name + suffix), target.parent / (target.name + suffix)
            )
    return target


def flipped(whole: bytes, bit: int) -> bytes:
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def small_pages(path: Path) -> Path:
    """An empty database at `path` with pages of `PAGE_BYTES`: a short log, and many pages."""
    path.parent.mkdir(mode=0o700)
    small = sqlite3.connect(path)
    small.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    small.execute("VACUUM")
    small.close()
    return path
