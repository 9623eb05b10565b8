"""The leader's loop that makes changes of membership, one step at a time: gather, decide, act.

The decision is `rules.next_step`. An earlier leader's change is finished before any other begins.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bellcow.cluster.peers.changes import PROMOTE, pause_s
from bellcow.cluster.peers.leader_state import subject_of
from bellcow.cluster.peers.rules import (
    AddMember,
    HandOver,
    OrderStart,
    PromoteMember,
    RemoveMember,
    UpdateMember,
    Wait,
    Write,
    departed,
    next_step,
)
from bellcow.deadline import timeout
from bellcow.errors import Code, Error
from bellcow.model.membership_calls import MEMBER_PATH, MemberOrder, encode
from bellcow.store.protocol import Busy, StoreError
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.cluster.peers.changes import Inputs
    from bellcow.cluster.peers.leader_state import LeaderState
    from bellcow.cluster.peers.rules import Step
    from bellcow.model.raft import MembershipChange, RaftConfiguration

IDLE_S = 5.0  # between two looks while no change is under way
RETRY_S = 1.0  # after a look that failed
STEP_S = 0.2  # before a step that is not possible yet is tried again
NEXT_S = 0.02  # between a step that was made and the next
ORDER_S = 5.0  # for an answer to an order


class ChangeLoop:
    """`run` is one of the leader's loops."""

    def __init__(self, state: LeaderState, forget: Callable[[str], None]) -> None:
        """`forget` makes a failed server that is not in the configuration count as left."""
        self._state = state
        self._forget = forget
        self._reminders = Reminders(state.clock, state.report)
        self._began: tuple[tuple[str, str], float] | None = (
            None  # the change, and since when it is tried
        )
        self._failures: dict[str, tuple[int, float]] = {}  # by server: count, and when to try again

    async def run(self) -> None:
        """Make one step after another, for ever; a write or `nudge` ends the pause between two."""
        self._began = None
        self._failures.clear()
        while True:
            self._state.written.clear()
            wait_s = await self._round()
            with contextlib.suppress(TimeoutError):
                async with timeout(wait_s):
                    await self._state.written.wait()

    def nudge(self) -> None:
        """Make the next round begin at once."""
        self._state.written.set()

    def check_may_promote(self, server_id: str) -> None:
        """Check that the pause after a failed promotion is over.

        Raises:
            Error: UNAVAILABLE, it is not.
        """
        count, due = self._failures.get(server_id, (0, 0.0))
        if self._state.clock.monotonic() < due:
            raise Error(
                Code.UNAVAILABLE, f"promoting {server_id} failed {count} times; try again later"
            )

    async def _round(self) -> float:
        """Make one step; returns the seconds until the next round."""
        try:
            inputs = await self._state.gather()
            self._forget_departed(inputs)
            step = next_step(inputs, self._age_s(inputs.configuration.change))
            if step is None:
                return IDLE_S
            return await self._act(inputs, step)
        except Busy:
            return STEP_S
        except (StoreError, Error) as error:
            # The step may have been made: the next round lists the members before it goes on.
            self._reminders.report("server_change_waiting", reason=str(error))
            return STEP_S if self._state.stored.change else RETRY_S

    def _forget_departed(self, inputs: Inputs) -> None:
        cluster_id = self._state.cluster_id
        for server_id in departed(inputs, cluster_id) if cluster_id else ():
            self._forget(server_id)

    def _age_s(self, change: MembershipChange | None) -> float:
        """Seconds for which this leader has tried the change under way."""
        if change is None:
            self._began = None
            return 0.0
        now, key = self._state.clock.monotonic(), (change.kind, change.server_id)
        if self._began is None or self._began[0] != key:
            self._began = key, now
        return now - self._began[1]

    async def _act(self, inputs: Inputs, step: Step) -> float:
        state = self._state
        match step:
            case Write():
                await self._conclude(inputs.configuration, step)
                return 0.0
            case AddMember():
                await state.peers.add(step.address)
            case OrderStart():
                await self._order(inputs, step)
                return STEP_S  # until it shows as started
            case PromoteMember():
                await state.peers.promote(step.member_id)
            case UpdateMember():
                await state.peers.update(step.member_id, step.address)
            case RemoveMember():
                await state.peers.remove(step.member_id)
            case HandOver():
                await state.lead.hand_over(step.member_id)
            case Wait():
                raise Busy(step.reason)
        return NEXT_S

    async def _order(self, inputs: Inputs, step: OrderStart) -> None:
        target = inputs.view.targets.get(step.server_id)
        if target is None:
            raise Error(Code.UNAVAILABLE, f"the address of {step.server_id} is unknown")
        names = {server.address: server.id for server in inputs.configuration.servers}
        cluster_id, epoch = self._state.cluster()
        order = MemberOrder(
            cluster_id=cluster_id,
            epoch=epoch,
            founding=self._state.founding(),
            server_id=step.server_id,
            member_id=step.member_id,
            members=tuple(
                (each.server_id or names.get(each.address, step.server_id), each.address)
                for each in inputs.peers
            ),
            token=f"{cluster_id}.{epoch}",
        )
        await self._state.post(target, MEMBER_PATH, encode(order), ORDER_S)

    async def _conclude(self, before: RaftConfiguration, step: Write) -> None:
        """Write the configuration, and report the change that begins or ends with it."""
        if not await self._state.write(before, step.configuration):
            return
        change, report = before.change, self._state.report
        if change is None:
            if before.servers != step.configuration.servers:
                report("raft_configuration_corrected", servers=_summary(step.configuration))
            return
        fields = {"kind": change.kind, "server": subject_of(change)}
        if step.given_up:
            self._note_failure(change)
            report("server_change_abandoned", **fields, reason=step.given_up)
        elif step.configuration.change is None:
            self._failures.pop(change.server_id, None)
            report("server_change_completed", **fields)

    def _note_failure(self, change: MembershipChange) -> None:
        if change.kind == PROMOTE:
            count = self._failures.get(change.server_id, (0, 0.0))[0] + 1
            due = self._state.clock.monotonic() + pause_s(count)
            self._failures[change.server_id] = count, due


def _summary(configuration: RaftConfiguration) -> str:
    return " ".join(
        f"{server.id}={'voter' if server.voter else 'non-voter'}"
        for server in configuration.servers
    )
