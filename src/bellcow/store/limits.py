"""What every store refuses before it writes: heads that do not follow, and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.store.protocol import TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bellcow.store.protocol import Head, Key, Limits


def check_chain(known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> None:
    """Check that `head` may follow `known` with these changes.

    Raises:
        ValueError: it is not the next one, or does not count the changes.
    """
    if head.prev != known.commit or head.ops != len(changes):
        raise ValueError("head.prev must be known.commit and head.ops the number of changes")
    if not head.commit or head.commit == known.commit:
        raise ValueError("head.commit must be a new id")


def check_unseen(known: Head, gen: int) -> None:
    """Check that no reader sees the generation yet.

    Raises:
        ValueError: it is the current one.
    """
    if gen == known.gen:
        raise ValueError(f"generation {gen} is the current one: only commits change it")


def check_limits(limits: Limits, items: Iterable[tuple[Key, bytes | None]]) -> None:
    """Check what one commit is to hold.

    Raises:
        TooLarge: an object, the number of changes or their total is over its limit.
    """
    count = 0
    total = 0
    for (table, name), value in items:
        count += 1
        size = len(value) if value is not None else 0
        total += size + len(table) + len(name)
        if size > limits.object_bytes:
            raise TooLarge(f"{table} {name[:64]}: {size} bytes, at most {limits.object_bytes}")
    if count > limits.max_changes:
        raise TooLarge(f"{count} changes in one commit, at most {limits.max_changes}")
    if total > limits.max_bytes:
        raise TooLarge(f"{total} bytes in one commit, at most {limits.max_bytes}")
