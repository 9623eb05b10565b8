"""The source of a non-voter's commits: one voter, or the next one when that fails.

A non-voter stays with a voter that serves it, unless the leader has more commits than that voter
sends: the voter may be cut off from the others.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from bellcow.deadline import timeout
from bellcow.errors import Error
from bellcow.model.membership_calls import COMMITS_PATH, STATE_PATH, encode
from bellcow.store.follow import State
from bellcow.store.follow_messages import (
    Behind,
    Commits,
    CommitsRequest,
    StateRequest,
    decode_answer,
    decode_begin,
    decode_chunk,
)
from bellcow.store.protocol import Reload, Unavailable
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from bellcow.cluster.members.schedule import Target
    from bellcow.cluster.transport.forward import Frames, PeerTransport
    from bellcow.model.hello import Cluster
    from bellcow.store.follow_messages import CommitsAnswer
    from bellcow.store.protocol import Change, Head, Key

CALL_S = 4.0  # for an answer; a voter waits up to two seconds for a commit
PIECE_S = 10.0  # for the next piece of a state
LAG_S = 1.0  # by then a voter has the leader's commits
LARGE_BYTES = 64 << 10  # larger answers are decoded in a thread


class Voters:
    """A `store.follow.Source`. `voters` returns the voters, the preferred one first.

    `leader_index` returns the index of the leader's last hello.
    """

    def __init__(
        self,
        transport: PeerTransport,
        voters: Callable[[], Sequence[Target]],
        leader_index: Callable[[], int],
    ) -> None:
        self._transport = transport
        self._voters = voters
        self._leader_index = leader_index
        self._serving = ""  # key of the voter to ask first

    async def commits(self, cluster: Cluster, after: Head) -> Sequence[Change] | Reload | None:
        failure = Unavailable("no voter is known")
        behind = False
        for target in self._serving_first():
            more, began = self._leader_index() > after.index, asyncio.get_running_loop().time()
            try:
                answer = await self._ask(target, cluster, after)
            except Unavailable as error:
                failure = error
                continue
            late = more and asyncio.get_running_loop().time() - began >= LAG_S
            if isinstance(answer, Behind) or (late and _is_nothing(answer)):
                behind = True
                continue
            self._serving = target.key
            return answer.commits if isinstance(answer, Commits) else Reload()
        if behind:
            return None
        raise failure

    def _serving_first(self) -> list[Target]:
        """All voters: the one that serves us, then in order of preference."""
        return sorted(self._voters(), key=lambda target: target.key != self._serving)

    async def _ask(self, target: Target, cluster: Cluster, after: Head) -> CommitsAnswer:
        asked = CommitsRequest(cluster, after.commit, after.index)
        try:
            async with timeout(CALL_S):
                raw = await self._transport.post(target, COMMITS_PATH, encode(asked))
            answer = await _decoded(raw)
        except (Error, TimeoutError) as error:
            raise _unavailable(target, error) from None
        _check_cluster(target, cluster, answer.cluster)
        return answer

    @asynccontextmanager
    async def state(self, cluster: Cluster) -> AsyncIterator[State]:
        targets = self._in_turn()
        if not targets:
            raise Unavailable("no voter is known")
        target = targets[0]
        try:
            async with aclosing(await self._state_of(target, cluster)) as frames:
                yield await _begun(target, cluster, frames)
        except Exception:
            self._serving = targets[min(1, len(targets) - 1)].key
            raise
        self._serving = target.key

    async def _state_of(self, target: Target, cluster: Cluster) -> Frames:
        try:
            async with timeout(CALL_S):
                return await self._transport.stream(
                    target, STATE_PATH, [encode(StateRequest(cluster))]
                )
        except (Error, TimeoutError) as error:
            raise _unavailable(target, error) from None

    def _in_turn(self) -> list[Target]:
        """All voters in their order, starting at the one that serves us."""
        targets = list(self._voters())
        keys = [target.key for target in targets]
        first = keys.index(self._serving) if self._serving in keys else 0
        return targets[first:] + targets[:first]


def _is_nothing(answer: CommitsAnswer) -> bool:
    return isinstance(answer, Commits) and not answer.commits


async def _decoded(raw: bytes) -> CommitsAnswer:
    if len(raw) < LARGE_BYTES:
        return decode_answer(raw)
    return await asyncio.to_thread(decode_answer, raw)


async def _begun(target: Target, cluster: Cluster, frames: Frames) -> State:
    first = await _next(target, frames)
    if first is None:
        raise Unavailable(f"{join_host_port(target.address)}: an empty stream")
    try:
        begin = decode_begin(first)
    except Error as error:
        raise _unavailable(target, error) from None
    _check_cluster(target, cluster, begin.cluster)
    return State(begin.head, _chunks(target, frames))


async def _chunks(target: Target, frames: Frames) -> AsyncGenerator[list[tuple[Key, bytes]], None]:
    while (piece := await _next(target, frames)) is not None:
        try:
            yield await asyncio.to_thread(decode_chunk, piece)
        except Error as error:
            raise _unavailable(target, error) from None


async def _next(target: Target, frames: Frames) -> bytes | None:
    """The next piece; None after the last one.

    Raises:
        Unavailable: the stream is broken.
    """  # noqa: DOC501  made by `_unavailable`
    try:
        async with timeout(PIECE_S):
            return await anext(frames, None)
    except (Error, TimeoutError) as error:
        raise _unavailable(target, error) from None


def _check_cluster(target: Target, ours: Cluster, theirs: Cluster) -> None:
    if theirs != ours:
        raise Unavailable(
            f"{join_host_port(target.address)}: serves cluster {theirs.id}, epoch {theirs.epoch},"
            f" and not {ours.id}, epoch {ours.epoch}"
        )


def _unavailable(target: Target, error: Error | TimeoutError) -> Unavailable:
    what = error.message if isinstance(error, Error) else "no answer in time"
    return Unavailable(f"{join_host_port(target.address)}: {what}")
