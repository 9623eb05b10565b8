"""Requests about membership: admit, remove, leave, promote, demote, transfer, force-leave.

A request writes down what is wanted and waits for `loop.py` to make it. Of what another server says
of itself only one thing counts: that it is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from bellcow.cluster.peers.admission import Admitted, WaitFor, Write, admission
from bellcow.cluster.peers.changes import (
    REMOVE,
    Removal,
    with_demotion,
    with_promotion,
    with_removal,
)
from bellcow.cluster.peers.loop import RETRY_S, STEP_S, ChangeLoop
from bellcow.cluster.peers.quorum import check_removal, find_server, keeps_quorum
from bellcow.deadline import timeout
from bellcow.errors import Code, Error
from bellcow.model.membership_calls import (
    STANDING_PATH,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.model.raft import AUTOPILOT, ITSELF, OPERATOR
from bellcow.store.protocol import StoreError
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bellcow.cluster.peers.changes import Inputs
    from bellcow.cluster.peers.leader_state import LeaderState
    from bellcow.model.membership_calls import JoinRequest
    from bellcow.model.raft import MembershipChange, RaftConfiguration

ANSWER_S = 4.5  # a request is answered within this time, done or not
ADMIT_S = 15.0  # for an admission, which may have to remove an old entry first
CALL_S = 1.0  # for an answer of another server
CHECKS = 5  # within a second, whether the new voters' members work


class Greeter(Protocol):
    """What membership needs of the exchange."""

    async def join(self, address: tuple[str, int]) -> None: ...

    def force_leave(self, member_name: str, *, prune: bool = False) -> None: ...


class Membership:
    """`run` is one of the leader's loops; the rest are requests.

    A request raises Error: NO_LEADER on a server that does not lead, UNAVAILABLE while it cannot be
    done, CONFLICT where a rule forbids it, UNKNOWN_OUTCOME when it is not done in time.
    """

    def __init__(
        self,
        state: LeaderState,
        *,
        greeter: Greeter,
        grows: Callable[[], bool] = lambda: True,
        before_join: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`grows` returns whether the engine can have more than one voter.

        `before_join` is awaited before each admission.
        """
        self._state = state
        self._greeter = greeter
        self._grows = grows
        self._loop = ChangeLoop(state, self.forget)
        self.before_join = before_join or _nothing

    async def run(self) -> None:
        """Make the recorded changes, for ever."""
        await self._loop.run()

    def nudge(self) -> None:
        """Make the loop's next round begin at once."""
        self._loop.nudge()

    # Admission

    async def admit(self, request: JoinRequest) -> Standing:
        """Add a server as a non-voter, after the removal of old entries that are in its way."""
        self._state.check_leads()
        await self.before_join()
        await self._greet(request.server_id)  # any server may ask in its name
        async with _deadline(ADMIT_S, f"{request.name} is not admitted yet; ask again"):
            while True:
                inputs = await self._gather()
                match admission(inputs, request, self._state.cluster()[0]):
                    case Admitted():
                        return self._standing(request.server_id, is_member=False)
                    case WaitFor():
                        await self._state.until(lambda: self._state.stored.change is None, STEP_S)
                    case Write(configuration=after):
                        await self._write_admission(inputs.configuration, after, request)

    async def _write_admission(
        self, before: RaftConfiguration, after: RaftConfiguration, request: JoinRequest
    ) -> None:
        """Write, and wait until an entry that is in the way is removed."""
        if not await self._state.write(before, after):
            return
        if len(after.servers) > len(before.servers):
            self._state.report("server_admitted", name=request.name, server=request.server_id)
        change = after.change
        if change is not None and change.kind == REMOVE and not await self._made(change):
            await asyncio.sleep(RETRY_S)  # given up: the reason for it may pass

    async def standing(self, request: StandingRequest) -> Standing:
        """Whether a server is listed and votes, and whether its member id is still a member's."""
        self._state.check_leads()
        inputs = await self._gather()
        ids = {peer.member_id for peer in inputs.peers}
        return self._standing(request.server_id, is_member=request.member_id in ids)

    # Removal

    async def remove(self, server_id: str, *, force: bool = False) -> None:
        """Remove a server for an operator; returns when it is done.

        To remove itself, the leader first transfers its leadership.
        """
        await self._remove(server_id, by=OPERATOR, force=force)

    async def remove_dead(self, server_id: str, silent_since_ns: int) -> None:
        """Remove a server that has not answered since then, in wall time.

        Raises:
            Error: CONFLICT, a rule forbids it, or the server answered again during the wait for
                another change.
        """
        await self._remove(server_id, by=AUTOPILOT, silent_since_ns=silent_since_ns)

    async def remove_left(self, server_id: str) -> None:
        """Remove a server that left by itself.

        Raises:
            Error: CONFLICT, a rule forbids it, or the server is back.
        """
        if server_id in self._state.look().alive:
            raise Error(Code.CONFLICT, f"{server_id} is alive again")
        await self._remove(server_id, by=ITSELF)

    async def leave(self, server_id: str) -> Standing:
        """Remove a server that is leaving, unless the quorum needs it.

        Any server may ask this in its name, so the leader calls it first.

        Raises:
            Error: CONFLICT, a rule forbids it, or the server has not announced that it leaves.
        """
        self._state.check_leads()
        if server_id != self._state.me:
            await self._greet(server_id)
            if server_id not in self._state.look().leaving:
                raise Error(
                    Code.CONFLICT,
                    f"{server_id} has not announced that it leaves; to remove it anyway: "
                    "bellcow operator raft remove-peer -peer-id=ID",
                )
        await self._remove(server_id, by=ITSELF)
        return self._standing(server_id, is_member=False)

    async def force_leave(self, name: str, *, prune: bool = False, force: bool = False) -> None:
        """Make a failed server count as left, and remove it from the configuration.

        Nomad: an unknown name is no error, and a live server is not removed this way. `force`
        removes a live one, even if the quorum is lost.

        Raises:
            Error: CONFLICT, a rule forbids it, or it is the last voter.
        """
        self._state.check_leads()
        stored, view = self._state.stored, self._state.look()
        going = [server for server in stored.servers if server.name == name]
        for server in going:
            if not any(other.voter for other in stored.servers if other.id != server.id):
                raise Error(
                    Code.CONFLICT,
                    f"{server.name} is the last voter and cannot leave; stop it instead",
                )
            check_removal(stored, server, view.alive, answering=view.taking_part, force=force)
        self._greeter.force_leave(name, prune=prune)
        for server in going:
            if force or server.id not in view.alive:
                await self.remove(server.id, force=force)

    def forget(self, server_id: str) -> None:
        """Make a failed server that is not in the configuration count as left."""
        name = self._state.look().names.get(server_id)
        if name is not None:
            self._greeter.force_leave(name)

    async def _remove(
        self, server_id: str, *, by: str, force: bool = False, silent_since_ns: int = 0
    ) -> None:
        self._state.check_leads()
        await self._wait_for_new_voters(server_id)

        def decide(stored: RaftConfiguration) -> RaftConfiguration:
            view = self._state.look()
            if by == AUTOPILOT and server_id in view.alive:
                raise Error(Code.CONFLICT, f"{server_id} is alive again")
            why = Removal(
                by=by,
                now_ns=self._state.clock.wall_ns(),
                silent_since_ns=silent_since_ns,
                force=force,
            )
            return with_removal(stored, server_id, view, why)

        change = await self._begin(decide)
        if change is None:
            self._state.report("server_change_completed", kind=REMOVE, server=server_id)
        elif not await self._made(change):
            raise Error(Code.CONFLICT, f"{server_id} was not removed; the leader's log says why")

    async def _wait_for_new_voters(self, going: str) -> None:
        """Wait up to a second if the quorum would need voters that answer but do not vote yet."""
        for _ in range(CHECKS):
            if not self._needs_new_voters(going):
                return
            await asyncio.sleep(STEP_S)

    def _needs_new_voters(self, going: str) -> bool:
        view = self._state.look()
        servers = self._state.stored.servers
        voters = [each.id for each in servers if each.voter and each.id != going]
        now, soon = (keeps_quorum(voters, some) for some in (view.taking_part, view.answering))
        return soon and not now

    # Votes and leadership

    def why_no_votes(self) -> str:
        """Why no other server can ever vote beside this one, and what to do; "" where one can."""
        if self._grows():
            return ""
        me = self._state.look().names.get(self._state.me, self._state.me)
        return (
            f"{me} keeps its state in the embedded store, which has one voter; start {me} once "
            'with server { engine = "etcd" }, or with retry_join, so that others can vote'
        )

    async def promote(self, server_id: str) -> None:
        """Write down that a server is to vote; the loop makes the change.

        Raises:
            Error: UNSUPPORTED, the store is the embedded one; UNAVAILABLE, a promotion failed a
                short time ago.
        """
        self._state.check_leads()
        if problem := self.why_no_votes():
            raise Error(Code.UNSUPPORTED, problem)
        self._loop.check_may_promote(server_id)
        await self._begin(lambda stored: with_promotion(stored, server_id))

    async def demote(self, server_id: str) -> None:
        """Write down that a server is not to vote any more; the loop makes the change."""
        self._state.check_leads()
        await self._begin(lambda stored: with_demotion(stored, server_id, self._state.look()))

    async def transfer(self, server_id: str) -> None:
        """Transfer leadership to another voter; returns when the consensus has elected it.

        Raises:
            Error: UNAVAILABLE, the server does not answer, has no vote, or was not elected;
                UNKNOWN_OUTCOME, it was not elected in time.
        """
        self._state.check_leads()
        if server_id not in self._state.look().taking_part:
            await self._greet(server_id)
        stored, view = self._state.stored, self._state.look()
        server = find_server(stored, by="id", value=server_id)
        if server_id not in view.taking_part and server.voter:
            raise Error(Code.UNAVAILABLE, f"{server.name} does not answer and cannot lead")
        if stored.change is not None and stored.change.server_id == server_id:
            raise Error(Code.UNAVAILABLE, f"a change of {server.name} is under way; wait")
        try:
            peers = await self._state.peers.members()
            member = next((p for p in peers if p.server_id == server_id and p.voter), None)
            if member is None:
                raise Error(Code.UNAVAILABLE, f"{server.name} has no vote and cannot lead")
            doubt = f"outcome unknown: leadership is being transferred to {server.name}"
            async with _deadline(ANSWER_S, doubt, Code.UNKNOWN_OUTCOME):
                await self._state.lead.hand_over(member.member_id)
        except StoreError as error:
            text = f"leadership was not transferred: {error.for_clients}"
            raise Error(Code.UNAVAILABLE, text) from None

    async def hand_on(self) -> None:
        """Transfer leadership to any other voter that takes part.

        Raises:
            Error: UNAVAILABLE, none does; or as `transfer` does.
        """
        view, me = self._state.look(), self._state.me
        successors = [
            server.id
            for server in self._state.stored.servers
            if server.voter and server.id != me and server.id in view.taking_part
        ]
        if not successors:
            raise Error(Code.UNAVAILABLE, "no other voter answers")
        await self.transfer(successors[0])

    # Helpers

    async def _gather(self) -> Inputs:
        try:
            return await self._state.gather()
        except StoreError as error:
            raise Error(
                Code.UNAVAILABLE,
                f"the members of the consensus cannot be listed: {error.for_clients}",
            ) from None

    async def _greet(self, server_id: str) -> None:
        """Ask a server for a new hello: its last one may be from before a restart."""
        target = self._state.look().targets.get(server_id)
        if target is not None:
            with contextlib.suppress(Error):
                await self._greeter.join(target.address)

    async def _begin(
        self, decide: Callable[[RaftConfiguration], RaftConfiguration]
    ) -> MembershipChange | None:
        """Write what `decide` makes of the configuration, once no other change is under way.

        Returns the change that the loop has to make now, if there is one.
        """
        state = self._state
        async with _deadline(ANSWER_S, "another change of the servers is under way; try again"):
            while True:
                await state.until(lambda: state.stored.change is None)
                before = state.stored
                after = decide(before)
                if await state.write(before, after):
                    return after.change

    async def _made(self, change: MembershipChange) -> bool:
        """Wait until a removal is over, by this leader or the next; whether it was made."""
        state = self._state
        doubt = (
            f"outcome unknown: the change ({change.kind} {change.server_id}) is under way; "
            "look at the raft configuration"
        )
        async with _deadline(ANSWER_S, doubt, Code.UNKNOWN_OUTCOME):
            while not await state.until(lambda: not _is_about(state.stored, change), STEP_S):
                if not state.lead.is_leader and await self._is_removed_elsewhere(change):
                    return True
        return all(server.id != change.server_id for server in state.stored.servers)

    async def _is_removed_elsewhere(self, change: MembershipChange) -> bool:
        """Ask the present leader: the memory of a removed server gets no more commits."""
        target = self._state.look().targets.get(self._state.lead.leader_id)
        if target is None:
            return False
        request = StandingRequest(server_id=change.server_id, member_id=0)
        try:
            answer = await self._state.post(target, STANDING_PATH, encode(request), CALL_S)
            return not decode(answer, Standing).configured
        except Error:
            return False

    def _standing(self, server_id: str, *, is_member: bool) -> Standing:
        cluster_id, epoch = self._state.cluster()
        servers = self._state.stored.servers
        server = next((each for each in servers if each.id == server_id), None)
        return Standing(
            cluster_id=cluster_id,
            epoch=epoch,
            founding=self._state.founding(),
            configured=server is not None,
            voter=server is not None and server.voter,
            is_member=is_member,
            servers=tuple(
                (each, join_host_port(target.address))
                for each, target in self._state.look().targets.items()
            ),
        )


@contextlib.asynccontextmanager
async def _deadline(
    limit_s: float, text: str, code: Code = Code.UNAVAILABLE
) -> AsyncIterator[None]:
    """Limit the time of what is inside.

    Raises:
        Error: with this text and code, it takes longer.
    """
    try:
        async with timeout(limit_s):
            yield
    except TimeoutError:
        raise Error(code, text) from None


def _is_about(stored: RaftConfiguration, change: MembershipChange) -> bool:
    now = stored.change
    return now is not None and (now.kind, now.server_id) == (change.kind, change.server_id)


async def _nothing() -> None:
    """The default for `before_join`: do nothing."""
