"""Replication to non-voters: the commits after one that they hold, or the whole state.

Both come from memory and the mirror's recent commits. Only a voter answers: copies of copies could
follow each other in a circle.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.api.internal.gate import Route, StreamRoute
from bellcow.errors import Code, Error, invalid, refused
from bellcow.model.membership_calls import COMMITS_PATH, STATE_PATH, decode, encode
from bellcow.state.tables import REGISTRY
from bellcow.store.follow_messages import (
    ASKED_BYTES,
    Behind,
    Commits,
    CommitsRequest,
    Gone,
    StateBegin,
    StateRequest,
    encode_chunk,
)
from bellcow.store.protocol import NO_HEAD, Head
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from bellcow.api.internal.gate import AnyRoute
    from bellcow.api.message import Request
    from bellcow.model.hello import Cluster
    from bellcow.state.recent_commits import RecentCommits
    from bellcow.state.tables import Tables
    from bellcow.store.follow_messages import CommitsAnswer
    from bellcow.store.protocol import Key

POLL_S = 2.0  # how long a question waits for a new commit
ANSWER_BYTES = 4 << 20
LARGE_BYTES = 64 << 10  # a larger answer is encoded in a thread, so that the loop goes on
CHUNK_BYTES = 512 << 10
CHUNK_OBJECTS = 1_000


class Moment(msgspec.Struct, frozen=True):
    """The state at one moment: of each table the ids and the rows."""

    head: Head
    tables: tuple[tuple[str, list[str], list[Any]], ...]

    def objects(self) -> Iterator[tuple[Key, Any]]:
        for table, ids, rows in self.tables:
            for row_id, row in zip(ids, rows, strict=True):
                yield (table, row_id), row


def routes(
    tables: Tables, ring: RecentCommits, serves: Callable[[], Cluster | None]
) -> dict[tuple[str, str], AnyRoute]:
    """`serves` names the cluster that this server's own store belongs to; None for a copy."""

    async def commits(request: Request, body: bytes) -> bytes:
        del request
        asked = decode(body, CommitsRequest)
        _check(asked.cluster, serves(), tables)
        if ring.after(asked.commit, max_bytes=1) == []:
            await ring.more(POLL_S)
            _check(asked.cluster, serves(), tables)
        answer = _answer_to(asked, tables, ring)
        if _size(answer) < LARGE_BYTES:
            return encode(answer)
        return await asyncio.to_thread(encode, answer)

    async def state(request: Request, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        del request
        asked = decode(await _first(frames), StateRequest)
        _check(asked.cluster, serves(), tables)
        return _state(asked.cluster, _take(tables))

    return {
        ("POST", COMMITS_PATH): Route(commits, ASKED_BYTES),
        ("POST", STATE_PATH): StreamRoute(state, ASKED_BYTES),
    }


def _check(asked: Cluster, serves: Cluster | None, tables: Tables) -> None:
    if serves is None:
        raise refused("this server has no vote: ask a voter")
    if serves != asked:
        raise refused(f"this is cluster {serves.id}, epoch {serves.epoch}")
    if tables.head == NO_HEAD:
        raise Error(Code.UNAVAILABLE, "this server has not loaded its state yet")


def _answer_to(asked: CommitsRequest, tables: Tables, ring: RecentCommits) -> CommitsAnswer:
    found = ring.after(asked.commit, ANSWER_BYTES)
    if found is not None:
        return Commits(asked.cluster, tuple(found))
    return Behind(asked.cluster) if tables.index <= asked.index else Gone(asked.cluster)


def _size(answer: CommitsAnswer) -> int:
    """Bytes of the values: a measure of how long encoding takes."""
    commits = answer.commits if isinstance(answer, Commits) else ()
    return sum(len(value or b"") for commit in commits for value in commit.changes.values())


async def _first(frames: AsyncIterator[bytes]) -> bytes:
    async for frame in frames:
        return frame
    raise invalid("an empty stream")


def _take(tables: Tables) -> Moment:
    """The state in memory now. Rows are frozen, so a copy of each list is enough."""
    everything = ((name, tables.all(table)) for name, table in REGISTRY.items())
    return Moment(
        tables.head, tuple((name, list(rows), list(rows.values())) for name, rows in everything)
    )


async def _state(cluster: Cluster, moment: Moment) -> AsyncIterator[bytes]:
    """The chunks, encoded in a thread one after the other, as fast as the caller reads."""
    yield encode(StateBegin(cluster, moment.head))
    objects = moment.objects()
    while chunk := await asyncio.to_thread(_chunk, objects):
        yield chunk


def _chunk(objects: Iterator[tuple[Key, Any]]) -> bytes:
    """The next objects, encoded; empty after the last one."""
    items: list[tuple[Key, bytes]] = []
    size = 0
    for key, row in objects:
        value = to_msgpack(row)
        items.append((key, value))
        size += len(value)
        if size >= CHUNK_BYTES or len(items) >= CHUNK_OBJECTS:
            break
    return encode_chunk(items) if items else b""
