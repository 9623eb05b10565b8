"""Every part of a server on one screen. `agent/build.py` makes one; handlers read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bellcow.acl.tokens import BadTokens, Resolver
    from bellcow.autopilot.loop import Autopilot
    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Peers
    from bellcow.cluster.engine.quota import Quota
    from bellcow.cluster.leadership import Leadership
    from bellcow.cluster.lifecycle.protocol import Lifecycle
    from bellcow.cluster.members.exchange import Exchange
    from bellcow.cluster.members.roster import Roster
    from bellcow.cluster.peers.requests import Membership
    from bellcow.cluster.transport.forward import Forwarder, PeerTransport
    from bellcow.config.model import Settings
    from bellcow.events import Level, Report
    from bellcow.license.keeper import Licenses
    from bellcow.snapshot.service import Snapshots
    from bellcow.state.committer import Committer
    from bellcow.state.confirmed_reads import ConfirmedReads
    from bellcow.state.draft import Draft
    from bellcow.state.mirror import Mirror
    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting

T = TypeVar("T")


class LogTap(Protocol):
    """What handlers and metrics use of the log."""

    def reported(self, event: str) -> int: ...

    def shows(self, level: Level) -> bool: ...

    def follow(
        self, level: Level, *, as_json: bool, heartbeat_s: float
    ) -> AsyncIterator[bytes]: ...


class MetricsView(Protocol):
    """What handlers use of the metrics."""

    prometheus_enabled: bool

    def summary(self) -> dict[str, Any]: ...

    def prometheus(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What only the agent around the server has: how it was started, its log and its metrics."""

    dev: bool
    files: tuple[str, ...]
    advertised: dict[str, str]  # http, rpc, serf as host:port
    log: LogTap
    metrics: MetricsView
    tasks: Callable[[], int]  # the number of running tasks
    closed_peers: bool = False  # the ports between servers listen on loopback only


@dataclass(slots=True)
class Current:
    """The settings in force. A reload replaces them."""

    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The parts, and nothing else: each is built once and lives as long as the process."""

    current: Current
    data_dir: Path | None  # DATA_DIR/server; None keeps everything in memory
    clock: Clock
    report: Report  # one structured event for the log
    facts: Facts  # of the agent around the server

    tables: Tables  # the state in memory
    waiting: Waiting  # requests that wait for a change of a table
    mirror: Mirror  # the only writer of `tables`, from the store
    reads: ConfirmedReads  # reads that a majority confirms
    committer: Committer  # commands in, commits out

    roster: Roster  # the members
    exchange: Exchange  # hello to the others
    transport: PeerTransport  # calls to other servers
    lifecycle: Lifecycle  # what this server is in its cluster
    peers: Peers  # the voters of the consensus
    quota: Quota  # how much of its quota etcd's file uses
    leadership: Leadership  # the leader, and this server's claim
    forwarder: Forwarder  # requests that another server must answer
    membership: Membership  # changes of the raft configuration, on the leader
    autopilot: Autopilot
    resolver: Resolver  # from secrets to rights
    bad_tokens: BadTokens
    licenses: Licenses
    snapshots: Snapshots

    @property
    def settings(self) -> Settings:
        return self.current.settings

    async def commit(self, command: Callable[[Draft], T]) -> T:
        """Run a command in the next commit and return its answer.

        Raises the command's Error, or Error(NO_LEADER) when this server does not lead.
        """
        return await self.committer.commit(command)
