"""The store of a non-voter: a copy of its own that follows the commits of a voter.

Within a cluster and epoch it never loads a state of a lower index. It writes only what a voter
has sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from bellcow.shutdown import Waits
from bellcow.store.follow_copy import open_copy
from bellcow.store.protocol import (
    NO_HEAD,
    Change,
    Confirmation,
    Corrupt,
    Head,
    Key,
    Limits,
    Reload,
    StoreError,
    Unavailable,
)
from bellcow.store.settling import Settling
from bellcow.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.model.hello import Cluster
    from bellcow.store.follow_copy import Aside, Copy

PAUSE_S = 0.2  # before the next request, after one that failed or a voter that is behind

T = TypeVar("T")


class State(msgspec.Struct, frozen=True):
    """A voter's whole state; each chunk is received when it is requested."""

    head: Head
    chunks: AsyncIterator[list[tuple[Key, bytes]]]


class Source(Protocol):
    """The voters. Both calls raise Unavailable, and try another voter next time."""

    async def commits(self, cluster: Cluster, after: Head) -> Sequence[Change] | Reload | None:
        """The commits that follow `after`, maybe none yet. `Reload` if the voter lacks them.

        None when every voter that answers is behind this copy, or behind the leader.
        """

    def state(self, cluster: Cluster) -> AbstractAsyncContextManager[State]:
        """One consistent state, which is complete when its chunks end without an error."""


class FollowStore:
    """A `Store` that refuses writes. It belongs to one cluster and epoch."""

    def __init__(
        self, path: Path | None, cluster: Cluster, source: Source, clock: Clock, report: Report
    ) -> None:
        """`path` is the file that keeps the copy; None keeps it in memory."""
        self.limits = Limits()
        self._path = path
        self._cluster = cluster
        self._source = source
        self._clock = clock
        self._report = report
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="follow")
        self.confirmation = Confirmation.NONE
        self._settling = Settling(self._worker, self._settle)
        self._copy: Copy | None = None
        self._damage = ""  # why the copy can no longer be used
        self._stalled = False  # no voter has answered since `copy_stalled` was reported
        self._reasons = Throttle()  # of a stall, each reported once until commits arrive again
        self._waits = Waits(_is_closed)  # they end when the store is closed

    async def load(self) -> tuple[Head, Iterator[tuple[Key, bytes]]]:
        async with self._waits.until_ended():
            try:
                copy = await self._opened()
                if copy.head == NO_HEAD:
                    await self._take(copy)
                else:
                    await self._sweep(copy)  # of a fetch that an earlier process did not finish
                head, items = await self._work(lambda: (copy.head, copy.load()))
            except Unavailable as error:
                self._report_stall(error)
                raise
        return head, self._watched(items)

    def _watched(self, items: Iterator[tuple[Key, bytes]]) -> Iterator[tuple[Key, bytes]]:
        """The objects; one that is damaged makes the next load fetch the state again.

        Raises:
            Unavailable: an object is damaged.
        """
        try:
            yield from items
        except Corrupt as error:
            self._damage = str(error)
            raise Unavailable(str(error), error.for_clients) from error

    async def changes(self, after: Head) -> AsyncIterator[Change | Reload]:
        while not self._waits.ended:
            try:
                async with self._waits.until_ended():
                    step = await self._advance(after)
            except Unavailable:
                return  # the store is closed; `_advance` waits in all other cases
            if isinstance(step, Reload):
                yield step
                return
            for change in step:
                yield change
                after = change.head

    async def _advance(self, after: Head) -> Sequence[Change] | Reload:
        """The commits that follow `after`, stored in the copy by now.

        Memory may be ahead of an old or a new copy; then the copy catches up first.

        Raises:
            Unavailable: the store is closed.
        """
        while True:
            copy = self._copy
            if copy is None or self._damage:
                return Reload()
            if copy.head != after and copy.head.index >= after.index:
                return Reload()
            try:
                changes = await self._next(copy)
            except Unavailable as error:
                if self._waits.ended:
                    raise
                self._report_stall(error)
                await asyncio.sleep(PAUSE_S)
                continue
            if changes is None:
                await asyncio.sleep(PAUSE_S)
                continue
            self._report_resumed(copy.head)
            if isinstance(changes, Reload) or (changes and changes[0].head.prev == after.commit):
                return changes

    async def _next(self, copy: Copy) -> Sequence[Change] | Reload | None:
        """Request once and store the answer. None when no voter is ahead of the copy."""
        answer = await self._source.commits(self._cluster, copy.head)
        if answer is None or (not isinstance(answer, Reload) and not answer):
            return answer
        changes = [] if isinstance(answer, Reload) else _chained(copy.head, answer)
        if changes:
            await self._work(partial(copy.keep, changes))
            return changes
        await self._take(copy)
        return Reload()

    async def _take(self, copy: Copy) -> None:
        """Replace the copy by a voter's whole state, once that is complete."""
        await self._sweep(copy)
        count = 0
        async with self._source.state(self._cluster) as state:
            _check_newer(state.head, copy.head)
            gen = await self._work(copy.begin)
            async for chunk in state.chunks:
                await self._work(partial(copy.stage, gen, chunk))
                count += len(chunk)
        await self._work(partial(copy.switch, gen, state.head))
        self._report("copy_loaded", index=state.head.index, objects=count)
        await self._sweep(copy)

    async def _sweep(self, copy: Copy) -> None:
        while not await self._work(copy.sweep):
            pass

    async def _opened(self) -> Copy:
        before = self._copy
        copy, aside = await self._work(self._open)
        for path in copy.tightened if copy is not before else ():
            self._report("permissions_tightened", path=path)
        if aside is not None:
            self._report("copy_restarted", reason=aside.reason, kept=aside.path)
        return copy

    def _open(self) -> tuple[Copy, Aside | None]:
        """The copy: open, reopened or new. Runs in the worker, so never twice at a time."""
        if self._copy is not None and not self._damage:
            return self._copy, None
        damage, self._damage = self._damage, ""
        self._shut()
        self._copy, aside = open_copy(self._path, self._cluster, self._clock, damage)
        return self._copy, aside

    def _shut(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    async def _work(self, work: Callable[[], T]) -> T:
        """Work on the file. After a failure the copy is unchanged, or marked as damaged.

        Raises:
            Unavailable: the store is closed, or the work raised a StoreError.
        """  # noqa: DOC501  made by `_is_closed` too
        if self._waits.ended:
            raise _is_closed()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except Corrupt as error:
            self._damage = str(error)
            raise Unavailable(str(error), error.for_clients) from error
        except StoreError as error:
            raise Unavailable(str(error), error.for_clients) from error
        finally:
            self._settling.wrote()

    def _settle(self) -> bool:
        return self._copy is None or self._copy.settle()

    def _report_stall(self, error: Unavailable) -> None:
        """Report that no commits arrive and why, once for each reason."""
        reason = str(error)
        if not self._waits.ended and self._reasons.passes(reason):
            self._stalled = True
            self._report("copy_stalled", reason=reason)

    def _report_resumed(self, head: Head) -> None:
        if self._stalled:
            self._stalled = False
            self._reasons.forget()
            self._report("copy_resumed", index=head.index)

    # Only a voter can do these.

    async def confirm(self) -> Head:
        raise _no_vote()

    async def confirm_in_term(self) -> tuple[Head, int]:
        raise _no_vote()

    async def commit(self, known: Head, head: Head, changes: Mapping[Key, bytes | None]) -> Head:
        del known, head, changes
        raise _no_vote()

    async def stage(self, known: Head, gen: int, items: Iterable[tuple[Key, bytes]]) -> None:
        del known, gen, items
        raise _no_vote()

    async def drop(self, known: Head, gen: int) -> bool:
        del known, gen
        raise _no_vote()

    async def close(self) -> None:
        if self._waits.ended:
            return
        self._waits.end()
        self._settling.end()
        await asyncio.get_running_loop().run_in_executor(self._worker, self._shut)
        self._worker.shutdown(wait=False)


def _is_closed() -> Unavailable:
    return Unavailable("the store is closed")


def _chained(head: Head, changes: Sequence[Change]) -> list[Change]:
    """The leading changes that follow `head` without a gap."""
    whole: list[Change] = []
    for change in changes:
        after = change.head
        if after.prev != head.commit or after.gen != head.gen or after.index < head.index:
            break
        if after.ops != len(change.changes):
            break
        whole.append(change)
        head = after
    return whole


def _check_newer(head: Head, own: Head) -> None:
    if head == NO_HEAD:
        raise Unavailable("the voter has no state yet")
    if head.index < own.index:
        raise Unavailable(f"the voter's index {head.index} is lower than ours, {own.index}")


def _no_vote() -> Unavailable:
    return Unavailable("a non-voter neither writes nor confirms; the leader does")
