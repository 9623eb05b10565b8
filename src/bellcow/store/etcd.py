"""The store of a cluster: objects and `head` as keys of the etcd beside us.

A commit is one transaction that compares the revision of `head`, a load is one revision, and the
watch is one stream over all keys. One object of this class belongs to one data directory of etcd:
revisions of another history mean nothing here. Who leads and when to write is not known here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import aclosing, contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.backend import FILE, UnreadableError, read_keys
from bellcow.etcd.client import CallFailed
from bellcow.store.etcd_errors import refusal
from bellcow.store.limits import check_chain, check_limits, check_unseen
from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Corrupt,
    Fenced,
    Head,
    Limits,
    Reload,
    Unavailable,
)
from bellcow.wire import UNDECODABLE, undecodable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
    from pathlib import Path

    from bellcow.etcd.client import Client
    from bellcow.store.protocol import Key

HEAD = b"head"
ALL = (b"\0", b"\0")  # how etcd spells the range of every key
DROP_OBJECTS = 1_000  # one slice of drop
HEADS_KEPT = 1_024  # whose revisions are remembered
PAGE_OBJECTS = 100  # of the first page of a load; the others follow from its size
PAGE_OBJECTS_MAX = 20_000
PAGE_BYTES = 2 << 20  # larger ones hold up the loop; for each, etcd counts all keys that follow
RECONNECT_S = 0.1


class _Place(NamedTuple):
    """Where in etcd's history a head stands."""

    head: Head
    revision: int


class _Gone(msgspec.Struct, frozen=True):
    """What is stored beside the fields of a head: the objects that its commit deletes.

    A delete of an object that is not there makes no event, and a watcher would miss it.
    """

    gone: tuple[tuple[str, str], ...] = ()


class EtcdStore:
    """A `Store` on the member that `client` talks to; the client stays its opener's."""

    def __init__(self, client: Client) -> None:
        self.limits = Limits()
        self.confirms_locally = False
        self._client = client
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._closed = False

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        self._check_open()
        with translated(write=False):
            found = await self._client.range(pb.RangeRequest(key=HEAD, serializable=True))
            head = self._read_head(found)
            pages = await self._read_pages(head.gen, found.header.revision)
        return head, _objects(pages)

    async def _read_pages(self, gen: int, revision: int) -> deque[pb.RangeResponse]:
        start, end = _generation(gen)
        pages: deque[pb.RangeResponse] = deque()
        limit = PAGE_OBJECTS
        while True:
            page = await self._client.range(
                pb.RangeRequest(
                    key=start, range_end=end, limit=limit, revision=revision, serializable=True
                )
            )
            pages.append(page)
            if not page.more:
                return pages
            start = page.kvs[-1].key + b"\0"
            limit = max(1, min(PAGE_OBJECTS_MAX, PAGE_BYTES * len(page.kvs) // page.ByteSize()))

    async def confirm(self) -> Head:
        head, _ = await self.confirm_in_term()
        return head

    async def confirm_in_term(self) -> tuple[Head, int]:
        self._check_open()
        with translated(write=False):
            found = await self._client.range(pb.RangeRequest(key=HEAD))
        return self._read_head(found), found.header.raft_term

    async def commit(self, known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> Head:
        check_chain(known, head, changes)
        check_limits(self.limits, changes.items())
        operations = [_operation(head.gen, key, value) for key, value in changes.items()]
        operations.append(_put(HEAD, _encoded(head, changes)))
        revision = await self._write(known, operations)
        self._remember(head, revision)
        return head

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        place = self._place(after)
        if place is not None:
            async with aclosing(self._revisions(place.revision)) as revisions:
                async for revision, events in revisions:
                    change = self._change(revision, events)
                    if change is None:
                        continue
                    if change.head.gen != after.gen or change.head == NO_HEAD:
                        break
                    yield change
        if not self._closed:
            yield Reload()

    async def _revisions(self, after: int) -> AsyncGenerator[tuple[int, list[pb.Event]], None]:
        """What happened in each revision after this one; ends where history is gone."""
        start, end = ALL
        while not self._closed:
            create = pb.WatchCreateRequest(key=start, range_end=end, start_revision=after + 1)
            try:
                async with aclosing(self._client.watch(create)) as answers:
                    async for answer in answers:
                        if answer.compact_revision:
                            return
                        if answer.canceled:
                            break
                        for revision, events in groupby(answer.events, _revision):
                            yield revision, list(events)
                            after = revision
            except CallFailed:
                pass  # the member is gone or has no leader: from where we were, in a moment
            if not self._closed:
                await asyncio.sleep(RECONNECT_S)

    def _change(self, revision: int, events: list[pb.Event]) -> Change | None:
        """The commit of one revision; None when it left `head` alone, as stage and drop do."""
        raw = next((event.kv.value for event in events if event.kv.key == HEAD), None)
        if raw is None:
            return None
        head = _decoded(raw) if raw else NO_HEAD
        self._remember(head, revision)
        changes: dict[Key, bytes | None] = {}
        prefix, _ = _generation(head.gen)
        for event in events:
            if event.kv.key.startswith(prefix):
                deleted = event.type == pb.Event.DELETE
                changes[_key(event.kv.key)] = None if deleted else event.kv.value
        for key in msgspec.msgpack.decode(raw, type=_Gone).gone if raw else ():
            changes.setdefault(key, None)
        return Change(head, changes)

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        check_unseen(known, gen)
        chunk = dict(items)
        check_limits(self.limits, chunk.items())
        await self._write(known, [_operation(gen, key, value) for key, value in chunk.items()])

    async def drop(self, known: Head, gen: int) -> bool:
        check_unseen(known, gen)
        self._check_open()
        start, end = _generation(gen)
        with translated(write=False):
            found = await self._client.range(
                pb.RangeRequest(key=start, range_end=end, limit=DROP_OBJECTS, keys_only=True)
            )
        if found.more:
            end = found.kvs[-1].key + b"\0"
        slice_ = pb.DeleteRangeRequest(key=start, range_end=end)
        await self._write(known, [pb.RequestOp(request_delete_range=slice_)])
        return not found.more

    async def close(self) -> None:
        """End the watchers. The client is closed by who opened it."""
        self._closed = True
        self._client.end_watches()

    async def _write(self, known: Head, operations: list[pb.RequestOp]) -> int:
        """One transaction in which `known` is the head; returns its revision."""
        self._check_open()
        place = self._place(known)
        if place is None:
            raise Fenced("a head that was never seen here")
        with translated(write=True):
            done = await self._client.txn(
                pb.TxnRequest(compare=[_is_at(place)], success=operations)
            )
        if not done.succeeded:
            raise Fenced("another head is the truth")
        return done.header.revision

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    def _read_head(self, found: pb.RangeResponse) -> Head:
        if not found.kvs:
            return self._remember(NO_HEAD, found.header.revision)
        return self._remember(_decoded(found.kvs[0].value), found.kvs[0].mod_revision)

    def _remember(self, head: Head, revision: int) -> Head:
        self._places[head.commit] = _Place(head, revision)
        self._places.move_to_end(head.commit)
        while len(self._places) > HEADS_KEPT:
            self._places.popitem(last=False)
        return head

    def _place(self, head: Head) -> _Place | None:
        place = self._places.get(head.commit)
        if place is None and head == NO_HEAD:
            return _Place(NO_HEAD, 0)
        return place if place is not None and place.head == head else None


def read_file(directory: Path) -> tuple[Head, list[tuple[Key, bytes]]]:
    """The state that a member's directory holds, read without its member; for a worker thread.

    It may be old by what was committed in the member's last moment. Raises Corrupt.
    """
    try:
        keys = read_keys(directory / FILE)
    except UnreadableError as error:
        raise Corrupt(str(error)) from error
    if HEAD not in keys:
        return NO_HEAD, []
    head = _decoded(keys[HEAD][0])
    prefix, _ = _generation(head.gen)
    return head, [(_key(key), value) for key, (value, _) in keys.items() if key.startswith(prefix)]


@contextmanager
def translated(*, write: bool) -> Iterator[None]:
    """Raise what a failed call means to who made it."""
    try:
        yield
    except CallFailed as error:
        raise refusal(error.code, error.details, write=write) from error


def _is_at(place: _Place) -> pb.Compare:
    # A key that is not there has revision 0.
    revision = 0 if place.head == NO_HEAD else place.revision
    return pb.Compare(
        result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=HEAD, mod_revision=revision
    )


def _generation(gen: int) -> tuple[bytes, bytes]:
    """First key and end of a generation; "0" follows "/"."""
    return b"g/%d/" % gen, b"g/%d0" % gen


def _operation(gen: int, key: Key, value: bytes | None) -> pb.RequestOp:
    prefix, _ = _generation(gen)
    raw = prefix + "/".join(key).encode()
    if value is not None:
        return _put(raw, value)
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=raw))


def _put(key: bytes, value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def _encoded(head: Head, changes: Mapping[Key, bytes | None]) -> bytes:
    fields = msgspec.structs.asdict(head)
    if gone := [key for key, value in changes.items() if value is None]:
        fields["gone"] = gone
    return msgspec.msgpack.encode(fields)


def _decoded(raw: bytes) -> Head:
    try:
        return msgspec.msgpack.decode(raw, type=Head)
    except UNDECODABLE as error:
        raise Corrupt(f"the head in etcd cannot be read ({undecodable(error)})") from error


def _revision(event: pb.Event) -> int:
    return event.kv.mod_revision


def _key(raw: bytes) -> Key:
    try:
        _, _, table, name = raw.decode().split("/", 3)
    except ValueError as error:
        raise Corrupt(f"a key in etcd is not one of ours: {raw[:100]!r}") from error
    return table, name


def _objects(pages: deque[pb.RangeResponse]) -> Iterator[tuple[Key, bytes]]:
    """The objects of all pages, each page let go once it is read."""
    while pages:
        for pair in pages.popleft().kvs:
            yield _key(pair.key), pair.value
