"""Autopilot on the leader: gather, decide, act, every two seconds. The rules are in `rules.py`.

It acts through membership, which makes one change at a time and keeps the quorum.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from bellcow.autopilot.rules import (
    UNKNOWN_STATUS,
    Contact,
    Dead,
    Facts,
    Found,
    Inputs,
    dead_servers,
    observe,
    promotions,
)
from bellcow.deadline import timeout
from bellcow.errors import Code, Error
from bellcow.model.agent import LEFT
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import AUTOPILOT, RAFT
from bellcow.wire import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.model.agent import Member
    from bellcow.state.tables import Tables

ROUND_S = 2.0
CLEAN_UP_S = 10.0  # between two looks for the dead


class Contacts(Protocol):
    """Where the loop learns how the servers are."""

    def members_by_id(self) -> Mapping[str, Member]: ...

    async def contacts(self, server_ids: tuple[str, ...]) -> Mapping[str, Contact]:
        """What each server answers; one that does not answer within a second is left out."""


class Changes(Protocol):
    """How the loop acts. Each raises Error when it may not be so."""

    async def promote(self, server_id: str) -> None: ...

    async def remove(self, server_id: str, *, unless_alive: bool = False) -> None: ...

    def forget(self, server_id: str) -> None:
        """A server that has failed counts as one that left."""


class Autopilot:
    """Holds the latest round of this leadership. `health` is None outside one.

    Without `changes` it only looks.
    """

    def __init__(
        self,
        tables: Tables,
        contacts: Contacts,
        clock: Clock,
        leader_id: str,
        report: Report,
        changes: Changes | None = None,
    ) -> None:
        self._tables = tables
        self._contacts = contacts
        self._clock = clock
        self._leader_id = leader_id
        self._report = report
        self._changes = changes
        self._found: dict[str, Found] = {}
        self._cleaned_at = 0.0
        self._cleaning = asyncio.Lock()
        self._out_at: dict[str, float] = {}  # dead voters, and when they were taken out
        self._told: set[str] = set()  # what need not be said again in this leadership
        self._again = asyncio.Event()
        self.health = ClusterHealth()

    async def run(self) -> None:
        """One leadership. What an earlier one found is forgotten."""
        self.begin_anew()
        try:
            while True:
                self._again.clear()
                await self.round()
                await self._act()
                await self._pause()
        finally:
            self.health = ClusterHealth()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with timeout(ROUND_S):
                await self._again.wait()

    def begin_anew(self) -> None:
        """Forget what was found: there is no health until the next round, which comes at once."""
        self._again.set()
        self._found = {}
        self._told.clear()
        self._cleaned_at = self._clock.monotonic()
        self.health = ClusterHealth()

    async def round(self) -> None:
        inputs = await self._gather()
        outcome = observe(inputs, self._found)
        for server_id, found in outcome.found.items():
            old = self._found.get(server_id)
            if old is not None and old.healthy != found.healthy:
                self._report("health_changed", server=server_id, healthy=found.healthy)
        self._report_cluster(outcome.health)
        self._found = outcome.found
        self.health = outcome.health

    def _report_cluster(self, health: ClusterHealth) -> None:
        if self.health.servers is not None and self.health.healthy != health.healthy:
            self._report(
                "cluster_health_changed",
                healthy=health.healthy,
                failure_tolerance=health.failure_tolerance,
            )

    async def _act(self) -> None:
        """At most one promotion begins a round; the dead go every ten seconds."""
        if self._changes is None:
            return
        inputs = await self._gather()
        for server_id in promotions(inputs, self._found)[:1]:
            await self._promote(self._changes, server_id)
        if self._clock.monotonic() - self._cleaned_at >= CLEAN_UP_S:
            await self.clean_up()

    async def _promote(self, changes: Changes, server_id: str) -> None:
        try:
            await changes.promote(server_id)
        except Error as error:
            if error.code is Code.UNSUPPORTED:
                self._say_once("promotion_impossible", server=server_id, reason=error.message)

    async def clean_up(self) -> None:
        """Take out the dead, one after the other, as far as the limits allow.

        A removal takes seconds, so before each is looked anew: somebody may be back, or gone.
        """
        changes = self._changes
        if changes is None:
            return
        async with self._cleaning:
            self._cleaned_at = self._clock.monotonic()
            tried: set[str] = set()
            while (server_id := await self._next_out(tried)) is not None:
                tried.add(server_id)
                try:
                    await changes.remove(server_id, unless_alive=True)
                except Error as error:
                    self._say_kept(Dead(kept=(server_id,), reason=error.message))
                    return
                changes.forget(server_id)

    async def _next_out(self, tried: set[str]) -> str | None:
        inputs = await self._gather()
        dead = dead_servers(inputs, self._found)
        if dead.kept:
            self._say_kept(dead)
        server_id = next((each for each in dead.out if each not in tried), None)
        if any(each.server.id == server_id and _counts(each) for each in inputs.servers):
            # Before it is done, for it may be done though nobody says so.
            self._out_at[server_id or ""] = self._clock.monotonic()
        return server_id

    def _say_kept(self, dead: Dead) -> None:
        self._say_once("dead_server_kept", servers=" ".join(dead.kept), reason=dead.reason)

    def _say_once(self, event: str, /, **fields: object) -> None:
        text = f"{event} {fields}"
        if text not in self._told:
            self._told.add(text)
            self._report(event, **fields)

    async def _gather(self) -> Inputs:
        head = self._tables.head
        raft = self._tables.one(RAFT) or RaftConfiguration()
        configuration = self._tables.one(AUTOPILOT) or AutopilotConfiguration()
        members = self._contacts.members_by_id()
        contacts = await self._contacts.contacts(tuple(server.id for server in raft.servers))
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
                )
                for server in raft.servers
            ),
            lately_out=self._lately_out(raft, configuration),
        )

    def _lately_out(self, raft: RaftConfiguration, configuration: AutopilotConfiguration) -> int:
        """How many dead voters went within the last stabilization time and are still gone."""
        now, kept_s = self._clock.monotonic(), configuration.server_stabilization_time.ns / NS_PER_S
        self._out_at = {each: at for each, at in self._out_at.items() if now - at < kept_s}
        voters = {server.id for server in raft.servers if server.voter}
        return len(self._out_at.keys() - voters)


def _counts(facts: Facts) -> bool:
    """Whether it is lost by its removal: a voter that did not leave by its own will."""
    return facts.server.voter and facts.serf_status != LEFT


def _status(member: Member | None) -> str:
    return member.status if member else UNKNOWN_STATUS


def _build(member: Member | None) -> str:
    return member.tags.get("build", "") if member else ""


def _is_non_voting(member: Member | None) -> bool:
    return member is not None and member.tags.get("nonvoter") == "1"
