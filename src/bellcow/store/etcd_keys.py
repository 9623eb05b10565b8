"""How a store is laid out in etcd: which keys there are, and what a commit writes and shows.

    head                          the head, MessagePack
    deletes                       what the last commit with deletes deleted: a list of table and id
    g/<generation>/<table>/<id>   one object

Pure: nothing here calls etcd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from bellcow.etcd import etcd_pb2 as pb
from bellcow.store.protocol import NO_HEAD, Change, Corrupt, Head, Key
from bellcow.wire import UNDECODABLE, undecodable

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Iterator, Mapping

T = TypeVar("T")

HEAD = b"head"
DELETES = b"deletes"
ALL = (b"\0", b"\0")  # how etcd spells the range of every key


class _FormerHead(msgspec.Struct, frozen=True):
    """Releases before `deletes` stored the list beside the fields of `head`.

    Remove this one release later, when no server of a cluster writes it any more.
    """

    gone: tuple[Key, ...] = ()


def generation(gen: int) -> tuple[bytes, bytes]:
    """First key of a generation, and the first key after it: "0" follows "/"."""
    return b"g/%d/" % gen, b"g/%d0" % gen


def write(gen: int, key: Key, value: bytes | None) -> pb.RequestOp:
    """The operation that writes one object; None deletes it."""
    prefix, _ = generation(gen)
    raw = prefix + "/".join(key).encode()
    if value is not None:
        return _put(raw, value)
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=raw))


def commit(head: Head, changes: Mapping[Key, bytes | None]) -> list[pb.RequestOp]:
    """The operations of a commit.

    The deleted objects are also listed under `deletes`: deleting an object that does not exist
    makes no event, and a compaction drops the delete events of the revision it ends at. The list
    has a key of its own because every read of the head would return it.
    """
    operations = [write(head.gen, key, value) for key, value in changes.items()]
    if deletes := [key for key, value in changes.items() if value is None]:
        operations.append(_put(DELETES, msgspec.msgpack.encode(deletes)))
    operations.append(_put(HEAD, msgspec.msgpack.encode(head)))
    return operations


def read_head(raw: bytes) -> Head:
    """The head of a stored value.

    Raises:
        Corrupt: the value is no head.
    """
    return _decoded(raw, Head, "head")


def read_change(events: Iterable[pb.Event]) -> Change | None:
    """The commit of one revision; None when `head` was not written, as by stage and drop.

    A deleted head is NO_HEAD.

    Raises:
        Corrupt: the head, a key or the list of deletes is not one of ours.
    """
    written = {event.kv.key: event for event in events}
    if HEAD not in written:
        return None
    raw = written[HEAD].kv.value
    if not raw:
        return Change(NO_HEAD, {})
    head = read_head(raw)
    prefix, _ = generation(head.gen)
    changes: dict[Key, bytes | None] = {
        read_key(key): None if event.type == pb.Event.DELETE else event.kv.value
        for key, event in written.items()
        if key.startswith(prefix)
    }
    deletes = _decoded(raw, _FormerHead, "head").gone
    if DELETES in written:
        deletes = _decoded(written[DELETES].kv.value, tuple[Key, ...], "list of deletes")
    for key in deletes:
        changes.setdefault(key, None)
    return Change(head, changes)


def read_key(raw: bytes) -> Key:
    """Table and id of an object's key.

    Raises:
        Corrupt: the key is not one of ours.
    """
    try:
        _, _, table, name = raw.decode().split("/", 3)
    except ValueError as error:
        raise Corrupt(f"a key in etcd is not one of ours: {raw[:100]!r}") from error
    return table, name


def _put(key: bytes, value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def _decoded(raw: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except UNDECODABLE as error:
        raise Corrupt(f"the {name} in etcd cannot be read ({undecodable(error)})") from error


def revision_of(event: pb.Event) -> int:
    return event.kv.mod_revision


def objects_of(pages: deque[pb.RangeResponse]) -> Iterator[tuple[Key, bytes]]:
    """The objects of all pages. Each page is freed once it is read.

    Raises:
        Corrupt: a key is not one of ours.
    """
    while pages:
        for pair in pages.popleft().kvs:
            yield read_key(pair.key), pair.value
