"""Bounds of numbers that come from elsewhere: from clients, archives, other servers."""

from __future__ import annotations

from typing import Final

from bellcow.errors import Error, invalid

UINT64_MAX: Final = (1 << 64) - 1

# At 10,000 writes a second an index gets there after 28,000 years. Up to here each whole number is
# one that every JSON reader holds exactly (RFC 8259, section 6).
INDEX_MAX: Final = (1 << 53) - 1
"""The highest index that every client reads exactly."""

ARCHIVE_INDEX_MAX: Final = INDEX_MAX // 2
"""No archive with an index above this one is restored: writes go on from there, up to INDEX_MAX."""


def counts_problem(**counts: int) -> Error | None:
    """Why one of these fields, named as on the wire, is no unsigned number of 64 bits."""
    for name, count in counts.items():
        if not 0 <= count <= UINT64_MAX:
            return invalid(f"{name} must be from 0 to {UINT64_MAX}; got {count}")
    return None
