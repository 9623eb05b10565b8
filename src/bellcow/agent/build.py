"""Builds a server from settings: the only place where the parts are connected.

The parts are built in order. Where two parts call each other, the first one gets a `Later` of the
second one; these are all the cycles of the wiring. Simulations build their servers here too, in an
environment of their own.
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
from bellcow.cluster.engine.protocol import Engine, Peers, ReplaceablePeers
from bellcow.cluster.engine.quota import Quota
from bellcow.cluster.leadership import Leadership
from bellcow.cluster.lifecycle.assembly import assemble
from bellcow.cluster.lifecycle.embedded import EmbeddedLifecycle
from bellcow.cluster.members.exchange import Exchange
from bellcow.cluster.members.queries import leader_of_region
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.peers.inputs import see
from bellcow.cluster.peers.leader_state import LeaderState
from bellcow.cluster.peers.requests import Membership
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
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bellcow.agent.log import Log
    from bellcow.agent.metrics import Metrics
    from bellcow.agent.storage import Recover, Storage
    from bellcow.autopilot.loop import Contacts as ServerContacts
    from bellcow.clock import Clock
    from bellcow.cluster.formation.initial_state import Founder
    from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
    from bellcow.cluster.lifecycle.protocol import Lifecycle
    from bellcow.cluster.peers.inputs import ClusterView
    from bellcow.cluster.peers.requests import Greeter
    from bellcow.cluster.transport.forward import PeerTransport
    from bellcow.config import model
    from bellcow.config.addresses import Addresses
    from bellcow.config.load import Loaded
    from bellcow.events import Report
    from bellcow.model.hello import Itself
    from bellcow.store.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a process gives to its server. A simulation gives another one."""

    clock: Clock
    transport: PeerTransport  # to other servers
    lookup: Callable[[str], Awaitable[tuple[str, ...]]]  # all addresses of a name
    report: Report


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
class Others:
    """What the leader's parts know of other servers. All of it comes from hello."""

    view: Callable[[], ClusterView]
    contacts: ServerContacts
    leader: Callable[[], str]  # the id of the leader that other servers name; "" without one
    greeter: Greeter
    nudge: Callable[[], None]  # says hello at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """The claim to lead, and the parts that work while this server leads."""

    leadership: Leadership
    membership: Membership
    autopilot: Autopilot


def build(
    settings: model.Settings,
    *,
    itself: Itself,
    storage: Storage,
    folder: Path | None,
    environment: Environment,
    facts: Facts,
) -> Server:
    """All parts of one server, none of them running yet.

    `folder` is DATA_DIR/server, None for a server that keeps everything in memory.
    """
    clock, report = environment.clock, environment.report
    roster = Roster(itself, clock)
    lifecycle: Later[Lifecycle] = Later()
    exchange: Later[Exchange] = Later()
    leadership: Later[Leadership] = Later()

    def index_of_the_leader() -> int:
        # A non-voter's copy asks the voters itself for commits that it lacks.
        return index_of_leader(roster) if lifecycle().has_member else 0

    state = build_state(storage.store, storage.peers, index_of_the_leader, environment)
    tables, joins = state.tables, join_addresses(settings)
    if storage.member is None or folder is None:
        lifecycle.set(EmbeddedLifecycle(tables))
    else:
        lifecycle.set(
            build_lifecycle(
                storage.member,
                state=state,
                roster=roster,
                exchange=exchange,
                recover=storage.recover,
                joins=bool(joins),
                folder=folder,
                environment=environment,
            )
        )
    exchange.set(
        Exchange(
            roster,
            environment.transport,
            lambda: here_of(lifecycle(), leadership(), tables, clock),
            clock,
            report,
            tuple(dict.fromkeys(joins + lifecycle().known_addresses)),
            environment.lookup,
        )
    )
    leading = build_leading(
        founder_of(settings, itself),
        state=state,
        lifecycle=lifecycle(),
        others=Others(
            view=lambda: see(roster),
            contacts=Contacts(roster, tables, clock),
            leader=lambda: leader_of_region(roster.table, clock.monotonic()),
            greeter=exchange(),
            nudge=exchange().nudge,
        ),
        grows=storage.member is not None,
        environment=environment,
    )
    leadership.set(leading.leadership)
    return Server(
        current=Current(settings),
        data_dir=folder,
        clock=clock,
        report=report,
        facts=facts,
        tables=tables,
        waiting=state.waiting,
        mirror=state.mirror,
        reads=ConfirmedReads(state.store, state.mirror, state.waiting),
        committer=state.committer,
        roster=roster,
        exchange=exchange(),
        transport=environment.transport,
        lifecycle=lifecycle(),
        peers=state.peers,
        quota=Quota(state.peers, QUOTA_BYTES, report),
        leadership=leading.leadership,
        forwarder=Forwarder(
            environment.transport,
            roster,
            lambda: leading.leadership.leader_id,
            lambda: configured_addresses(tables),
        ),
        membership=leading.membership,
        autopilot=leading.autopilot,
        resolver=build_resolver(settings, state, lifecycle()),
        bad_tokens=BadTokens(clock, settings.limits.http_max_bad_tokens),
        licenses=Licenses(tables, clock, settings.license.issuers),
        snapshots=build_snapshots(state, leading.autopilot, folder, environment),
    )


def build_state(
    store: Store | None,
    peers: Peers | None,
    leader_index: Callable[[], int],
    environment: Environment,
) -> State:
    """The store, and the memory that follows it.

    `leader_index` is the index that memory must reach; 0 if there is none.
    """
    tables, waiting = Tables(), Waiting()
    replaceable = ReplaceableStore(store)
    mirror = Mirror(replaceable, tables, waiting, environment.report, leader_index)
    return State(
        tables=tables,
        waiting=waiting,
        store=replaceable,
        peers=ReplaceablePeers(peers),
        mirror=mirror,
        committer=Committer(replaceable, tables, mirror, environment.clock, environment.report),
    )


def build_lifecycle(
    engine: Engine,
    *,
    state: State,
    roster: Roster,
    exchange: Later[Exchange],
    recover: Recover,
    joins: bool,
    folder: Path,
    environment: Environment,
) -> ClusterLifecycle:
    """The lifecycle of a server on etcd. `joins` says whether settings name servers to join."""
    clock, report, transport = environment.clock, environment.report, environment.transport
    voters = Voters(transport, lambda: voters_of(roster), lambda: index_of_leader(roster))
    return assemble(
        folder=folder,
        engine=engine,
        follow=lambda cluster: FollowStore(folder / FOLLOW, cluster, voters, clock, report),
        recover=lambda: recover(roster, exchange()),
        duplicate=lambda: exchange().duplicate,
        elsewhere=lambda: exchange().elsewhere,
        recall=state.mirror.recall,
        roster=roster,
        transport=transport,
        slot=state.store,
        votes=state.peers,
        tables=state.tables,
        joins=joins,
        clock=clock,
        report=report,
    )


def build_leading(
    founder: Founder,
    *,
    state: State,
    lifecycle: Lifecycle,
    others: Others,
    grows: bool,
    environment: Environment,
) -> Leading:
    """The parts that lead. `grows` says whether the engine can have more than one voter."""
    clock, report = environment.clock, environment.report
    autopilot: Later[Autopilot] = Later()

    def leader_changed() -> None:
        others.nudge()
        state.waiting.wake_all()  # requests that wait for this server's commits must look again

    leadership = Leadership(
        store=state.store,
        peers=state.peers,
        mirror=state.mirror,
        tables=state.tables,
        committer=state.committer,
        clock=clock,
        founder=founder,
        report=report,
        agreed_cluster=lifecycle.agreed_cluster,
        elsewhere=others.leader,
        on_change=leader_changed,
    )
    membership = Membership(
        LeaderState(
            me=founder.server_id,
            tables=state.tables,
            waiting=state.waiting,
            committer=state.committer,
            peers=state.peers,
            lead=leadership,
            look=others.view,
            transport=environment.transport,
            clock=clock,
            report=report,
            founding=lambda: founding_of(lifecycle),
        ),
        greeter=others.greeter,
        grows=lambda: grows,
        before_join=lambda: autopilot().clean_up(),
    )
    autopilot.set(
        Autopilot(
            state.tables,
            others.contacts,
            clock,
            founder.server_id,
            report,
            membership,
            state.waiting,
        )
    )
    return Leading(leadership=leadership, membership=membership, autopilot=autopilot())


def build_resolver(settings: model.Settings, state: State, lifecycle: Lifecycle) -> Resolver:
    """The resolver of tokens. A server without a cluster has no state to wait for."""
    return Resolver(
        state.tables,
        enabled=settings.acl.enabled,
        is_known=lambda: state.mirror.loaded.is_set() or lifecycle.cluster is None,
    )


def build_snapshots(
    state: State, autopilot: Autopilot, folder: Path | None, environment: Environment
) -> Snapshots:
    """Saves and restores. After a restore autopilot starts again with the restored state."""
    clock, report = environment.clock, environment.report
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
        on_restored=autopilot.restart,
        report=report,
    )


def facts_of(loaded: Loaded, addresses: Addresses, log: Log, metrics: Metrics) -> Facts:
    """What the agent's process knows: how it was started, its log and its metrics."""
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
