"""Membership on the leader: who is in, who votes, who goes.

One loop makes the changes, one step at a time: gather, ask `rules.py`, act. Requests only write
down what is wanted and wait for the loop. Nothing here is decided by what another server says of
itself but its being alive; how messages travel is behind `Transport`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from bellcow.cluster.peers.quorum import check_removal, find_server, keeps_quorum
from bellcow.cluster.peers.rules import (
    PROMOTE,
    REMOVE,
    AddMember,
    HandOver,
    Inputs,
    OrderStart,
    PromoteMember,
    Removal,
    RemoveMember,
    UpdateMember,
    Wait,
    Write,
    admission,
    departed,
    next_step,
    pause_s,
    removed_for_dead,
    with_demotion,
    with_promotion,
    with_removal,
)
from bellcow.deadline import timeout
from bellcow.errors import Code, Error, no_leader
from bellcow.model.membership_calls import (
    MEMBER_PATH,
    STANDING_PATH,
    MemberOrder,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.model.raft import AUTOPILOT, ITSELF, OPERATOR, RaftConfiguration
from bellcow.state.commands import put_setting
from bellcow.state.tables import CLUSTER, RAFT
from bellcow.store.protocol import Busy, StoreError
from bellcow.throttle import Reminders
from bellcow.wire import join_host_port, rfc3339_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Peers
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.schedule import Target
    from bellcow.cluster.peers.inputs import ClusterView
    from bellcow.cluster.peers.rules import Step
    from bellcow.events import Report
    from bellcow.model.membership_calls import JoinRequest
    from bellcow.model.raft import MembershipChange
    from bellcow.state.committer import Committer
    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting

CALM_S = 5.0  # between two looks while nothing is under way
RETRY_S = 1.0  # before they are tried again when they failed
STEP_S = 0.2  # before a step that could not be made yet is tried again
ANSWER_S = 4.5  # a request is answered within this time, done or not
ADMIT_S = 15.0  # an old entry may have to go first
BREATH_S = 0.02  # between a step that was made and the next
ORDER_S = 5.0
CALL_S = 1.0
PART_LOOKS = 5  # by then a voter that was promoted a moment ago has said that its member works


class Lead(Protocol):
    """What membership needs of leadership."""

    @property
    def is_leader(self) -> bool: ...

    @property
    def leader_id(self) -> str: ...

    async def hand_over(self, member_id: int) -> None:
        """Drop the claim, then let that member lead. Raises StoreError."""


class Greeter(Protocol):
    """What membership needs of the exchange."""

    async def join(self, address: tuple[str, int]) -> None: ...

    def force_leave(self, member_name: str, *, prune: bool = False) -> None: ...


class Membership:
    """`run` is one of the leader's loops; the rest are requests, refused on other servers."""

    def __init__(
        self,
        *,
        me: str,
        tables: Tables,
        waiting: Waiting,
        committer: Committer,
        peers: Peers,
        lead: Lead,
        look: Callable[[], ClusterView],
        greeter: Greeter,
        line: Transport,
        clock: Clock,
        report: Report,
        grows: Callable[[], bool] = lambda: True,
        founding: Callable[[], str] = str,
    ) -> None:
        """`grows` tells whether the engine can have more than one voter, `founding` that of our
        cluster, "" for one that was never recovered.
        """
        self._me = me
        self._tables = tables
        self._waiting = waiting
        self._committer = committer
        self._peers = peers
        self._lead = lead
        self._look = look
        self._greeter = greeter
        self._line = line
        self._clock = clock
        self._report = report
        self._grows = grows
        self._founding = founding
        self._reminders = Reminders(clock, report)
        self._nudged = asyncio.Event()
        self._began: tuple[tuple[str, str], float] | None = None  # the change tried, since when
        self._failures: dict[str, tuple[int, float]] = {}  # by server: how often, tried again when
        self.before_join: Callable[[], Awaitable[object]] = _nothing

    # The leader's loop

    async def run(self) -> None:
        """First the change that an earlier leader has left, then whatever comes."""
        self._began = None
        self._failures.clear()
        while True:
            self._nudged.clear()
            wait_s = await self._turn()
            with contextlib.suppress(TimeoutError):
                async with timeout(wait_s):
                    await self._nudged.wait()

    def nudge(self) -> None:
        """Something was written or seen that the loop should not be late for."""
        self._nudged.set()

    async def _turn(self) -> float:
        """One step; returns in how many seconds the next is due."""
        try:
            inputs = await self._gather()
            self._forget_departed(inputs)
            step = next_step(inputs, self._age_s(inputs.configuration.change))
            if step is None:
                return CALM_S
            return await self._act(inputs, step)
        except Busy:
            return STEP_S
        except (StoreError, Error) as error:
            # Out of reach, or nobody knows: the next turn lists the members before it goes on.
            self._reminders.say("server_change_waiting", reason=str(error))
            return STEP_S if self._stored().change else RETRY_S

    async def _gather(self) -> Inputs:
        peers = await self._peers.members()
        return Inputs(
            me=self._me,
            configuration=self._stored(),
            peers=tuple(peers),
            view=self._look(),
            now_ns=self._clock.wall_ns(),
        )

    def _age_s(self, change: MembershipChange | None) -> float:
        """How long this leader has been at the change under way."""
        if change is None:
            self._began = None
            return 0.0
        now, key = self._clock.monotonic(), (change.kind, change.server_id)
        if self._began is None or self._began[0] != key:
            self._began = key, now
        return now - self._began[1]

    async def _act(self, inputs: Inputs, step: Step) -> float:
        match step:
            case Write():
                await self._conclude(inputs.configuration, step)
                return 0.0
            case AddMember():
                await self._peers.add(step.address)
            case OrderStart():
                await self._order(inputs, step)
                return STEP_S  # until it shows as started
            case PromoteMember():
                await self._peers.promote(step.member_id)
            case UpdateMember():
                await self._peers.update(step.member_id, step.address)
            case RemoveMember():
                await self._peers.remove(step.member_id)
            case HandOver():
                await self._lead.hand_over(step.member_id)
            case Wait():
                raise Busy(step.reason)
        return BREATH_S

    async def _order(self, inputs: Inputs, step: OrderStart) -> None:
        target = inputs.view.targets.get(step.server_id)
        if target is None:
            raise Error(Code.UNAVAILABLE, f"nobody knows where {step.server_id} is")
        names = {server.address: server.id for server in inputs.configuration.servers}
        cluster_id, epoch = self._cluster()
        order = MemberOrder(
            cluster_id=cluster_id,
            epoch=epoch,
            founding=self._founding(),
            server_id=step.server_id,
            member_id=step.member_id,
            members=tuple(
                (each.server_id or names.get(each.address, step.server_id), each.address)
                for each in inputs.peers
            ),
            token=f"{cluster_id}.{epoch}",
        )
        await self._post(target, MEMBER_PATH, encode(order), ORDER_S)

    async def _conclude(self, before: RaftConfiguration, step: Write) -> None:
        """Write, and tell of what began or ended by it."""
        if not await self._write(before, step.configuration):
            return
        change = before.change
        if change is None:
            if before.servers != step.configuration.servers:
                self._report("raft_configuration_corrected", servers=_words(step.configuration))
            return
        if step.given_up:
            self._note_failure(change)
            self._report(
                "server_change_abandoned",
                kind=change.kind,
                server=_whom(change),
                reason=step.given_up,
            )
        elif step.configuration.change is None:
            self._failures.pop(change.server_id, None)
            self._report("server_change_completed", kind=change.kind, server=_whom(change))

    def _note_failure(self, change: MembershipChange) -> None:
        if change.kind == PROMOTE:
            count = self._failures.get(change.server_id, (0, 0.0))[0] + 1
            self._failures[change.server_id] = count, self._clock.monotonic() + pause_s(count)

    # What others ask of the leader

    async def admit(self, request: JoinRequest) -> Standing:
        """Let a server in as one without a vote; its old entry, or that of the dead, goes first."""
        self._must_lead()
        await self.before_join()
        await self._greet(request.server_id)  # anybody may ask in its name
        async with _deadline(ADMIT_S, f"{request.name} is not admitted yet; ask again"):
            while True:
                inputs = await self._gather_now()
                before = inputs.configuration
                try:
                    after = admission(inputs, request, self._cluster()[0])
                except Error as error:
                    if before.change is None or error.code is not Code.UNAVAILABLE:
                        raise
                    await self._until(lambda: self._stored().change is None, STEP_S)
                    continue
                if after is None:
                    return self._standing(request.server_id, is_member=False)
                if not await self._write(before, after):
                    continue
                if len(after.servers) > len(before.servers):
                    self._report("server_admitted", name=request.name, server=request.server_id)
                going = after.change
                if going is not None and going.kind == REMOVE and not await self._made(going):
                    await asyncio.sleep(RETRY_S)  # given up: what stands in its way may pass

    async def standing(self, request: StandingRequest) -> Standing:
        """How a server stands, and whether the member id it holds is still one."""
        self._must_lead()
        inputs = await self._gather_now()
        ids = {peer.member_id for peer in inputs.peers}
        return self._standing(request.server_id, is_member=request.member_id in ids)

    async def remove(self, server_id: str, *, force: bool = False) -> None:
        """Remove a server as an operator wants it; returns when it is done.

        The leader itself hands over on the way. Raises Error.
        """
        await self._remove(server_id, by=OPERATOR, force=force)

    async def remove_dead(self, server_id: str, silent_since_ns: int) -> None:
        """Remove a server that has not answered since then, in wall time.

        Raises Error, also when it answers again: the wait for another change may be long.
        """
        await self._remove(server_id, by=AUTOPILOT, silent_since_ns=silent_since_ns)

    async def remove_left(self, server_id: str) -> None:
        """Remove a server that has left by its own will. Raises Error, also when it is back."""
        if server_id in self._look().alive:
            raise Error(Code.CONFLICT, f"{server_id} is alive again")
        await self._remove(server_id, by=ITSELF)

    async def _remove(
        self, server_id: str, *, by: str, force: bool = False, silent_since_ns: int = 0
    ) -> None:
        self._must_lead()
        await self._hear_of_parts(server_id)

        def decide(stored: RaftConfiguration) -> RaftConfiguration:
            view = self._look()
            if by == AUTOPILOT and server_id in view.alive:
                raise Error(Code.CONFLICT, f"{server_id} is alive again")
            why = Removal(
                by=by,
                now_ns=self._clock.wall_ns(),
                silent_since_ns=silent_since_ns,
                force=force,
            )
            return with_removal(stored, server_id, view, why)

        change = await self._begin(decide)
        if change is None:
            self._report("server_change_completed", kind=REMOVE, server=server_id)
        elif not await self._made(change):
            raise Error(Code.CONFLICT, f"{server_id} was not removed; the leader's log says why")

    async def _hear_of_parts(self, going: str) -> None:
        """Wait a second while the quorum left hangs on voters that answer and take no part yet."""
        for _ in range(PART_LOOKS):
            if not self._may_take_part_soon(going):
                return
            await asyncio.sleep(STEP_S)

    def _may_take_part_soon(self, going: str) -> bool:
        view = self._look()
        voters = [each.id for each in self._stored().servers if each.voter and each.id != going]
        now, soon = (keeps_quorum(voters, some) for some in (view.taking_part, view.answering))
        return soon and not now

    async def leave(self, server_id: str) -> Standing:
        """A server goes by its own will, unless that would cost the quorum.

        Anybody may ask this in its name, so the server is called and has to say that it leaves.
        Raises Error(CONFLICT) where it does not, or where the quorum needs it.
        """
        self._must_lead()
        if server_id != self._me:
            await self._greet(server_id)
            if server_id not in self._look().leaving:
                raise Error(
                    Code.CONFLICT,
                    f"{server_id} does not say itself that it leaves; to take it out all the same: "
                    "bellcow operator raft remove-peer -peer-id=ID",
                )
        await self._remove(server_id, by=ITSELF)
        return self._standing(server_id, is_member=False)

    def why_no_votes(self) -> str:
        """Why no other server can ever vote beside this one, and what to do; "" where one can."""
        if self._grows():
            return ""
        me = self._look().names.get(self._me, self._me)
        return (
            f"{me} keeps its state in the embedded store, which has one voter; start {me} once "
            'with server { engine = "etcd" }, or with retry_join, so that others can vote'
        )

    async def promote(self, server_id: str) -> None:
        """Write down that a server shall vote; the loop sees to it."""
        self._must_lead()
        if problem := self.why_no_votes():
            raise Error(Code.UNSUPPORTED, problem)
        count, due = self._failures.get(server_id, (0, 0.0))
        if self._clock.monotonic() < due:
            raise Error(Code.UNAVAILABLE, f"promoting {server_id} failed {count} times; later")
        await self._begin(lambda stored: with_promotion(stored, server_id))

    async def demote(self, server_id: str) -> None:
        """Write down that a server shall not vote any more; the loop sees to it."""
        self._must_lead()
        await self._begin(lambda stored: with_demotion(stored, server_id, self._look()))

    async def transfer(self, server_id: str) -> None:
        """Let another voter lead; returns when the consensus has made it lead."""
        self._must_lead()
        if server_id not in self._look().taking_part:
            await self._greet(server_id)
        stored, view = self._stored(), self._look()
        server = find_server(stored, by="id", value=server_id)
        if server_id not in view.taking_part and server.voter:
            raise Error(Code.UNAVAILABLE, f"{server.name} does not answer and cannot lead")
        if stored.change is not None and stored.change.server_id == server_id:
            raise Error(Code.UNAVAILABLE, f"{server.name} is about to change its part; wait")
        try:
            peers = await self._peers.members()
            member = next((p for p in peers if p.server_id == server_id and p.voter), None)
            if member is None:
                raise Error(Code.UNAVAILABLE, f"{server.name} has no vote and cannot lead")
            doubt = f"outcome unknown: leadership is being handed over to {server.name}"
            async with _deadline(ANSWER_S, doubt, Code.UNKNOWN_OUTCOME):
                await self._lead.hand_over(member.member_id)
        except StoreError as error:
            raise Error(Code.UNAVAILABLE, f"leadership was not handed over: {error.told}") from None

    async def hand_on(self) -> None:
        """Let whichever other voter answers lead; Error where there is none."""
        view = self._look()
        heirs = [
            server.id
            for server in self._stored().servers
            if server.voter and server.id != self._me and server.id in view.taking_part
        ]
        if not heirs:
            raise Error(Code.UNAVAILABLE, "no other voter answers")
        await self.transfer(heirs[0])

    async def force_leave(self, name: str, *, prune: bool = False, force: bool = False) -> None:
        """A failed server counts as left and goes out of the configuration.

        Nomad: a name nobody has is no error, and a live server is not put out this way. `force`
        takes a live one out of the configuration, whatever that costs.
        """
        self._must_lead()
        stored, view = self._stored(), self._look()
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
        """A failed server that is out of the configuration counts as one that left."""
        name = self._look().names.get(server_id)
        if name is not None:
            self._greeter.force_leave(name)

    def _forget_departed(self, inputs: Inputs) -> None:
        identity = self._tables.one(CLUSTER)
        for server_id in departed(inputs, identity.cluster_id) if identity else ():
            self.forget(server_id)

    # Parts of them

    def _must_lead(self) -> None:
        if not self._lead.is_leader:
            raise no_leader()

    def _stored(self) -> RaftConfiguration:
        return self._tables.one(RAFT) or RaftConfiguration()

    def _cluster(self) -> tuple[str, int]:
        identity = self._tables.one(CLUSTER)
        if identity is None:
            raise no_leader()
        return identity.cluster_id, self._tables.head.epoch

    async def _gather_now(self) -> Inputs:
        try:
            return await self._gather()
        except StoreError as error:
            raise Error(Code.UNAVAILABLE, f"the servers are not known now: {error.told}") from None

    async def _greet(self, server_id: str) -> None:
        """Ask it once more where it stands: what it said last may be from before its restart."""
        target = self._look().targets.get(server_id)
        if target is not None:
            with contextlib.suppress(Error):
                await self._greeter.join(target.address)

    async def _begin(
        self, decide: Callable[[RaftConfiguration], RaftConfiguration]
    ) -> MembershipChange | None:
        """Write what `decide` makes of the configuration, once no other change is under way.

        Returns the change that the loop has to make now, if there is one.
        """
        async with _deadline(ANSWER_S, "another change of the servers is under way; try again"):
            while True:
                await self._until(lambda: self._stored().change is None)
                before = self._stored()
                after = decide(before)
                if await self._write(before, after):
                    return after.change

    async def _write(self, before: RaftConfiguration, after: RaftConfiguration) -> bool:
        """Commit, if nobody has changed the configuration meanwhile."""
        written: Any = await self._committer.commit(put_setting(RAFT, after, before.modify_index))
        for server in removed_for_dead(before, after) if written.updated else ():
            self._report(
                "server_removed",
                name=server.name,
                server=server.id,
                silent_since=rfc3339_seconds(server.silent_since_ns),
                hint="start it, or a server in its place",
            )
        if written.updated and after.change is not None and before.change is None:
            kind = after.change.kind
            self._report("server_change_started", kind=kind, server=_whom(after.change))
        self.nudge()
        return bool(written.updated)

    async def _made(self, change: MembershipChange) -> bool:
        """Wait until a removal is not under way any more, whoever makes it; whether it is made."""
        doubt = (
            f"outcome unknown: the change ({change.kind} {change.server_id}) is under way; "
            "look at the raft configuration"
        )
        async with _deadline(ANSWER_S, doubt, Code.UNKNOWN_OUTCOME):
            while not await self._until(lambda: not _is_about(self._stored(), change), STEP_S):
                if not self._lead.is_leader and await self._is_out_elsewhere(change):
                    return True
        return all(server.id != change.server_id for server in self._stored().servers)

    async def _is_out_elsewhere(self, change: MembershipChange) -> bool:
        """Ask whoever leads now: a server that is out does not hear of it by its memory."""
        target = self._look().targets.get(self._lead.leader_id)
        if target is None:
            return False
        request = StandingRequest(server_id=change.server_id, member_id=0)
        try:
            answer = await self._post(target, STANDING_PATH, encode(request), CALL_S)
            return not decode(answer, Standing).configured
        except Error:
            return False

    def _standing(self, server_id: str, *, is_member: bool) -> Standing:
        cluster_id, epoch = self._cluster()
        server = next((each for each in self._stored().servers if each.id == server_id), None)
        return Standing(
            cluster_id=cluster_id,
            epoch=epoch,
            founding=self._founding(),
            configured=server is not None,
            voter=server is not None and server.voter,
            is_member=is_member,
            servers=tuple(
                (each, join_host_port(target.address))
                for each, target in self._look().targets.items()
            ),
        )

    async def _post(self, target: Target, path: str, body: bytes, limit_s: float) -> bytes:
        try:
            async with timeout(limit_s):
                return await self._line.post(target, path, body)
        except TimeoutError:
            raise Error(Code.UNAVAILABLE, f"no answer within {limit_s:g} s") from None

    async def _until(self, holds: Callable[[], bool], limit_s: float | None = None) -> bool:
        """Wait until something holds that only a change of the configuration makes so."""
        while not holds():
            if not await self._waiting.changed((RAFT.name,), limit_s):
                return holds()
        return True


@contextlib.asynccontextmanager
async def _deadline(
    limit_s: float, text: str, code: Code = Code.UNAVAILABLE
) -> AsyncIterator[None]:
    """Raise Error with this text when what is inside takes longer."""
    try:
        async with timeout(limit_s):
            yield
    except TimeoutError:
        raise Error(code, text) from None


def _is_about(stored: RaftConfiguration, change: MembershipChange) -> bool:
    now = stored.change
    return now is not None and (now.kind, now.server_id) == (change.kind, change.server_id)


def _whom(change: MembershipChange) -> str:
    """The server that a change is about; of a member that never started only its address."""
    return change.server_id or change.address


def _words(configuration: RaftConfiguration) -> str:
    return " ".join(
        f"{server.id}={'voter' if server.voter else 'non-voter'}"
        for server in configuration.servers
    )


async def _nothing() -> None:
    """Before a join, where nobody prunes the dead."""
