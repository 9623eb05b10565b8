"""Builds a server from settings: the only place where the parts are connected.

The parts are built in order. Where two parts call each other, the first one gets a `Later` of the
second one; these are all the cycles of the wiring.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bellcow.acl.tokens import BadTokens, Resolver
from bellcow.agent.cluster_views import (
    Contacts,
    configured_addresses,
    founding_of,
    here_of,
    index_of_leader,
    voters_of,
)
from bellcow.agent.data_dir import SNAPSHOTS
from bellcow.agent.identity import founder_of
from bellcow.agent.later import Later
from bellcow.autopilot.loop import Autopilot
from bellcow.cluster.datadir import FOLLOW
from bellcow.cluster.engine.protocol import Engine, ReplaceablePeers
from bellcow.cluster.engine.quota import Quota
from bellcow.cluster.leadership import Leadership
from bellcow.cluster.lifecycle.assembly import assemble
from bellcow.cluster.lifecycle.embedded import EmbeddedLifecycle
from bellcow.cluster.members.exchange import Exchange
from bellcow.cluster.members.lookup import Lookups
from bellcow.cluster.members.queries import leader_of_region
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.peers.inputs import see
from bellcow.cluster.peers.leader_state import LeaderState
from bellcow.cluster.peers.requests import Membership
from bellcow.cluster.transport.client import PeerClient
from bellcow.cluster.transport.forward import Forwarder
from bellcow.cluster.transport.replication import Voters
from bellcow.config.derive import (
    join_addresses,
)
from bellcow.config.peer_ports import are_closed
from bellcow.etcd.flags import QUOTA_BYTES
from bellcow.license.keeper import Licenses
from bellcow.server import Current, Facts, Server
from bellcow.snapshot.restore import Restorer
from bellcow.snapshot.service import Snapshots
from bellcow.state.committer import Committer
from bellcow.state.confirmed_reads import ConfirmedReads
from bellcow.state.mirror import Mirror
from bellcow.state.tables import Tables
from bellcow.state.waiting import Waiting
from bellcow.store.follow import FollowStore
from bellcow.store.replaceable import ReplaceableStore
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.agent.log import Log
    from bellcow.agent.metrics import Metrics
    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.agent.storage import Recover, Storage
    from bellcow.clock import Clock
    from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
    from bellcow.cluster.lifecycle.protocol import Lifecycle
    from bellcow.config import model
    from bellcow.config.addresses import Addresses
    from bellcow.config.load import Loaded
    from bellcow.events import Report
    from bellcow.model.hello import Itself


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The store, and the memory that follows it."""

    tables: Tables
    waiting: Waiting
    store: ReplaceableStore
    peers: ReplaceablePeers
    mirror: Mirror
    committer: Committer


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterParts:
    """The parts that connect this server with others."""

    line: PeerClient
    lifecycle: Lifecycle
    leadership: Leadership
    exchange: Exchange
    forwarder: Forwarder
    membership: Membership
    autopilot: Autopilot


def build(
    loaded: Loaded,
    *,
    addresses: Addresses,
    itself: Itself,
    storage: Storage,
    security: PeerSecurity,
    folder: Path | None,
    clock: Clock,
    log: Log,
    metrics: Metrics,
) -> Server:
    """All parts of one server, none of them running yet.

    `folder` is DATA_DIR/server, None for a server that keeps everything in memory.
    """
    settings = loaded.settings
    roster = Roster(itself, clock)
    lifecycle: Later[Lifecycle] = Later()
    state = build_state(storage, roster, lifecycle, clock, log.report)
    cluster = build_cluster(
        settings,
        state=state,
        roster=roster,
        lifecycle=lifecycle,
        storage=storage,
        security=security,
        folder=folder,
        clock=clock,
        report=log.report,
    )
    return Server(
        current=Current(settings),
        data_dir=folder,
        clock=clock,
        report=log.report,
        facts=_facts(loaded, addresses, log, metrics),
        tables=state.tables,
        waiting=state.waiting,
        mirror=state.mirror,
        reads=ConfirmedReads(state.store, state.mirror, state.waiting),
        committer=state.committer,
        roster=roster,
        exchange=cluster.exchange,
        line=cluster.line,
        lifecycle=cluster.lifecycle,
        peers=state.peers,
        room=Quota(state.peers, QUOTA_BYTES, log.report),
        leadership=cluster.leadership,
        forwarder=cluster.forwarder,
        membership=cluster.membership,
        autopilot=cluster.autopilot,
        resolver=build_resolver(settings, state, cluster.lifecycle),
        bad_tokens=BadTokens(clock, settings.limits.http_max_bad_tokens),
        licenses=Licenses(state.tables, clock, settings.license.issuers),
        snapshots=build_snapshots(state, cluster.autopilot, folder, clock, log.report),
    )


def build_state(
    storage: Storage, roster: Roster, lifecycle: Later[Lifecycle], clock: Clock, report: Report
) -> State:
    """The store, and the memory that follows it."""
    tables, waiting = Tables(), Waiting()
    store, peers = ReplaceableStore(storage.store), ReplaceablePeers(storage.peers)

    def index_of_the_leader() -> int:
        # A non-voter's copy asks the voters itself for commits that it lacks.
        return index_of_leader(roster) if lifecycle().has_member else 0

    mirror = Mirror(store, tables, waiting, report, leader_index=index_of_the_leader)
    return State(
        tables=tables,
        waiting=waiting,
        store=store,
        peers=peers,
        mirror=mirror,
        committer=Committer(store, tables, mirror, clock, report),
    )


def build_cluster(
    settings: model.Settings,
    *,
    state: State,
    roster: Roster,
    lifecycle: Later[Lifecycle],
    storage: Storage,
    security: PeerSecurity,
    folder: Path | None,
    clock: Clock,
    report: Report,
) -> ClusterParts:
    """The parts that connect this server with others. Sets `lifecycle`."""
    tables, itself = state.tables, roster.itself
    line = PeerClient(tls=security.call_with, names=security.gate.names)
    exchange: Later[Exchange] = Later()
    autopilot: Later[Autopilot] = Later()
    joins = join_addresses(settings)
    if storage.member is None or folder is None:
        lifecycle.set(EmbeddedLifecycle(tables))
    else:
        lifecycle.set(
            build_lifecycle(
                storage.member,
                state=state,
                roster=roster,
                line=line,
                exchange=exchange,
                recover=storage.recover,
                joins=bool(joins),
                folder=folder,
                clock=clock,
                report=report,
            )
        )

    def leader_changed() -> None:
        exchange().nudge()
        state.waiting.wake_all()  # requests that wait for this server's commits must look again

    leadership = Leadership(
        store=state.store,
        peers=state.peers,
        mirror=state.mirror,
        tables=tables,
        committer=state.committer,
        clock=clock,
        founder=founder_of(settings, itself),
        report=report,
        charter=lifecycle().charter,
        elsewhere=lambda: leader_of_region(roster.table, clock.monotonic()),
        on_change=leader_changed,
    )
    exchange.set(
        Exchange(
            roster,
            line,
            lambda: here_of(lifecycle(), leadership, tables, clock),
            clock,
            report,
            tuple(dict.fromkeys(joins + lifecycle().known_addresses)),
            Lookups().addresses,
        )
    )
    membership = Membership(
        LeaderState(
            me=itself.server_id,
            tables=tables,
            waiting=state.waiting,
            committer=state.committer,
            peers=state.peers,
            lead=leadership,
            look=lambda: see(roster),
            line=line,
            clock=clock,
            report=report,
            founding=lambda: founding_of(lifecycle()),
        ),
        greeter=exchange(),
        grows=lambda: storage.member is not None,
        before_join=lambda: autopilot().clean_up(),
    )
    autopilot.set(
        Autopilot(
            tables,
            Contacts(roster, tables, clock),
            clock,
            itself.server_id,
            report,
            membership,
            state.waiting,
        )
    )
    return ClusterParts(
        line=line,
        lifecycle=lifecycle(),
        leadership=leadership,
        exchange=exchange(),
        forwarder=Forwarder(
            line, roster, lambda: leadership.leader_id, lambda: configured_addresses(tables)
        ),
        membership=membership,
        autopilot=autopilot(),
    )


def build_lifecycle(
    engine: Engine,
    *,
    state: State,
    roster: Roster,
    line: PeerClient,
    exchange: Later[Exchange],
    recover: Recover,
    joins: bool,
    folder: Path,
    clock: Clock,
    report: Report,
) -> ClusterLifecycle:
    """The lifecycle of a server on etcd. `joins` says whether settings name servers to join."""
    voters = Voters(line, lambda: voters_of(roster), lambda: index_of_leader(roster))
    return assemble(
        folder=folder,
        engine=engine,
        follow=lambda cluster: FollowStore(folder / FOLLOW, cluster, voters, clock, report),
        recover=lambda: recover(roster, exchange()),
        duplicate=lambda: exchange().twin,
        elsewhere=lambda: exchange().elsewhere,
        recall=state.mirror.recall,
        roster=roster,
        line=line,
        slot=state.store,
        votes=state.peers,
        tables=state.tables,
        joins=joins,
        clock=clock,
        report=report,
    )


def build_resolver(settings: model.Settings, state: State, lifecycle: Lifecycle) -> Resolver:
    """The resolver of tokens. A server without a cluster has no state to wait for."""
    return Resolver(
        state.tables,
        enabled=settings.acl.enabled,
        is_known=lambda: state.mirror.loaded.is_set() or lifecycle.cluster is None,
    )


def build_snapshots(
    state: State, autopilot: Autopilot, folder: Path | None, clock: Clock, report: Report
) -> Snapshots:
    """Saves and restores. After a restore autopilot starts again with the restored state."""
    archives = folder / SNAPSHOTS if folder else None
    restorer = Restorer(
        store=state.store,
        tables=state.tables,
        committer=state.committer,
        clock=clock,
        folder=archives,
        report=report,
    )
    return Snapshots(
        tables=state.tables,
        clock=clock,
        folder=archives,
        restorer=restorer,
        on_restored=autopilot.begin_anew,
        report=report,
    )


def _facts(loaded: Loaded, addresses: Addresses, log: Log, metrics: Metrics) -> Facts:
    return Facts(
        dev=loaded.dev,
        files=loaded.files,
        advertised={
            "http": join_host_port(addresses.http_adv),
            "rpc": join_host_port(addresses.rpc_adv),
            "serf": join_host_port(addresses.serf_adv),
        },
        log=log,
        metrics=metrics,
        tasks=lambda: len(asyncio.all_tasks()),
        closed_peers=are_closed(loaded.settings, addresses),
    )
