"""The store of a cluster: objects and `head` as keys of the etcd beside this server.

A commit is one transaction that compares the revision of `head`, a load reads one revision, and the
watch is one stream over all keys. An `EtcdStore` belongs to one data directory of etcd: revisions
of another history mean nothing to it. The layout of the keys is in `etcd_keys.py`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import aclosing
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.backend import FILE, UnreadableError, read_keys
from bellcow.etcd.client import CallFailed
from bellcow.store import etcd_keys
from bellcow.store.etcd_errors import translated
from bellcow.store.etcd_keys import ALL, HEAD, objects_of, revision_of
from bellcow.store.limits import check_chain, check_limits, check_unseen
from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Confirmation,
    Corrupt,
    Fenced,
    Head,
    Limits,
    Reload,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
    from pathlib import Path

    from bellcow.etcd.client import Client
    from bellcow.store.protocol import Key

DROP_OBJECTS = 1_000  # objects that one call of drop deletes
HEADS_KEPT = 1_024  # heads whose revisions are remembered
PAGE_OBJECTS = 100  # objects of the first page of a load; its size sets that of the others
PAGE_OBJECTS_MAX = 20_000
PAGE_BYTES = 2 << 20  # larger pages block the loop; for each page etcd counts all later keys
RECONNECT_S = 0.1


class _Seen(NamedTuple):
    """A head and the revision of etcd that wrote it."""

    head: Head
    revision: int


class EtcdStore:
    """A `Store` on the member that `client` talks to. It does not close the client."""

    def __init__(self, client: Client) -> None:
        self.limits = Limits()
        self.confirmation = Confirmation.MAJORITY
        self._client = client
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._closed = False

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        self._check_open()
        with translated(write=False):
            found = await self._client.range(pb.RangeRequest(key=HEAD, serializable=True))
            head = self._read_head(found)
            pages = await self._read_pages(head.gen, found.header.revision)
        return head, objects_of(pages)

    async def _read_pages(self, gen: int, revision: int) -> deque[pb.RangeResponse]:
        start, end = etcd_keys.generation(gen)
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
        revision = await self._write(known, etcd_keys.commit(head, changes))
        self._remember(head, revision)
        return head

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        seen = self._find(after)
        if seen is not None:
            async with aclosing(self._revisions(seen.revision)) as revisions:
                async for revision, events in revisions:
                    change = etcd_keys.read_change(events)
                    if change is None:
                        continue
                    self._remember(change.head, revision)
                    if change.head.gen != after.gen or change.head == NO_HEAD:
                        break
                    yield change
        if not self._closed:
            yield Reload()

    async def _revisions(self, after: int) -> AsyncGenerator[tuple[int, list[pb.Event]], None]:
        """The events of each revision after this one; ends where etcd has compacted its history."""
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
                        for revision, events in groupby(answer.events, revision_of):
                            yield revision, list(events)
                            after = revision
            except CallFailed:
                pass  # the member is down or has no leader: resume at the same revision soon
            if not self._closed:
                await asyncio.sleep(RECONNECT_S)

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        check_unseen(known, gen)
        chunk = dict(items)
        check_limits(self.limits, chunk.items())
        await self._write(known, [etcd_keys.write(gen, key, value) for key, value in chunk.items()])

    async def drop(self, known: Head, gen: int) -> bool:
        check_unseen(known, gen)
        self._check_open()
        start, end = etcd_keys.generation(gen)
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
        """End the watchers; the client stays open."""
        self._closed = True
        self._client.end_watches()

    async def _write(self, known: Head, operations: list[pb.RequestOp]) -> int:
        """Run the operations in one transaction if `known` is the head; returns its revision.

        Raises:
            Fenced: `known` is not the head.
            StoreError: Unknown, Unavailable, TooLarge or NoSpace, as `refusal` reads etcd's answer.
        """
        self._check_open()
        seen = self._find(known)
        if seen is None:
            raise Fenced("a head that was never seen here")
        with translated(write=True):
            done = await self._client.txn(pb.TxnRequest(compare=[_is_at(seen)], success=operations))
        if not done.succeeded:
            raise Fenced("the store holds another head")
        return done.header.revision

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    def _read_head(self, found: pb.RangeResponse) -> Head:
        if not found.kvs:
            return self._remember(NO_HEAD, found.header.revision)
        return self._remember(etcd_keys.read_head(found.kvs[0].value), found.kvs[0].mod_revision)

    def _remember(self, head: Head, revision: int) -> Head:
        self._seen[head.commit] = _Seen(head, revision)
        self._seen.move_to_end(head.commit)
        while len(self._seen) > HEADS_KEPT:
            self._seen.popitem(last=False)
        return head

    def _find(self, head: Head) -> _Seen | None:
        seen = self._seen.get(head.commit)
        if seen is None and head == NO_HEAD:
            return _Seen(NO_HEAD, 0)
        return seen if seen is not None and seen.head == head else None


def read_file(directory: Path) -> tuple[Head, list[tuple[Key, bytes]]]:
    """The state in a member's directory, read without its etcd; for a worker thread.

    The last commits may be missing: etcd writes its file a tenth of a second late.

    Raises:
        Corrupt: the file cannot be read, or holds something that is not ours.
    """
    try:
        keys = read_keys(directory / FILE)
    except UnreadableError as error:
        raise Corrupt(str(error)) from error
    if HEAD not in keys:
        return NO_HEAD, []
    head = etcd_keys.read_head(keys[HEAD][0])
    prefix, _ = etcd_keys.generation(head.gen)
    return head, [
        (etcd_keys.read_key(key), value)
        for key, (value, _) in keys.items()
        if key.startswith(prefix)
    ]


def _is_at(seen: _Seen) -> pb.Compare:
    # etcd: a key that does not exist has revision 0.
    revision = 0 if seen.head == NO_HEAD else seen.revision
    return pb.Compare(
        result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=HEAD, mod_revision=revision
    )
