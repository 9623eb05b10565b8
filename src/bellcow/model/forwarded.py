"""The first frame of a forwarded request, and that of its answer.

The client's HTTP request is forwarded unchanged, and the answer returns unchanged to the client.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

FIRST_HOP = 1  # to another region, which may forward it once more, to its leader
LAST_HOP = 2  # to be served or refused by the receiver
INLINE_BYTES = 64 << 10  # a larger body follows in frames

Lines: TypeAlias = tuple[tuple[bytes, bytes], ...]
_Hops = Annotated[int, msgspec.Meta(ge=FIRST_HOP, le=LAST_HOP)]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request. `body` is None if there is none, or if it follows in frames."""

    method: str
    target: bytes  # path and query, undecoded
    headers: Lines
    client: str  # the client's address, according to the forwarding server
    hops: _Hops
    body: bytes | None = None
    streams: bool = False


class Undone(msgspec.Struct, frozen=True):
    """The request was certainly not executed: no leader any more, or it could not commit."""

    code: Literal["no_leader", "unavailable"]
    message: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `body` is None if it follows in frames."""

    status: int
    headers: Lines
    body: bytes | None
    undone: Undone | None = None
