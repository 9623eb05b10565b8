"""Builds a server from settings: the only place where parts meet. Reads top to bottom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

import bellcow
from bellcow.acl.hashing import namespace_hash
from bellcow.acl.tokens import BadTokens, Resolver
from bellcow.agent.data_dir import SNAPSHOTS
from bellcow.autopilot.loop import Autopilot
from bellcow.autopilot.rules import Contact, Silence
from bellcow.cluster.datadir import FOLLOW
from bellcow.cluster.engine.protocol import ReplaceablePeers
from bellcow.cluster.engine.quota import Quota
from bellcow.cluster.formation.initial_state import Founder
from bellcow.cluster.leadership import Leadership
from bellcow.cluster.lifecycle.assembly import assemble
from bellcow.cluster.lifecycle.embedded import EmbeddedLifecycle
from bellcow.cluster.members.exchange import Exchange
from bellcow.cluster.members.lookup import Lookups
from bellcow.cluster.members.queries import leader_of_region
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.schedule import Target, target_of
from bellcow.cluster.members.table import Inputs
from bellcow.cluster.peers.inputs import see
from bellcow.cluster.peers.leader_state import LeaderState
from bellcow.cluster.peers.quorum import RAFT_PROTOCOL
from bellcow.cluster.peers.requests import Membership
from bellcow.cluster.transport.client import PeerClient
from bellcow.cluster.transport.forward import Forwarder
from bellcow.cluster.transport.replication import Voters
from bellcow.config.derive import (
    first_autopilot_configuration,
    first_scheduler_configuration,
    join_addresses,
)
from bellcow.config.peer_ports import are_closed, are_open
from bellcow.etcd.flags import QUOTA_BYTES
from bellcow.license.keeper import Licenses
from bellcow.model.agent import FAILED
from bellcow.model.hello import Itself, RaftView
from bellcow.model.namespace import DEFAULT, Namespace
from bellcow.server import Current, Facts, Server
from bellcow.snapshot.restore import Restorer
from bellcow.snapshot.service import Snapshots
from bellcow.state.committer import Committer
from bellcow.state.confirmed_reads import ConfirmedReads
from bellcow.state.mirror import Mirror
from bellcow.state.tables import RAFT, Tables
from bellcow.state.waiting import Waiting
from bellcow.store.follow import FollowStore
from bellcow.store.replaceable import ReplaceableStore
from bellcow.wire import Duration, join_host_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bellcow.agent.log import Log
    from bellcow.agent.metrics import Metrics
    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.agent.storage import Storage
    from bellcow.clock import Clock
    from bellcow.cluster.lifecycle.protocol import Lifecycle
    from bellcow.config import model
    from bellcow.config.addresses import Addresses
    from bellcow.config.load import Loaded
    from bellcow.model.agent import Member
    from bellcow.model.hello import Role


NOBODY: frozenset[str] = frozenset()


def itself_of(settings: model.Settings, addresses: Addresses, server_id: str) -> Itself:
    """What this server says of itself."""
    return Itself(
        server_id=server_id,
        name=settings.name,
        region=settings.region,
        datacenter=settings.datacenter,
        build=bellcow.BUILD,
        version=bellcow.__version__,
        rpc=addresses.rpc_adv,
        serf=addresses.serf_adv,
        raft_protocol=RAFT_PROTOCOL,
        bootstrap_expect=settings.server.bootstrap_expect,
        non_voting=settings.server.non_voting_server,
        zone=settings.server.redundancy_zone,
        upgrade_version=settings.server.upgrade_version,
        acl=settings.acl.enabled,
        open_peers=are_open(settings, addresses),
    )


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
    """All parts of one server, none of them running yet."""
    settings = loaded.settings
    tables = Tables()
    waiting = Waiting()
    store, peers = ReplaceableStore(storage.store), ReplaceablePeers(storage.peers)
    mirror = Mirror(
        store,
        tables,
        waiting,
        log.report,
        # A copy is told of what is missing by who asks for it.
        told=lambda: index_of_leader(roster) if lifecycle.has_member else 0,
    )
    committer = Committer(store, tables, mirror, clock, log.report)
    roster = Roster(itself, clock)
    line = PeerClient(tls=security.call_with, names=security.gate.names)
    joins = join_addresses(settings)
    lifecycle: Lifecycle = EmbeddedLifecycle(tables)
    if storage.member is not None and folder is not None:
        lifecycle = assemble(
            folder=folder,
            engine=storage.member,
            follow=lambda cluster: FollowStore(
                folder / FOLLOW,
                cluster,
                Voters(line, lambda: voters_of(roster), lambda: index_of_leader(roster)),
                clock,
                log.report,
            ),
            recover=lambda: storage.recover(roster, exchange),
            duplicate=lambda: exchange.twin,
            elsewhere=lambda: exchange.elsewhere,
            recall=mirror.recall,
            roster=roster,
            line=line,
            slot=store,
            votes=peers,
            tables=tables,
            joins=bool(joins),
            clock=clock,
            report=log.report,
        )
        joins += lifecycle.known_addresses
    leadership = Leadership(
        store=store,
        peers=peers,
        mirror=mirror,
        tables=tables,
        committer=committer,
        clock=clock,
        founder=founder_of(settings, itself),
        report=log.report,
        charter=lifecycle.charter,
        elsewhere=lambda: leader_of_region(roster.table, clock.monotonic()),
    )
    exchange = Exchange(
        roster,
        line,
        lambda: here_of(lifecycle, leadership, tables, clock),
        clock,
        log.report,
        tuple(dict.fromkeys(joins)),
        Lookups().addresses,
    )

    def leader_changed() -> None:
        exchange.nudge()
        waiting.wake_all()  # who waited for what this server led is told

    leadership.on_change = leader_changed
    forwarder = Forwarder(
        line, roster, lambda: leadership.leader_id, lambda: configured_addresses(tables)
    )
    membership = Membership(
        LeaderState(
            me=itself.server_id,
            tables=tables,
            waiting=waiting,
            committer=committer,
            peers=peers,
            lead=leadership,
            look=lambda: see(roster),
            line=line,
            clock=clock,
            report=log.report,
            founding=lambda: lifecycle.cluster.founding if lifecycle.cluster else "",
        ),
        greeter=exchange,
        grows=lambda: storage.member is not None,
    )
    contacts = Contacts(roster, tables, clock)
    autopilot = Autopilot(
        tables, contacts, clock, itself.server_id, log.report, membership, waiting
    )
    membership.before_join = autopilot.clean_up
    snapshots_folder = folder / SNAPSHOTS if folder else None
    restorer = Restorer(
        store=store,
        tables=tables,
        committer=committer,
        clock=clock,
        folder=snapshots_folder,
        report=log.report,
    )
    snapshots = Snapshots(
        tables=tables,
        clock=clock,
        folder=snapshots_folder,
        restorer=restorer,
        on_restored=autopilot.begin_anew,
        report=log.report,
    )
    return Server(
        current=Current(settings),
        data_dir=folder,
        clock=clock,
        report=log.report,
        facts=Facts(
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
            closed_peers=are_closed(settings, addresses),
        ),
        tables=tables,
        waiting=waiting,
        mirror=mirror,
        reads=ConfirmedReads(store, mirror, waiting),
        committer=committer,
        roster=roster,
        exchange=exchange,
        line=line,
        lifecycle=lifecycle,
        peers=peers,
        room=Quota(peers, QUOTA_BYTES, log.report),
        leadership=leadership,
        forwarder=forwarder,
        membership=membership,
        autopilot=autopilot,
        resolver=Resolver(
            tables,
            enabled=settings.acl.enabled,
            is_known=lambda: mirror.loaded.is_set() or lifecycle.cluster is None,
        ),
        bad_tokens=BadTokens(clock, settings.limits.http_max_bad_tokens),
        licenses=Licenses(tables, clock, settings.license.issuers),
        snapshots=snapshots,
    )


def here_of(lifecycle: Lifecycle, leadership: Leadership, tables: Tables, clock: Clock) -> Inputs:
    """Where this server stands, as the others are told, and by what it judges what they say."""
    cluster, head, configuration = lifecycle.cluster, tables.head, tables.one(RAFT)
    role: Role = "follower" if lifecycle.has_member else "none"
    return Inputs(
        cluster=cluster,
        raft=RaftView(
            role="leader" if leadership.is_leader else role,
            term=head.term,
            index=head.index,
            commit=head.commit,
            works=leadership.member_answers,
        ),
        claimant=head.leader,
        member_term=leadership.member_term if lifecycle.has_member else 0,
        servers=frozenset(each.id for each in configuration.servers) if configuration else NOBODY,
        voters=tuple(e for e in configuration.servers if e.voter) if configuration else (),
        removed=frozenset(e.id for e in configuration.removed) if configuration else NOBODY,
        wall_ns=clock.wall_ns(),
    )


def configured_addresses(tables: Tables) -> dict[str, str]:
    """Addresses of the raft configuration by server id; none while it is not known."""
    configuration = tables.one(RAFT)
    return {each.id: each.address for each in configuration.servers} if configuration else {}


def voters_of(roster: Roster) -> list[Target]:
    """Live servers with a vote; the leader, who has enough to do, comes last.

    Not by when they last answered: who does not lead hears of each but once a second.
    """
    table, alive = roster.table, roster.alive()
    voters = [
        (contact.raft.role == "leader", target_of(table.known[server_id].record))
        for server_id, contact in table.contacts.items()
        if contact.raft is not None and contact.raft.role != "none" and server_id in alive
    ]
    return [target for _, target in sorted(voters, key=lambda voter: voter[0])]


def index_of_leader(roster: Roster) -> int:
    """The index at which the leader stood when it last spoke to us; 0 for the leader itself."""
    leader = roster.table.leader
    return leader.index if leader is not None else 0


def founder_of(settings: model.Settings, itself: Itself) -> Founder:
    """What this server writes if it founds a cluster: the settings of its own file."""
    namespace = Namespace(name=DEFAULT, description="Default shared namespace")
    return Founder(
        server_id=itself.server_id,
        name=itself.member_name,
        address=itself.rpc_address,
        region=settings.region,
        autopilot=first_autopilot_configuration(settings),
        scheduler=first_scheduler_configuration(settings),
        default_namespace=msgspec.structs.replace(namespace, hash=namespace_hash(namespace)),
    )


class Contacts:
    """How the servers are: the others by what they answer, this one always in contact."""

    def __init__(self, roster: Roster, tables: Tables, clock: Clock) -> None:
        self._roster = roster
        self._tables = tables
        self._clock = clock

    def members_by_id(self) -> Mapping[str, Member]:
        return {member.tags["id"]: member for member in self._roster.members()}

    def silences(self) -> Mapping[str, Silence]:
        now, table = self._clock.monotonic(), self._roster.table
        return {
            server_id: Silence(now - known.since, now - table.contacts[server_id].answered)
            for server_id, known in table.known.items()
            if known.record.status == FAILED
        }

    async def contacts(self, server_ids: tuple[str, ...]) -> Mapping[str, Contact]:
        head = self._tables.head
        found = {
            server_id: Contact(
                last_contact=Duration.seconds(age_s),
                last_term=answered.raft.term,
                last_index=answered.raft.index,
            )
            for server_id, (age_s, answered) in self._roster.contacts().items()
            if answered.raft is not None
        }
        found[self._roster.itself.server_id] = Contact(
            last_contact=Duration(0), last_term=head.term, last_index=head.index
        )
        return {server_id: found[server_id] for server_id in server_ids if server_id in found}
