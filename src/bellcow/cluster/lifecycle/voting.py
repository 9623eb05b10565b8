"""The step of a server with a vote: it runs its member of the consensus and serves its store.

Each round gathers, asks `rules.next_move`, and carries that move out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.lifecycle.context import AGAIN_S, LOOK_S
from bellcow.cluster.lifecycle.removal import is_led_ahead, is_removal_intended
from bellcow.cluster.lifecycle.rules import (
    Discover,
    Inputs,
    Join,
    Move,
    Replicate,
    Verdict,
    Vote,
    after_end,
    cluster_of,
    has_moved,
    next_move,
)
from bellcow.state.tables import RAFT
from bellcow.store.protocol import NO_HEAD, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bellcow.cluster.engine.protocol import Engine, ReplaceablePeers, Running, Start, Status
    from bellcow.cluster.lifecycle.context import Context
    from bellcow.cluster.lifecycle.rules import Step
    from bellcow.model.hello import Cluster
    from bellcow.store.protocol import Head, Key
    from bellcow.store.replaceable import ReplaceableStore

DOWN_S = 5.0  # between two questions whether a member that does not run was removed


class Voting:
    """`run` ends with the next step."""

    def __init__(
        self,
        context: Context,
        *,
        engine: Engine,
        slot: ReplaceableStore,
        votes: ReplaceablePeers,
        elsewhere: Callable[[], Mapping[str, Cluster]],
        recall: Callable[[Head, list[tuple[Key, bytes]]], Awaitable[None]],
    ) -> None:
        """`elsewhere` returns the servers that are in other clusters, by id.

        `recall` loads a state that may be old into a memory that holds none.
        """
        self._context = context
        self._engine = engine
        self._slot = slot
        self._votes = votes
        self._elsewhere = elsewhere
        self._recall = recall
        self._has_recalled = False
        self._waiting_since = 0.0  # since it served, or asked for its standing

    async def run(self, start: Start | None) -> Step:
        """Run the member until the server loses its vote.

        Raises:
            OSError: a file of this server cannot be written.
        """
        context = self._context
        try:
            async with self._engine.running(start) as running:
                context.has_member = True
                try:
                    return await self._rounds(running)
                finally:
                    self._votes.put(None)
                    context.has_member = context.serving = False
        except StoreError as error:
            return await self._after_end(error)

    async def _rounds(self, running: Running) -> Step:
        context = self._context
        context.files.forget_member()
        self._waiting_since = context.clock.monotonic()
        while True:
            inputs = await self._gather(running)
            step = await self._act(next_move(inputs), inputs, running)
            if step is not None:
                return step
            if context.serving:
                await self._write_pending()
            await context.files.remember_addresses()
            await context.pause(LOOK_S if context.serving else LOOK_S / 5)

    # Gather

    async def _gather(self, running: Running) -> Inputs:
        context = self._context
        if running.ended.done():
            return Inputs(ended=True)
        status = None if context.serving else await _status(running)
        view, now = context.observe(), context.clock.monotonic()
        if context.serving:
            self._waiting_since = now
        return Inputs(
            serving=context.serving,
            status=status,
            led_ahead=is_led_ahead(view),
            waited_s=now - self._waiting_since,
            has_state=self._has_recalled or context.tables.head != NO_HEAD,
            abandoned=context.promises.is_abandoned(context.cluster, self._elsewhere()),
            has_moved=self._has_moved(),
        )

    def _has_moved(self) -> bool:
        configuration, itself = self._context.tables.one(RAFT), self._context.roster.itself
        return (
            has_moved(configuration, itself.server_id, itself.rpc_address)
            and self._context.leader.target() is not None
        )

    # Act

    async def _act(self, move: Move, inputs: Inputs, running: Running) -> Step | None:
        """Carry a move out; returns the next step if this one is over."""
        match move:
            case Move.END:
                return await self._end(running)
            case Move.SERVE:
                await self._serve(running, inputs.status)
            case Move.GIVE_UP_FOUNDING:
                return await self._give_up_founding()
            case Move.ASK_STANDING:
                return await self._ask_standing()
            case Move.RECALL:
                await self._recall_state()
            case Move.REQUEST_ADMISSION:
                return await self._request_admission()
            case Move.CORRECT_ADDRESS:
                await self._context.leader.join(self._context.cluster_id)
                await self._context.pause(AGAIN_S)
            case Move.REST:
                pass
        return None

    async def _serve(self, running: Running, status: Status | None) -> None:
        """Make the member's store and votes those of this server."""
        if status is not None:
            self._context.files.note_member(status.member_id)
        await self._write_pending()
        await self._slot.put(running.store)
        self._votes.put(running.peers)
        self._context.serving = True

    async def _write_pending(self) -> None:
        """Write the files that a vote does not wait for; on a full disk the next round retries."""
        context = self._context
        try:
            await context.files.write_mark()
            if context.serving and context.tables.one(RAFT) is not None:
                await context.promises.drop()
        except OSError as error:
            context.reminders.report("local_state_write_failed", reason=str(error))

    async def _request_admission(self) -> Step | None:
        """Ask for admission, and set the files aside only once the leader has admitted us."""
        if await self._context.leader.join(self._context.cluster_id) is not None:
            return Join()
        await self._context.pause(AGAIN_S)
        return None

    async def _ask_standing(self) -> Step | None:
        """Ask the leader whether our member was removed: out of reach, a member is not told."""
        standing = await self._context.own_standing()
        if standing is not None and not standing.is_member:
            return await self._after_end(None)
        self._waiting_since = self._context.clock.monotonic()
        return None

    async def _recall_state(self) -> None:
        """Without a quorum the member serves no read: answer `stale` from what its files hold."""
        self._has_recalled = True
        try:
            head, items = await self._engine.last_state()
            if head != NO_HEAD:
                await self._recall(head, items)
                self._context.report("stale_state_loaded", index=head.index, term=head.term)
        except StoreError as error:
            self._context.report("state_unreadable", reason=str(error))

    async def _give_up_founding(self) -> Step:
        """Discover again: the cluster that this server began to form was never formed.

        `cluster.json` is removed last: at a start without it, a promise of ours that is not marked
        as given up is dropped, and others may still form that cluster.
        """
        context = self._context
        cluster = context.cluster
        assert cluster is not None  # noqa: S101  a voter has one in its files
        context.report("bootstrap_abandoned", cluster=cluster.id)
        await context.files.set_aside(cluster)
        await context.promises.give_up(cluster)
        await context.files.remove_local_state()
        return Discover()

    # After the member ended

    async def _end(self, running: Running) -> Step:
        context = self._context
        if context.serving and is_removal_intended(context.look()):
            context.watch = context.watch.ended()
        context.has_member = context.serving = False
        return await self._after_end(running.ended.exception())

    async def _after_end(self, failure: BaseException | None) -> Step:
        """Ask the leader whether the member was removed, until it answers.

        Meanwhile memory answers stale reads, and all other requests are forwarded.
        """
        context = self._context
        if failure is not None:
            context.report("etcd_down", reason=str(failure))
        while True:
            if is_led_ahead(context.look()):
                return Join()
            standing = await context.own_standing()
            verdict = after_end(standing, context.cluster, failed=failure is not None)
            if verdict is Verdict.RESTART:
                return Vote()
            if standing is not None and verdict is Verdict.REMOVED:
                break
            await context.pause(AGAIN_S if verdict is Verdict.UNKNOWN else DOWN_S)
        cluster = cluster_of(standing)
        await context.set_old_files_aside(cluster)
        await context.files.record_role(cluster, "non-voter")
        # A server removed while it was away asks for admission again; any other stays out.
        return Join() if context.watch.away else Replicate()


async def _status(running: Running) -> Status | None:
    try:
        return await running.peers.status()
    except StoreError:
        return None
