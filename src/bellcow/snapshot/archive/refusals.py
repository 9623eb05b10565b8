"""The words and codes of refusals.

REFUSED: the envelope is bad, in the words of Nomad and of Go's packages, which clients show and
match. INVALID: the state in a sound envelope is bad.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import Collection

PREFIX: Final = "failed to restore from snapshot: "
"""Begins every refusal of `read` and of the records that it returns. `inspect` leaves it out."""
RAFT: Final = "Raft error when restoring snapshot: "
"""Begins every refusal of a state in a sound envelope."""


def refuse(text: str) -> NoReturn:
    """Refuse an archive with this text.

    Raises:
        Error: REFUSED, always.
    """
    raise Error(Code.REFUSED, text)


def broken(reason: str) -> NoReturn:
    """Refuse an archive for a fault of its state.

    Raises:
        Error: INVALID, always.
    """
    raise Error(Code.INVALID, RAFT + reason)


def listed(names: Collection[str]) -> str:
    """Up to 20 names, each cut to 64 characters, and the number of the others."""
    shown = [cut(name) for name in sorted(names)[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def cut(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "..."
