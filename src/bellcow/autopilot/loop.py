"""Autopilot on the leader: gather, decide, act, every two seconds. The rules are in `rules.py`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from bellcow.autopilot.rules import UNKNOWN_STATUS, Contact, Facts, Found, Inputs, observe
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import AUTOPILOT, RAFT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.model.agent import Member
    from bellcow.state.tables import Tables

ROUND_S = 2.0


class Contacts(Protocol):
    """Where the loop learns how the servers are."""

    def members_by_id(self) -> Mapping[str, Member]: ...

    async def contacts(self, server_ids: tuple[str, ...]) -> Mapping[str, Contact]:
        """What each server answers; one that does not answer within a second is left out."""


class Autopilot:
    """Holds the latest round of this leadership. `health` is None outside one."""

    def __init__(
        self,
        tables: Tables,
        contacts: Contacts,
        clock: Clock,
        leader_id: str,
        report: Report,
    ) -> None:
        self._tables = tables
        self._contacts = contacts
        self._clock = clock
        self._leader_id = leader_id
        self._report = report
        self._found: dict[str, Found] = {}
        self.health = ClusterHealth()

    async def run(self) -> None:
        """One leadership. What an earlier one found is forgotten."""
        self.begin_anew()
        try:
            while True:
                await self.round()
                await asyncio.sleep(ROUND_S)
        finally:
            self.health = ClusterHealth()

    def begin_anew(self) -> None:
        """Forget what was found: there is no health until the next round."""
        self._found = {}
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

    async def _gather(self) -> Inputs:
        head = self._tables.head
        raft = self._tables.one(RAFT) or RaftConfiguration()
        members = self._contacts.members_by_id()
        contacts = await self._contacts.contacts(tuple(server.id for server in raft.servers))
        return Inputs(
            now_ns=self._clock.wall_ns(),
            leader_id=self._leader_id,
            leader_term=head.term,
            leader_index=head.index,
            configuration=self._tables.one(AUTOPILOT) or AutopilotConfiguration(),
            servers=tuple(
                Facts(
                    server=server,
                    serf_status=_status(members.get(server.id)),
                    version=_build(members.get(server.id)),
                    contact=contacts.get(server.id),
                )
                for server in raft.servers
            ),
        )


def _status(member: Member | None) -> str:
    return member.status if member else UNKNOWN_STATUS


def _build(member: Member | None) -> str:
    return member.tags.get("build", "") if member else ""
