"""Autopilot's settings, and the health of servers."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from bellcow.errors import Error, invalid
from bellcow.gocompat.duration import Duration
from bellcow.gocompat.time import NEVER
from bellcow.model.bounds import counts_problem
from bellcow.wire import Wire


class AutopilotConfiguration(Wire, frozen=True, kw_only=True):
    """Autopilot's settings. Source of the defaults: Nomad's API page "Operator HTTP API".

    Nomad: this value has an encoder of its own, hence this field order.
    """

    last_contact_threshold: Duration = Duration(200_000_000)
    server_stabilization_time: Duration = Duration(10_000_000_000)
    cleanup_dead_servers: bool = True
    max_trailing_logs: int = 250
    min_quorum: int = 0
    enable_redundancy_zones: bool = False
    disable_upgrade_migration: bool = False
    enable_custom_upgrades: bool = False
    create_index: int = 0
    modify_index: int = 0

    GO_TYPE: ClassVar[str] = (
        "struct { LastContactThreshold string; ServerStabilizationTime string; *api.Alias }"
    )
    GO_STRUCT: ClassVar[str] = ""
    GO_FIELD_TYPES: ClassVar[dict[str, str]] = {"MinQuorum": "uint"}

    def problem(self) -> Error | None:
        """The refusal of these settings, naming the field; None when they are valid."""
        if self.last_contact_threshold.ns <= 0:
            return invalid(
                "LastContactThreshold must be longer than zero, or no server could be healthy; "
                f"got {self.last_contact_threshold}"
            )
        if self.server_stabilization_time.ns < 0:
            return invalid(
                "ServerStabilizationTime must not be negative; "
                f"got {self.server_stabilization_time}"
            )
        return counts_problem(MaxTrailingLogs=self.max_trailing_logs, MinQuorum=self.min_quorum)


class ServerHealth(Wire, frozen=True, kw_only=True):
    """The health of one server as autopilot last found it.

    Nomad: an encoder of its own, hence this field order. When unknown, `last_contact` is -1 ns,
    `last_term` and `last_index` are 0 and `stable_since` is the year 1. `no_vote`, which Nomad does
    not have, says why a server will never become a voter.
    """

    last_contact: Duration = Duration(-1)
    id: str
    name: str = ""
    address: str
    serf_status: str = "none"
    version: str = ""
    leader: bool = False
    last_term: int = 0
    last_index: int = 0
    healthy: bool = False
    voter: bool = False
    stable_since: str = NEVER
    no_vote: str | msgspec.UnsetType = msgspec.UNSET


class RemovedReply(Wire, frozen=True, kw_only=True):
    """A server that was removed and is not back. Times are RFC 3339, UTC.

    `by` is `autopilot`, `operator` or `itself`. `missed` is true for a voter that had stopped
    answering, while there are fewer voters than before. `silent_since` is sent for such a server.
    """

    address: str
    by: str
    id: str
    missed: bool
    name: str
    removed: str
    silent_since: str | msgspec.UnsetType = msgspec.UNSET
    voter: bool
    voters_before: int


class ClusterHealth(Wire, frozen=True, kw_only=True):
    """The health of the cluster. `servers` is None before the first round of a new leader.

    `removed`, which Nomad does not have, lists servers that were removed within a day and are not
    back, the latest last; it is left out when there are none.
    """

    failure_tolerance: int = 0
    healthy: bool = False
    leader: str = ""
    servers: tuple[ServerHealth, ...] | None = None
    voters: tuple[str, ...] = ()
    removed: tuple[RemovedReply, ...] | msgspec.UnsetType = msgspec.UNSET
