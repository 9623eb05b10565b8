"""Leadership: the claim in `head`, the loops that run while it holds, the wait for a leader.

A server leads when its member leads the consensus and `head` holds its claim. Every transaction
compares `head`, so a deposed leader finds out at its next write at the latest. No clock decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.formation.initial_state import first_state, with_own_entry
from bellcow.deadline import timeout
from bellcow.errors import no_leader
from bellcow.state.tables import ONLY, RAFT, with_indexes
from bellcow.store.protocol import (
    NO_HEAD,
    Busy,
    Confirmation,
    Fenced,
    Head,
    NoSpace,
    NotLeader,
    StoreError,
    Unavailable,
)
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Peers, Status
    from bellcow.cluster.formation.initial_state import AgreedCluster, Founder
    from bellcow.events import Report
    from bellcow.state.committer import Committer
    from bellcow.state.mirror import Mirror
    from bellcow.state.tables import Tables
    from bellcow.store.protocol import Key, Store

LOOK_S = 0.1  # between two looks at the leader
FRESH_S = 1.0  # after which the term that our member reported is out of date
LOOP_PAUSE_S = 1.0  # before a loop that failed starts again
HOLD_S = 5.0  # how long a request waits for a leader


def nothing_agreed() -> None:
    """The default: this server forms its cluster alone."""


def no_other_leader() -> str:
    """The default: there are no other servers."""
    return ""


def _nothing() -> None:
    """The default for `on_change`: do nothing."""


class Deposed(Exception):
    """This server's member no longer leads."""


class _Claim(msgspec.Struct, frozen=True):
    """Leadership from `head` on. `unwritten` is the reason why the claim is not in the store."""

    head: Head
    term: int
    unwritten: NoSpace | None = None


class Leadership:
    """Claims, leads and steps down, in turn. `is_leader` is true while the loops run."""

    def __init__(
        self,
        *,
        store: Store,
        peers: Peers,
        mirror: Mirror,
        tables: Tables,
        committer: Committer,
        clock: Clock,
        founder: Founder,
        report: Report,
        agreed_cluster: Callable[[], AgreedCluster | None] = nothing_agreed,
        elsewhere: Callable[[], str] = no_other_leader,
        on_change: Callable[[], None] = _nothing,
    ) -> None:
        """`on_change` is called after leadership began or ended on this server."""
        self._store = store
        self._peers = peers
        self._mirror = mirror
        self._tables = tables
        self._committer = committer
        self._clock = clock
        self._founder = founder
        self._report = report
        self._agreed_cluster = agreed_cluster
        self._elsewhere = elsewhere
        self._loops: Sequence[Callable[[], Awaitable[None]]] = ()
        self._leads = asyncio.Event()
        self._reason = ""  # why the last claim failed
        self._successor: tuple[int, asyncio.Future[None]] | None = None
        self.on_change = on_change
        self.is_leader = False
        self.member_answers = True  # and knew a leader, when it was last asked
        self._term = 0  # the last term that our member reported
        self._term_seen: float | None = None  # when it reported `_term`
        self.claims = 0  # how often this server has become leader
        self.epoch = 0  # counts changes of leadership on this server; caches depend on it

    @property
    def leader_id(self) -> str:
        """The id of the leader as far as this server knows; "" without one."""
        return self._founder.server_id if self.is_leader else self._elsewhere()

    @property
    def follows(self) -> bool:
        """Whether another server leads, and our member of the consensus reports a leader."""
        return not self.is_leader and self.member_answers and bool(self._elsewhere())

    @property
    def member_term(self) -> int:
        """The term that our member reported within the last second; 0 without a report."""
        seen = self._term_seen
        return self._term if seen is not None and self._clock.monotonic() - seen <= FRESH_S else 0

    async def wait_for_leader(self) -> None:
        """Return when a leader is known.

        Raises:
            no_leader: none is known after five seconds.
        """
        try:
            async with timeout(HOLD_S):
                while not self.leader_id:
                    with contextlib.suppress(TimeoutError):
                        async with timeout(LOOK_S):
                            await self._leads.wait()
        except TimeoutError:
            raise no_leader() from None

    async def hand_over(self, member_id: int) -> None:
        """Drop the claim, then have the consensus elect that member.

        The transfer goes on if the caller is canceled, as the leader's loops are.

        Raises:
            NotLeader: this server does not lead.
            Busy: a transfer is under way already.
            StoreError: the member was not elected; this server claims again if it still leads.
        """
        if not self.is_leader:
            raise NotLeader("this server does not lead")
        if self._successor is not None:
            raise Busy("leadership is being transferred already")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._successor = (member_id, done)
        self._committer.depose(Fenced("leadership is transferred"))
        await done

    async def run(self, loops: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Every 100 ms, check whether the consensus names us; if so, claim and lead until deposed.

        `loops` run while leading.
        """
        self._loops = loops
        while True:
            claim = await self._try_to_claim()
            if claim is None:
                await asyncio.sleep(LOOK_S)
                continue
            await self._lead(claim)
            if self._successor is not None:
                successor, self._successor = self._successor, None
                await self._transfer(*successor)

    async def _transfer(self, member_id: int, done: asyncio.Future[None]) -> None:
        try:
            await self._peers.transfer(member_id)
        except StoreError as error:
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)

    async def _try_to_claim(self) -> _Claim | None:
        """A claim, or None. Each reason for a failure is reported once, not ten times a second."""
        try:
            claim = await self._claim()
        except StoreError as error:
            reason = str(error)
            if reason != self._reason:
                self._report("claim_failed", reason=reason)
            self._reason = reason
            return None
        self._reason = ""
        return claim

    async def _claim(self) -> _Claim | None:
        """Write a claim into `head` if the consensus names our member twice, in one term.

        None when it does not. If the disk is full, a single server leads without this write: it
        answers reads, and refuses each write until there is space.

        Raises:
            NoSpace: the disk is full, and nothing was ever stored or there are other servers.
            StoreError: the store did not confirm or commit.
        """
        if not await self._is_named():
            return None
        _, before = await self._store.confirm_in_term()
        named = await self._is_named()
        after, term = await self._store.confirm_in_term()
        # Right after an election the status may still show the old term: only confirms count.
        if not named or before != term or term < after.term:
            return None
        head = msgspec.structs.replace(
            after,
            commit=self._clock.random_bytes(8).hex(),
            prev=after.commit,
            leader=self._founder.server_id,
            term=term,
            time_ns=self._clock.wall_ns(),
        )
        index, changes = await self._changes_of_claim(after)
        head = msgspec.structs.replace(head, index=index, ops=len(changes))
        try:
            head = await self._store.commit(after, head, changes)
        except NoSpace as error:
            if after == NO_HEAD or self._store.confirmation is not Confirmation.LOCAL:
                raise
            return _Claim(after, term, error)
        await self._mirror.reached(head.index)
        return _Claim(head, term)

    async def _is_named(self) -> bool:
        """Whether our member says that it leads the consensus.

        A member that does not answer is starting or ending, which the lifecycle reports.
        """
        try:
            status = await self._status()
        except Unavailable:
            return False
        return status.leader_id == status.member_id

    async def _status(self) -> Status:
        try:
            status = await self._peers.status()
        except StoreError:
            self.member_answers = False
            raise
        # A member that is cut off from the others still answers, but reports no leader.
        self.member_answers = status.leader_id is not None
        self._term, self._term_seen = status.term, self._clock.monotonic()
        return status

    async def _changes_of_claim(self, after: Head) -> tuple[int, dict[Key, bytes | None]]:
        """The index of the claim that follows `after`, and the objects written with it."""
        if after == NO_HEAD:
            return first_state(self._founder, self._clock, self._agreed_cluster())
        index = after.index + 1
        await self._mirror.reached(after.index)
        configuration = self._tables.one(RAFT)
        corrected = with_own_entry(self._founder, configuration) if configuration else None
        if corrected is None or configuration is None:
            return index, {}
        self._report("address_changed", address=self._founder.address, name=self._founder.name)
        row = with_indexes(corrected, configuration.create_index, index)
        return index, {(RAFT.name, ONLY): to_msgpack(row)}

    async def _lead(self, claim: _Claim) -> None:
        """Run the committer and the loops until one of them finds that this server is deposed.

        Raises:
            CancelledError: the caller was canceled.
        """
        over: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_until(over, self._committer.run(claim.head)), name="committer")
                # The committer must own the queue before `is_leader` is true.
                await asyncio.sleep(0)
                if claim.unwritten is not None:
                    self._committer.report_refused(claim.unwritten)
                self._begin(claim)
                group.create_task(_until(over, self._watch(claim)), name="leadership watch")
                for loop in self._loops:
                    group.create_task(_until(over, self._keep_running(loop)), name=_name(loop))
                raise await over
        except* (Deposed, StoreError) as group_error:
            self._report("leadership_lost", reason=str(group_error.exceptions[0]))
        finally:
            self._end()
        # If the group was canceled while it ended for another reason, it raised only that reason.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    def _begin(self, claim: _Claim) -> None:
        self.is_leader = True
        self.claims += 1
        self.epoch += 1
        self._leads.set()
        self._report("leadership_acquired", term=claim.term, index=claim.head.index)
        self.on_change()

    def _end(self) -> None:
        self.is_leader = False
        self.epoch += 1
        self._leads.clear()
        self.on_change()

    async def _watch(self, claim: _Claim) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            status = await self._status()
            if status.leader_id is None:
                raise Deposed("too few voters answer: the consensus has no leader")
            if status.leader_id != status.member_id:
                raise Deposed("another server leads")
            if status.term > claim.term:  # another server may have claimed in between
                raise Deposed("leadership was lost and won again")

    async def _keep_running(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run one loop. If it fails, report the error and start it again.

        Raises:
            StoreError: the loop raised it, which ends the leadership.
        """
        while True:
            try:
                await loop()
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001  the other loops and the writes go on
                self._report("loop_failed", loop=_name(loop), exc_info=error)
                await asyncio.sleep(LOOP_PAUSE_S)


async def _until(over: asyncio.Future[Exception], work: Awaitable[None]) -> None:
    """Do `work`, and pass the error that ends it to `over`.

    The error must not end the task group by itself: Python 3.11 then counts a cancellation that was
    not requested.
    """
    try:
        await work
    except Exception as error:  # noqa: BLE001  raised again where `over` is awaited
        if not over.done():
            over.set_result(error)


def _name(loop: Callable[[], Awaitable[None]]) -> str:
    return getattr(loop, "__qualname__", "loop")
