"""What a forwarded request and its answer say before their bodies: the first frame of each.

The HTTP request of a client is carried as it came, and the answer as it goes back to the client.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

FIRST_HOP = 1  # from another region: may be sent on once more, to the leader
LAST_HOP = 2  # to be served where it arrives, or not at all
INLINE_BYTES = 64 << 10  # a larger body follows in frames

Lines: TypeAlias = tuple[tuple[bytes, bytes], ...]
_Hops = Annotated[int, msgspec.Meta(ge=FIRST_HOP, le=LAST_HOP)]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request. `body` is None when there is none, or when it `streams`."""

    method: str
    target: bytes  # path and query, as they stood on the wire
    headers: Lines
    client: str  # the client's address, as the server that forwards says
    hops: _Hops
    body: bytes | None = None
    streams: bool = False


class Undone(msgspec.Struct, frozen=True):
    """Certainly nothing was done: no leader here any more, or it could not commit."""

    code: Literal["no_leader", "unavailable"]
    message: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `body` is None when it follows in frames."""

    status: int
    headers: Lines
    body: bytes | None
    undone: Undone | None = None
