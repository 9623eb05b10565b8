"""What a non-voter requests from a voter, and the answers: commits, or a whole state.

All are MessagePack; unknown fields are ignored. Each message names its cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import msgspec

from bellcow.errors import invalid
from bellcow.model.hello import Cluster
from bellcow.store.protocol import Change, Head
from bellcow.wire import UNDECODABLE, to_msgpack, undecodable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.store.protocol import Key

ASKED_BYTES = 4 << 10  # the largest request

_Item: TypeAlias = tuple[str, str, bytes]
_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=255)]


class CommitsRequest(msgspec.Struct, frozen=True):
    """Which commits follow this one, at this index?"""

    cluster: Cluster
    commit: _Text
    index: Annotated[int, msgspec.Meta(ge=0)]


class Commits(msgspec.Struct, frozen=True, tag="commits"):
    """The commits in order; empty when there are none yet."""

    cluster: Cluster
    commits: tuple[Change, ...]


class Behind(msgspec.Struct, frozen=True, tag="behind"):
    """The voter has neither that commit nor a later one."""

    cluster: Cluster


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """The voter no longer has the commits that follow: request the whole state."""

    cluster: Cluster


CommitsAnswer: TypeAlias = Commits | Behind | Gone


class StateRequest(msgspec.Struct, frozen=True):
    """Request the whole state. The answer is a stream: `StateBegin`, then chunks of objects."""

    cluster: Cluster


class StateBegin(msgspec.Struct, frozen=True):
    """The head that the objects belong to."""

    cluster: Cluster
    head: Head


_answer: msgspec.msgpack.Decoder[CommitsAnswer] = msgspec.msgpack.Decoder(CommitsAnswer)
_chunk = msgspec.msgpack.Decoder(list[_Item])
_begin = msgspec.msgpack.Decoder(StateBegin)

T = TypeVar("T")


def decode_answer(data: bytes) -> CommitsAnswer:
    """Decode a voter's answer to a `CommitsRequest`.

    Raises:
        invalid: the message is malformed; the text says where.
    """
    return _decoded(_answer, data)


def decode_begin(data: bytes) -> StateBegin:
    """Decode the beginning of a state.

    Raises:
        invalid: the message is malformed; the text says where.
    """
    return _decoded(_begin, data)


def encode_chunk(items: Iterable[tuple[Key, bytes]]) -> bytes:
    """Some objects of a state. For a worker thread."""
    return to_msgpack([(table, row_id, value) for (table, row_id), value in items])


def decode_chunk(data: bytes) -> list[tuple[Key, bytes]]:
    """Decode objects of a state. For a worker thread.

    Raises:
        invalid: the message is malformed; the text says where.
    """
    return [((table, row_id), value) for table, row_id, value in _decoded(_chunk, data)]


def _decoded(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        raise invalid(f"this is no answer of a voter: {undecodable(error)}") from None
