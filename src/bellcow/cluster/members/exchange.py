"""The exchange of hellos: gather the inputs, decide which servers to call, call them, update the
table with their answers.

The rules are in `hearing.py`, `failure.py` and `schedule.py`; a `Transport` carries the hello. The
sender of a received hello was authenticated before.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from bellcow.cluster.members.compose import compose, with_own_status
from bellcow.cluster.members.failure import force_leave, judge, missed, next_verdict
from bellcow.cluster.members.hearing import COPY, hear
from bellcow.cluster.members.no_cluster import HEARD_S, is_wanted, reasons
from bellcow.cluster.members.no_leader import is_led, leaderless
from bellcow.cluster.members.schedule import FAR_S, Target, plan
from bellcow.cluster.members.table import MEMBERS_MAX
from bellcow.deadline import timeout
from bellcow.errors import Code, Error
from bellcow.model.agent import ALIVE
from bellcow.model.hello import decode_hello, encode_hello
from bellcow.throttle import Reminders
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bellcow.clock import Clock
    from bellcow.cluster.members.roster import Roster
    from bellcow.cluster.members.table import Inputs, Note, Outcome
    from bellcow.events import Report
    from bellcow.model.hello import Cluster, Hello, Status

HELLO_PATH = "/v1/internal/hello"
HELLO_BYTES = 1 << 20  # a table of `MEMBERS_MAX` members takes 170 KiB
TIMEOUT_S = 1.0  # for an answer to a hello
ELSEWHERE_S = 2 * FAR_S + TIMEOUT_S  # a refused server calls again within this time


class Transport(Protocol):
    """Sends one message to another server."""

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        """The answer.

        Raises:
            Error: UNAVAILABLE, there is no answer; DENIED, the answering side is not authenticated;
                REFUSED, with the server's own text.
        """


class Exchange:
    """Updates the roster's table: `run` calls other servers, `answer` answers their calls."""

    def __init__(
        self,
        roster: Roster,
        transport: Transport,
        look: Callable[[], Inputs],
        clock: Clock,
        report: Report,
        joins: tuple[tuple[str, int], ...] = (),
        lookup: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
    ) -> None:
        """`joins` are the addresses to join, `lookup` resolves their names.

        Without `lookup` a name counts as an address.
        """
        self._roster = roster
        self._transport = transport
        self._look = look
        self._clock = clock
        self._report = report
        self._reminders = Reminders(clock, report)
        self._joins = joins
        self._lookup = lookup
        self._tried: dict[str, float] = {}
        # For each address to join that answered: is it another server of our region, and which
        # region.
        self._led_home: dict[str, bool] = {}
        self._regions: dict[str, str] = {}
        self._busy: set[str] = set()
        self._duplicates: dict[str, str] = {}  # refusals: another server has our id
        self._elsewhere: dict[str, tuple[float, Cluster]] = {}  # servers refused for their cluster
        self._clocks: dict[str, int] = {}  # `at_ms` of each server's last hello
        self._changed = asyncio.Event()
        self._led_at = self._began = clock.monotonic()  # when a leader was last known

    async def run(self) -> None:
        """Say hello whenever it is due, until the server stops."""
        self._led_at = self._began = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            while True:
                wake_s = self._round(group)
                with contextlib.suppress(TimeoutError):
                    async with timeout(wake_s):
                        await self._changed.wait()
                self._changed.clear()

    def troubles(self) -> Mapping[str, Mapping[str, object]]:
        """Recent reasons why servers are not connected: events with their fields."""
        return self._reminders.latest()

    @property
    def duplicate(self) -> str:
        """The refusal of a server that knows another server with our id; "" without one."""
        return next(iter(self._duplicates.values()), "")

    @property
    def elsewhere(self) -> Mapping[str, Cluster]:
        """Clusters of the servers of our region that were refused lately, by server id."""
        now = self._clock.monotonic()
        return {
            server_id: cluster
            for server_id, (heard, cluster) in self._elsewhere.items()
            if now - heard <= ELSEWHERE_S
        }

    def nudge(self) -> None:
        """Start the next round now, because something changed, such as leadership."""
        self._changed.set()

    def answer(self, hello: Hello) -> bytes:
        """The answer to another server's hello.

        Raises:
            Error: as `hear` does.
        """
        self._hear(hello, answer=False)
        return self._hello(hello.sender.server_id, hello.region)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """All addresses of a name.

        Raises:
            Error: UNAVAILABLE, there are none; the text has the reason.
        """
        return (host,) if self._lookup is None else await self._lookup(host)

    async def join(self, address: tuple[str, int], name: str = "") -> None:
        """Say hello once at `address`.

        `name` is the host name that resolved to it; the certificate may contain only the name.

        Raises:
            Error: no server answered, or it refused.
        """
        await self._greet(address, name)

    def force_leave(self, member_name: str, *, prune: bool = False) -> None:
        """Mark a failed member as left. It lasts if it is done on the leader: see `judge`."""
        now = self._clock.monotonic()
        self._apply(force_leave(self._roster.table, member_name, now, prune=prune))

    async def announce(self, status: Status) -> None:
        """Tell all live servers this one's new status. Takes at most `TIMEOUT_S`."""
        self._roster.table = with_own_status(self._roster.table, status)
        targets = plan(
            self._roster.table, leads=False, joins=(), led_home={}, tried={}, busy=(), now=0.0
        ).targets
        async with asyncio.TaskGroup() as group:
            for target in targets:
                if self._roster.table.known[target.server_id].record.status == ALIVE:
                    group.create_task(self._try(target))

    # One round

    def _round(self, group: asyncio.TaskGroup) -> float:
        """Gather, decide, act; returns the seconds until the next round."""
        inputs, now = self._look(), self._clock.monotonic()
        self._apply(judge(self._roster.table, inputs, now))
        table = self._roster.table
        due = plan(
            table,
            leads=inputs.leads,
            joins=self._joins,
            led_home=self._led_home,
            tried=self._tried,
            busy=self._busy,
            now=now,
            # A removed server learns of its removal from the new leader's beat.
            servers=inputs.servers | inputs.removed,
        )
        for target in due.targets:
            self._tried[target.key] = now
            self._busy.add(target.key)
            group.create_task(self._visit(target), name="hello")
        if len(self._tried) > 2 * len(table.known) + len(self._joins):
            self._forget_tries()
        waited_s = now - self._began
        notes = reasons(table, inputs, self._regions, waited_s, now)
        if is_led(table, inputs, now):
            self._led_at = now
        for note in (*notes, *leaderless(table, inputs, now - self._led_at, now)):
            self._report_note(note)
        wake_s = min(due.wake_s, next_verdict(table, now))
        return min(wake_s, max(0.001, HEARD_S - waited_s)) if waited_s < HEARD_S else wake_s

    def _forget_tries(self) -> None:
        kept = {*self._roster.table.known, *map(join_host_port, self._joins)}
        self._tried = {key: tried for key, tried in self._tried.items() if key in kept}
        self._clocks = {key: at_ms for key, at_ms in self._clocks.items() if key in kept}

    async def _visit(self, target: Target) -> None:
        try:
            await self._try(target)
        finally:
            self._busy.discard(target.key)
            if self._clock.monotonic() - self._tried.get(target.key, 0.0) > TIMEOUT_S / 20:
                self.nudge()  # a round skipped it meanwhile, because it was busy

    async def _try(self, target: Target) -> None:
        try:
            if target.server_id:
                await self._call(target)
                self._duplicates.pop(target.key, None)
                # It may have refused us before its id was known; that address is not called again.
                self._duplicates.pop(join_host_port(target.address), None)
            else:
                await self._call_name(target)
        except Error as error:
            reason = error.message
            if error.code is Code.REFUSED and self._is_stranger(target):
                reason = "no server answers at this address"
            if target.server_id and COPY in reason:
                self._duplicates[target.key] = reason
            self._missed(target, reason, silent=error.code is Code.UNAVAILABLE)
        except Exception as error:  # noqa: BLE001  one server's answer must not end the exchange
            self._missed(target, f"{type(error).__name__}: {error}", silent=False)

    def _is_stranger(self, target: Target) -> bool:
        """Whether others only named this server. A text from its address is not logged."""
        contact = self._roster.table.contacts.get(target.server_id)
        return contact is not None and not contact.heard

    def _missed(self, target: Target, reason: str, *, silent: bool) -> None:
        """Count and report a failed call."""
        if target.server_id:
            self._roster.table = missed(self._roster.table, target.server_id)
        address = join_host_port(target.address)
        if not silent:
            self._reminders.report("hello_failed", address=address, reason=reason)
        elif not target.server_id and self._is_wanted(target):
            self._reminders.report("join_unanswered", address=address, reason=reason)

    def _is_wanted(self, target: Target) -> bool:
        now = self._clock.monotonic()
        table, inputs, waited_s = self._roster.table, self._look(), now - self._began
        return is_wanted(target.address, table, inputs, waited_s, now)

    async def _call_name(self, target: Target) -> None:
        """Say hello at every address of a name to join except our own.

        If only this server answers, the other addresses are reported.

        Raises:
            Error: no server answers.
        """
        host, port = target.address
        itself = self._roster.itself
        found = await self.addresses(host)
        others = [ip for ip in found if (ip, port) != itself.serf] or list(found)
        outcomes = await asyncio.gather(
            *(self._greet((ip, port), host) for ip in others), return_exceptions=True
        )
        for ip, outcome in zip(others, outcomes, strict=True):
            self._note_duplicate((ip, port), outcome)
        hellos = [each for each in outcomes if not isinstance(each, BaseException)]
        faults = [each for each in outcomes if isinstance(each, BaseException)]
        if not hellos and len(others) == len(found):
            raise faults[0]
        home = [each for each in hellos if self._is_another(each)]
        self._led_home[target.key] = bool(home)
        self._regions[target.key] = (home or hellos)[0].region if hellos else itself.region
        if not home:
            for ip, fault in zip(others, outcomes, strict=True):
                if isinstance(fault, Error):
                    at = Target(server_id="", address=(ip, port), region=target.region)
                    self._missed(at, fault.message, silent=fault.code is Code.UNAVAILABLE)

    def _note_duplicate(self, address: tuple[str, int], outcome: Hello | BaseException) -> None:
        if isinstance(outcome, Error) and COPY in outcome.message:
            self._duplicates[join_host_port(address)] = outcome.message
        elif not isinstance(outcome, BaseException):
            self._duplicates.pop(join_host_port(address), None)

    def _is_another(self, hello: Hello) -> bool:
        """Whether the sender is another server of our region."""
        itself = self._roster.itself
        return hello.sender.server_id != itself.server_id and hello.region == itself.region

    async def _greet(self, address: tuple[str, int], name: str) -> Hello:
        """Say hello at one address of a name, to any server there.

        Raises:
            Error: no server answered, or it refused.
        """
        target = Target(server_id="", address=address, region=self._roster.itself.region)
        try:
            return await self._call(target)
        except Error as error:
            if error.code is not Code.DENIED or name in {"", address[0]}:
                raise
            # The certificate may contain only the name.
            return await self._call(msgspec.structs.replace(target, address=(name, address[1])))

    async def _call(self, target: Target) -> Hello:
        body = self._hello(target.server_id, target.region)
        try:
            async with timeout(TIMEOUT_S):
                answer = await self._transport.post(target, HELLO_PATH, body)
        except TimeoutError:
            raise Error(Code.UNAVAILABLE, "no answer within a second") from None
        hello = decode_hello(answer)
        self._hear(hello, answer=True)
        if target.server_id and hello.sender.server_id != target.server_id:
            raise Error(Code.UNAVAILABLE, "another server answers at its address")
        return hello

    # The table

    def _hello(self, server_id: str, region: str) -> bytes:
        """Our hello to a server; `server_id` is "" for an unknown one."""
        table, now = self._roster.table, self._clock.monotonic()
        abroad, echo_ms = region != table.me.itself.region, self._clocks.get(server_id, 0)
        return encode_hello(compose(table, self._look(), now, abroad=abroad, echo_ms=echo_ms))

    def _hear(self, hello: Hello, *, answer: bool) -> None:
        table, inputs, now = self._roster.table, self._look(), self._clock.monotonic()
        server_id = hello.sender.server_id
        try:
            outcome = hear(table, hello, inputs, now, answer=answer)
        except Error:
            self._note_elsewhere(hello, now)
            raise
        self._elsewhere.pop(server_id, None)
        self._apply(outcome)
        self._clocks[server_id] = hello.at_ms

    def _note_elsewhere(self, hello: Hello, now: float) -> None:
        if hello.cluster is None or hello.region != self._roster.itself.region:
            return
        if len(self._elsewhere) >= MEMBERS_MAX:
            self._elsewhere.clear()
        self._elsewhere[hello.sender.server_id] = now, hello.cluster

    def _apply(self, outcome: Outcome) -> None:
        before = self._roster.table
        self._roster.table = outcome.table
        if outcome.table.known is not before.known or outcome.table.doubts.keys() - before.doubts:
            self.nudge()
        for note in outcome.notes:
            self._report_note(note)

    def _report_note(self, note: Note) -> None:
        report = self._reminders.report if note.lasting else self._report
        report(note.event, **note.fields)
