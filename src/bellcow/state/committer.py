"""The committer: makes one commit of all queued commands, then answers them.

Only the leader runs it. No answer is sent before the commit, refusals included, since they may
depend on an earlier command of the batch. At most one transaction is in flight; commands that
arrive meanwhile are the next batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bellcow.deadline import timeout
from bellcow.errors import Code, Error, no_leader
from bellcow.state.draft import Draft
from bellcow.store.protocol import (
    Change,
    Fenced,
    NoSpace,
    StoreError,
    TooLarge,
    Unavailable,
    Unknown,
)
from bellcow.throttle import Throttle
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.state.mirror import Mirror
    from bellcow.state.tables import RowKey, Tables
    from bellcow.store.protocol import Head, Key, Limits, Store

T = TypeVar("T")

COMMANDS_A_BATCH = 512
BATCH_BYTES = 1 << 20
QUEUE_LIMIT = 10_000
OUTCOME_WAIT_S = 5.0  # for the head that shows whether a lost commit was done
HELD_WAIT_S = 5.0  # for the end of a restore
SLOW_S = 0.5  # a commit that takes longer is reported
SLOW_AGAIN_S = 60.0  # between two reports: on a slow disk every commit is slow


class _Job:
    __slots__ = ("command", "future", "outcome", "refusal")

    def __init__(self, command: Callable[[Draft], Any], future: asyncio.Future[Any]) -> None:
        self.command = command
        self.future = future
        self.outcome: Any = None
        self.refusal: Exception | None = None

    def answer(self) -> None:
        if self.future.done():
            return
        if self.refusal is not None:
            self.future.set_exception(self.refusal)
        else:
            self.future.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Committer:
    """`commit` queues a command and returns its answer.

    `run` commits what is queued while this server leads.
    """

    def __init__(
        self, store: Store, tables: Tables, mirror: Mirror, clock: Clock, report: Report
    ) -> None:
        self._store = store
        self._tables = tables
        self._mirror = mirror
        self._clock = clock
        self._report = report
        self._queue: deque[_Job] = deque()
        self._work = asyncio.Event()
        self._lock = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._leading = False
        self._failure: StoreError | None = None
        self._refused = Throttle()  # by reason, until a write succeeds
        self.known: Head | None = None
        self.full = False  # the store had no space for the last write
        self._slow = Throttle(SLOW_AGAIN_S)
        self.commits = 0
        self.commands = 0
        self.last_batch = 0  # commands in the newest commit
        self.on_commit: Callable[[float], None] = lambda _: None  # called with milliseconds

    async def commit(self, command: Callable[[Draft], T]) -> T:
        """Run `command` in the next batch and return its answer.

        Exceptions of the command pass through.

        Raises:
            no_leader: this server does not lead, or lost the leadership; nothing was done.
            Error: TOO_MANY, TOO_LARGE or UNAVAILABLE, nothing was done; UNKNOWN_OUTCOME, it may
                have been.
        """
        if not self._leading:
            raise no_leader()
        if not self._open.is_set():
            await self._wait_for_restore()
        if len(self._queue) >= QUEUE_LIMIT:
            raise Error(Code.TOO_MANY, "too many writes are waiting; try again in a moment")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Job(command, future))
        self._work.set()
        return await future

    async def _wait_for_restore(self) -> None:
        try:
            async with timeout(HELD_WAIT_S):
                await self._open.wait()
        except TimeoutError:
            raise Error(Code.UNAVAILABLE, "snapshot restore in progress") from None
        if not self._leading:
            raise no_leader()

    async def run(self, claim: Head) -> None:
        """Commit what is queued, from the head `claim` on.

        Raises:
            StoreError: this leadership has ended; Fenced if another server claimed.
        """
        self.known = claim
        self._failure = None
        self._leading = True
        try:
            while True:
                await self._work.wait()
                async with self._lock:
                    if self._failure is not None:
                        raise self._failure
                    await self._batch()
        finally:
            self._leading = False
            self.known = None
            self.full = False  # the next leader finds out by itself
            while self._queue:
                self._queue.popleft().fail(no_leader())

    def depose(self, failure: StoreError) -> None:
        """End this leadership because a write outside the queue has raised `failure`."""
        self._failure = failure
        self._work.set()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Hold all writes, from the archive before a restore to the switch after it.

        Commands already queued are committed first. Later ones wait `HELD_WAIT_S` at most.
        """
        self._open.clear()
        try:
            while self._queue:
                async with self._lock:  # wait for the batch under way
                    pass
                await asyncio.sleep(0)
            async with self._lock:
                yield
        finally:
            self._open.set()

    def turn(self) -> asyncio.Lock:
        """The lock between two batches, for a slice of housekeeping."""
        return self._lock

    async def _batch(self) -> None:
        known = self.known
        assert known is not None  # noqa: S101  run() set it
        draft = Draft(self._tables)
        jobs, changes = self._run_commands(draft)
        if not self._queue:
            self._work.clear()
        head = self.next_head(known, index=draft.last_index, ops=len(changes))
        if head.index == known.index:
            await self._confirm(jobs, known)
        else:
            await self._commit(jobs, known, Change(head, changes), draft.changes)

    async def _confirm(self, jobs: list[_Job], known: Head) -> None:
        """Answer commands that write nothing, once it is certain that they read the current state.

        Raises:
            Fenced: the store holds another head.
        """
        try:
            confirmed = await self._store.confirm()
        except Unavailable as error:
            _fail(jobs, Error(Code.UNAVAILABLE, f"not done: {error.for_clients}"))
        except BaseException:
            _fail(jobs, no_leader())
            raise
        else:
            if confirmed.commit != known.commit:
                _fail(jobs, no_leader())
                raise Fenced("the store holds another head")
            self._answer(jobs)

    async def _commit(
        self, jobs: list[_Job], known: Head, change: Change, rows: dict[RowKey, Any]
    ) -> None:
        try:
            await self.advance(change, rows)
        except (NoSpace, Unavailable) as error:
            self.report_refused(error)
            _fail(jobs, Error(Code.UNAVAILABLE, f"not done: {error.for_clients}"))
        except TooLarge as error:
            _fail(jobs, Error(Code.TOO_LARGE, f"not done: {error.for_clients}"))
        except Fenced:
            _fail(jobs, no_leader())
            raise
        except (Unknown, asyncio.CancelledError):
            self._settle_later(jobs, known, change.head)
            raise
        except StoreError as error:
            _fail(jobs, Error(Code.UNKNOWN_OUTCOME, f"outcome unknown: {error.for_clients}"))
            raise
        except BaseException:
            _fail(jobs, Error(Code.UNKNOWN_OUTCOME, "outcome unknown; the server's log says more"))
            raise
        else:
            self._refused.forget()
            if self.full:
                self.full = False
                self._report("writes_resumed")
            self._answer(jobs)

    def report_refused(self, error: NoSpace | Unavailable) -> None:
        """Report why writes are refused, once for each reason until a commit succeeds.

        The log names files; the answers to clients do not.
        """
        if isinstance(error, NoSpace):
            if not self.full:
                self.full = True
                self._report("no_space", reason=str(error))
        elif self._refused.passes(str(error)):
            self._report("write_refused", reason=str(error))

    def _report_slow(self, took_s: float) -> None:
        if self._slow.passes("commit_slow", self._clock.monotonic()):
            self._report("commit_slow", milliseconds=round(took_s * 1_000))

    def _answer(self, jobs: list[_Job]) -> None:
        self.commands += len(jobs)
        self.last_batch = len(jobs)
        for job in jobs:
            job.answer()

    def _run_commands(self, draft: Draft) -> tuple[list[_Job], dict[Key, bytes | None]]:
        """Run queued commands up to a limit.

        Returns those that ran, and their changes encoded.
        """
        limits = self._store.limits
        jobs: list[_Job] = []
        changes: dict[Key, bytes | None] = {}
        size = 0
        while self._queue and len(jobs) < COMMANDS_A_BATCH and size < BATCH_BYTES:
            job = self._queue[0]
            fresh: dict[Key, bytes | None] = {}
            try:
                job.outcome = draft.run(job.command)
                fresh = _encoded(draft)
                _check_size(fresh, limits)
            except Exception as error:  # noqa: BLE001  a fault in one command must not stop all writes
                draft.forget()
                job.refusal = error
                fresh = {}
            fresh_size = _size(fresh)
            if len(changes) + len(fresh) > limits.max_changes or (
                size + fresh_size > limits.max_bytes
            ):
                break  # it runs again as the first of the next batch
            draft.keep()
            changes.update(fresh)
            size += fresh_size
            self._queue.popleft()
            jobs.append(job)
        return jobs, changes

    def next_head(self, known: Head, *, index: int, ops: int) -> Head:
        """The head of a commit of `ops` changes that follows `known`."""
        return msgspec.structs.replace(
            known,
            index=index,
            commit=self._clock.random_bytes(8).hex(),
            prev=known.commit,
            ops=ops,
            time_ns=self._clock.wall_ns(),
        )

    async def advance(self, change: Change, rows: dict[RowKey, Any] | None = None) -> None:
        """Commit `change`, apply it to memory. The caller holds the lock.

        `rows` are the rows that it writes; without them memory waits for the event of the store.

        Raises:
            Fenced: the claim was dropped.
            CancelledError: the caller was canceled; the outcome is unknown, so leadership is over.
            StoreError: the store refused the commit, or its outcome is unknown.
        """
        known = self.known
        if known is None:
            raise Fenced("the claim was dropped")
        began = self._clock.monotonic()
        try:
            self.known = await self._store.commit(known, change.head, change.changes)
        except asyncio.CancelledError:
            # A canceled caller loses the outcome, so leadership must be claimed again.
            self.depose(Unknown("canceled while committing"))
            raise
        took_s = self._clock.monotonic() - began
        self.on_commit(took_s * 1_000)
        if took_s > SLOW_S:
            self._report_slow(took_s)
        self.commits += 1
        if rows is not None:
            self._mirror.apply_own(known, change, rows)
        await self._mirror.reached(change.head.index)

    def _settle_later(self, jobs: list[_Job], known: Head, sent: Head) -> None:
        """Answer after an unknown outcome, as soon as the head that follows `known` arrives.

        It is `sent` if the commit was made. It may come with the next claim only, so this does not
        wait for it.
        """

        def settle(seen: asyncio.Future[Head | None]) -> None:
            successor = seen.result()
            if successor is None:
                text = "outcome unknown: the write may or may not be done"
                _fail(jobs, Error(Code.UNKNOWN_OUTCOME, text))
            elif successor.commit == sent.commit:
                self._answer(jobs)
            else:
                text = "not done: leadership changed while committing"
                _fail(jobs, Error(Code.UNAVAILABLE, text))

        self._mirror.successor_of(known, OUTCOME_WAIT_S).add_done_callback(settle)


def _encoded(draft: Draft) -> dict[Key, bytes | None]:
    """The changes of the command that ran last, as they are stored."""
    return {
        (table.name, row_id): None if row is None else to_msgpack(row)
        for (table, row_id), row in draft.fresh.items()
    }


def _size(changes: dict[Key, bytes | None]) -> int:
    """Bytes of keys and values, as the store counts them."""
    return sum(len(table) + len(row_id) + len(v or b"") for (table, row_id), v in changes.items())


def _check_size(changes: dict[Key, bytes | None], limits: Limits) -> None:
    """Check the changes of one command against the limits of one commit.

    Raises:
        Error: TOO_LARGE, one commit cannot hold them.
    """
    largest = max((len(value or b"") for value in changes.values()), default=0)
    if largest > limits.object_bytes:
        raise Error(Code.TOO_LARGE, f"an object may have at most {limits.object_bytes} bytes")
    if len(changes) > limits.max_changes or _size(changes) > limits.max_bytes:
        raise Error(
            Code.TOO_LARGE,
            f"one write may change at most {limits.max_changes} objects "
            f"and {limits.max_bytes} bytes",
        )


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.fail(error)
