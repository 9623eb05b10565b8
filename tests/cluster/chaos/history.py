"""What clients did and saw, one record an operation, kept as lines of JSON.

A record tells when an operation was called and when its answer came. Nothing here judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCHEDULER = "scheduler"
AUTOPILOT = "autopilot"
NAMESPACES = "namespaces"  # the table as a whole, as a list shows it
EVERYTHING = "*"  # what a snapshot holds
NEVER = float("inf")

Kind: TypeAlias = Literal["read", "write", "compare", "delete", "save", "restore"]
Outcome: TypeAlias = Literal["ok", "refused", "not done", "unknown"]


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value and its ModifyIndex. Every write has a value of its own."""

    value: str
    modified: int


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation of one client.

    `index` is what the answer named: the index a write took, the index at which what was read
    became the truth. `row` is what was written, or what was read (None: nothing there); a written
    row has no ModifyIndex before somebody sees it. `rows` is what a list, an archive or a restore
    holds, by key. `life` counts the starts of the server, so that memory may be told apart.
    """

    client: str
    server: str
    life: int = 0
    kind: Kind
    key: str
    stale: bool = False
    expected: int | None = None  # the ModifyIndex that a compare-and-set names
    row: Row | None = None
    rows: dict[str, Row] | None = None
    index: int | None = None
    contact_ms: int | None = None  # how old a stale answer says that it may be
    call: float
    back: float
    outcome: Outcome = "ok"
    status: int = 0
    reason: str = ""

    @property
    def latest(self) -> float:
        """When it has taken effect at the latest; never, as long as no answer says so."""
        return NEVER if self.outcome == "unknown" else self.back

    @property
    def writes(self) -> bool:
        return self.kind in {"write", "compare", "delete", "restore"}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A server says that it leads: the term, and the index its leadership began with."""

    server: str
    term: int
    index: int


def namespace(name: str) -> str:
    """The key of one namespace."""
    return f"{NAMESPACES}/{name}"


def is_namespace(key: str) -> bool:
    return key.startswith(f"{NAMESPACES}/")


def write_history(path: Path, operations: Iterable[Operation]) -> None:
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for operation in operations:
            file.write(encoder.encode(operation) + b"\n")


def read_history(path: Path) -> Iterator[Operation]:
    decoder = msgspec.json.Decoder(Operation)
    with path.open("rb") as file:
        yield from map(decoder.decode, file)
