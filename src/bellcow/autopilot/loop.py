"""Autopilot on the leader: gather, decide, act, every two seconds. The rules are in `rules.py`.

It acts through membership, which makes one change at a time and protects the quorum.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Protocol

import msgspec

from bellcow.autopilot.rules import (
    UNKNOWN_IS_DEAD_AFTER_S,
    UNKNOWN_STATUS,
    Contact,
    Dead,
    Facts,
    Inputs,
    Judged,
    Silence,
    dead_servers,
    observe,
    promotions,
)
from bellcow.deadline import timeout
from bellcow.errors import Code, Error
from bellcow.gocompat.duration import NS_PER_S, Duration
from bellcow.gocompat.time import NEVER
from bellcow.model.agent import LEFT
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import AUTOPILOT, RAFT
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.model.agent import Member
    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting

ROUND_S = 2.0  # Source: raft-autopilot, options.go, DefaultUpdateInterval
_CLUSTER = ""  # stands for the whole cluster, where a server has its id
EARLY_ROUND_S = 0.25  # chosen: while the last answer of a server is from an earlier leadership
# Chosen: twice the silence after which a server fails. A new leader removes no dead server before,
# because its status may be outdated.
SETTLE_S = 10.0


class Contacts(Protocol):
    """What the loop knows of the servers."""

    def members_by_id(self) -> Mapping[str, Member]: ...

    async def contacts(self, server_ids: tuple[str, ...]) -> Mapping[str, Contact]:
        """The latest answer of each server; servers without one are left out."""

    def silences(self) -> Mapping[str, Silence]:
        """The failed servers, by id."""


class Changes(Protocol):
    """The changes that the loop makes. Each coroutine raises Error when its change is refused."""

    def why_no_votes(self) -> str:
        """Why no other server can ever vote in this cluster; "" when one can."""

    async def promote(self, server_id: str) -> None: ...

    async def remove_dead(self, server_id: str, silent_since_ns: int) -> None: ...

    async def remove_left(self, server_id: str) -> None: ...

    def forget(self, server_id: str) -> None:
        """Make a removed server that has failed count as one that left."""


class Autopilot:
    """Judges the servers and acts, on the leader.

    `health` is that of the latest round; its `servers` are None before the first one and on a
    server that does not lead. Without `changes` autopilot only observes.
    """

    is_request = False  # though it waits for changes of tables (`state.waiting.Waiter`)

    def __init__(
        self,
        tables: Tables,
        contacts: Contacts,
        clock: Clock,
        leader_id: str,
        report: Report,
        changes: Changes | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """`waiting` starts a round at once when the raft configuration changes."""
        self._tables = tables
        self._contacts = contacts
        self._clock = clock
        self._leader_id = leader_id
        self._report = report
        self._changes = changes
        self._waiting = waiting
        self._found: dict[str, Judged] = {}
        self._began = 0.0  # when this leadership began, or a restore replaced the state
        self._cleaning = asyncio.Lock()
        self._contacted: dict[str, Contact] = {}  # the answers of the last round
        self._removed_at: dict[str, float] = {}  # dead voters, and when they were removed
        self._unhealthy: set[str] = set()  # servers whose failure was reported
        self._reminders = Reminders(clock, report, math.inf)  # once per leadership
        self._again = asyncio.Event()
        self.health = ClusterHealth()

    async def run(self) -> None:
        """Work for one leadership, without the findings of an earlier one."""
        self.restart()
        try:
            while True:
                self._again.clear()
                if self._waiting is not None:
                    self._waiting.add((RAFT.name,), self)
                await self.round()
                await self._act()
                await self._pause()
        finally:
            if self._waiting is not None:
                self._waiting.discard((RAFT.name,), self)
            self.health = ClusterHealth()

    def wake(self) -> None:
        """Start a round now: the raft configuration has changed."""
        self._again.set()

    async def _pause(self) -> None:
        early = any(contact.is_earlier for contact in self._contacted.values())
        with contextlib.suppress(TimeoutError):
            async with timeout(EARLY_ROUND_S if early else ROUND_S):
                await self._again.wait()

    def restart(self) -> None:
        """Discard all findings, and start a round now. There is no health until it has ended."""
        self._again.set()
        self._found = {}
        self._reminders.forget()
        self._unhealthy.clear()
        self._began = self._clock.monotonic()
        self.health = ClusterHealth()

    async def round(self) -> None:
        inputs = await self._gather()
        self._contacted = {each.server.id: each.contact for each in inputs.servers if each.contact}
        outcome = observe(inputs, self._found)
        for server_id, found in outcome.found.items():
            old = self._found.get(server_id)
            if self._is_reported(server_id, old.healthy if old else None, healthy=found.healthy):
                self._report("health_changed", server=server_id, healthy=found.healthy)
        self._unhealthy &= {*outcome.found, _CLUSTER}
        self._report_cluster(outcome.health)
        self._found = outcome.found
        self.health = outcome.health

    async def last_known(self, leader_id: str) -> ClusterHealth:
        """Health as a server that does not lead sees it; `leader_id` is "" when no server leads.

        A server that answers counts as in contact: only the leader hears from each often enough to
        judge more. `stable_since` is known only for failed servers.
        """
        inputs = await self._gather()
        servers = tuple(
            facts
            if facts.contact is None
            else msgspec.structs.replace(
                facts, contact=msgspec.structs.replace(facts.contact, is_earlier=True)
            )
            for facts in inputs.servers
        )
        seen = msgspec.structs.replace(inputs, leader_id=leader_id, servers=servers)
        failed = {
            each.server.id: _judged_failed(each.silence, inputs.now_ns)
            for each in servers
            if each.silence is not None
        }
        health = observe(seen, failed).health
        names = {each.server.id: each.server.name for each in servers}
        shown = tuple(
            msgspec.structs.replace(
                each,
                name=names[each.id],
                stable_since=each.stable_since if each.id in failed else NEVER,
            )
            for each in health.servers or ()
        )
        return msgspec.structs.replace(health, servers=shown)

    def _report_cluster(self, health: ClusterHealth) -> None:
        before = None if self.health.servers is None else self.health.healthy
        if self._is_reported(_CLUSTER, before, healthy=health.healthy):
            self._report(
                "cluster_health_changed",
                healthy=health.healthy,
                failure_tolerance=health.failure_tolerance,
            )

    def _is_reported(self, whose: str, before: bool | None, *, healthy: bool) -> bool:
        """Whether to report a change of health: a recovery only if the failure was reported."""
        if healthy:
            was_reported = whose in self._unhealthy
            self._unhealthy.discard(whose)
            return was_reported
        if before:
            self._unhealthy.add(whose)
        return bool(before)

    async def _act(self) -> None:
        """Start at most one promotion, then remove the dead."""
        if self._changes is None:
            return
        inputs = await self._gather()
        for server_id in promotions(inputs, self._found)[:1]:
            await self._promote(self._changes, server_id)
        if self._clock.monotonic() - self._began >= SETTLE_S:
            await self.clean_up()

    async def _promote(self, changes: Changes, server_id: str) -> None:
        try:
            await changes.promote(server_id)
        except Error as error:
            if error.code is Code.UNSUPPORTED:
                self._reminders.report(
                    "promotion_impossible", server=server_id, reason=error.message
                )

    async def clean_up(self) -> None:
        """Remove dead servers, one after the other, as far as the limits allow.

        A removal takes seconds, so the inputs are gathered again before each one.
        """
        changes = self._changes
        if changes is None:
            return
        async with self._cleaning:
            tried: set[str] = set()
            while (facts := await self._next_to_remove(tried)) is not None:
                server_id = facts.server.id
                tried.add(server_id)
                try:
                    await self._remove(changes, facts)
                except Error as error:
                    if self._is_configured(server_id):  # no other caller has removed it meanwhile
                        self._report_kept(Dead(kept=(server_id,), reason=error.message))
                    return
                changes.forget(server_id)

    async def _remove(self, changes: Changes, facts: Facts) -> None:
        if facts.serf_status == LEFT:
            await changes.remove_left(facts.server.id)
            return
        silent_s = facts.silence.silent_s if facts.silence else UNKNOWN_IS_DEAD_AFTER_S
        silent_since_ns = self._clock.wall_ns() - round(silent_s * NS_PER_S)
        await changes.remove_dead(facts.server.id, silent_since_ns)

    def _is_configured(self, server_id: str) -> bool:
        raft = self._tables.one(RAFT) or RaftConfiguration()
        return any(server.id == server_id for server in raft.servers)

    async def _next_to_remove(self, tried: set[str]) -> Facts | None:
        inputs = await self._gather()
        dead = dead_servers(inputs, self._found)
        if dead.kept:
            self._report_kept(dead)
        facts = {each.server.id: each for each in inputs.servers}
        out = next((facts[each] for each in dead.out if each not in tried), None)
        if out is not None and _counts(out):
            # Count it before the removal, which may succeed though its answer is lost.
            self._removed_at[out.server.id] = self._clock.monotonic()
        return out

    def _report_kept(self, dead: Dead) -> None:
        self._reminders.report(
            "dead_server_not_removed", servers=" ".join(dead.kept), reason=dead.reason
        )

    async def _gather(self) -> Inputs:
        head = self._tables.head
        raft = self._tables.one(RAFT) or RaftConfiguration()
        configuration = self._tables.one(AUTOPILOT) or AutopilotConfiguration()
        members = self._contacts.members_by_id()
        answers = await self._contacts.contacts(tuple(server.id for server in raft.servers))
        contacts = {each: self._of_this_leadership(contact) for each, contact in answers.items()}
        silences = self._contacts.silences()
        return Inputs(
            now_ns=self._clock.wall_ns(),
            leader_id=self._leader_id,
            leader_term=head.term,
            leader_index=head.index,
            configuration=configuration,
            servers=tuple(
                Facts(
                    server=server,
                    serf_status=_status(members.get(server.id)),
                    version=_build(members.get(server.id)),
                    non_voting=_is_non_voting(members.get(server.id)),
                    contact=contacts.get(server.id),
                    silence=silences.get(server.id),
                )
                for server in raft.servers
            ),
            recent_removals=self._recent_removals(raft, configuration),
            removed=raft.removed,
            no_votes=self._changes.why_no_votes() if self._changes else "",
        )

    def _of_this_leadership(self, contact: Contact) -> Contact:
        """The contact, no older than this leadership: before that, another server led."""
        led = Duration.seconds(self._clock.monotonic() - self._began)
        if contact.last_contact <= led:
            return contact
        return msgspec.structs.replace(contact, last_contact=led, is_earlier=True)

    def _recent_removals(
        self, raft: RaftConfiguration, configuration: AutopilotConfiguration
    ) -> int:
        """How many dead voters were removed within the last stabilization time and are not back."""
        now, kept_s = self._clock.monotonic(), configuration.server_stabilization_time.ns / NS_PER_S
        self._removed_at = {each: at for each, at in self._removed_at.items() if now - at < kept_s}
        voters = {server.id for server in raft.servers if server.voter}
        return len(self._removed_at.keys() - voters)


def _judged_failed(silence: Silence, now_ns: int) -> Judged:
    return Judged(healthy=False, since_ns=now_ns - round(silence.failed_s * NS_PER_S))


def _counts(facts: Facts) -> bool:
    """Whether its removal counts against the quorum: it is a voter that did not leave by itself."""
    return facts.server.voter and facts.serf_status != LEFT


def _status(member: Member | None) -> str:
    return member.status if member else UNKNOWN_STATUS


def _build(member: Member | None) -> str:
    return member.tags.get("build", "") if member else ""


def _is_non_voting(member: Member | None) -> bool:
    return member is not None and member.tags.get("nonvoter") == "1"
