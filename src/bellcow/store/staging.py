"""Chunks of a generation that one transaction can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bellcow.store.protocol import Key

OBJECTS = 1_000
BYTES = 1 << 20


def chunks(items: Iterable[tuple[Key, bytes]]) -> Iterator[list[tuple[Key, bytes]]]:
    """The items in order, 1,000 or a little over 1 MiB in a chunk."""
    chunk: list[tuple[Key, bytes]] = []
    size = 0
    for key, value in items:
        chunk.append((key, value))
        size += len(value)
        if len(chunk) == OBJECTS or size >= BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
