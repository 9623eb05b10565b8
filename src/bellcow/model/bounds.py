"""Bounds of numbers received from clients, archives and other servers."""

from __future__ import annotations

from typing import Final

from bellcow.errors import Error, invalid

UINT64_MAX: Final = (1 << 64) - 1

# At 10,000 writes a second an index reaches it after 28,000 years. Every JSON reader holds integers
# up to here exactly (RFC 8259, section 6).
INDEX_MAX: Final = (1 << 53) - 1
"""The highest index that every client reads exactly."""

ARCHIVE_INDEX_MAX: Final = INDEX_MAX // 2
"""The highest index of an archive that is restored; later writes count on from it."""


def counts_problem(**counts: int) -> Error | None:
    """The error for the first of these fields that is not an unsigned 64-bit number, or None.

    Keywords are the fields' names on the wire.
    """
    for name, count in counts.items():
        if not 0 <= count <= UINT64_MAX:
            return invalid(f"{name} must be from 0 to {UINT64_MAX}; got {count}")
    return None
