"""What a server stands on: the embedded store, or an etcd member beside it.

Which of them is decided by what is on the disk, then by the settings. Modules that cost much memory
are imported only by those who need them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bellcow.cluster.engine import Single
from bellcow.cluster.place import RAFT, STORE, Unreadable, engine_of
from bellcow.config.addresses import join_host_port
from bellcow.config.derive import join_addresses
from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.clock import Clock
    from bellcow.cluster.engine import Peers
    from bellcow.cluster.seat import Engine
    from bellcow.config import model
    from bellcow.config.addresses import Addresses
    from bellcow.events import Report
    from bellcow.model.hello import Itself
    from bellcow.store.protocol import Store


class GroundError(Exception):
    """Why there is nothing to stand on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Either store and peers of a server alone, or the member that will bring them."""

    store: Store | None = None
    peers: Peers | None = None
    member: Engine | None = None


async def open_ground(
    settings: model.Settings,
    addresses: Addresses,
    itself: Itself,
    security: PeerSecurity,
    folder: Path | None,
    clock: Clock,
    report: Report,
) -> Ground:
    """Raises GroundError with what to do."""
    several = settings.server.bootstrap_expect > 1 or bool(join_addresses(settings))
    try:
        engine = engine_of(folder, settings.server.engine, several=several)
        if engine == "embedded" or folder is None:
            return await _embedded(itself, folder, clock, report)
        return await _etcd(settings, addresses, itself, security, folder, clock, report)
    except (StoreError, Unreadable) as error:
        raise GroundError(str(error)) from None


async def _embedded(itself: Itself, folder: Path | None, clock: Clock, report: Report) -> Ground:
    from bellcow.store.sqlite import open_store

    store = await open_store(folder / STORE if folder else None, clock)
    for path in store.tightened:
        report("permissions_tightened", path=path)
    peers = Single(itself.server_id, itself.rpc_address, await store.starts())
    return Ground(store=store, peers=peers)


async def _etcd(
    settings: model.Settings,
    addresses: Addresses,
    itself: Itself,
    security: PeerSecurity,
    folder: Path,
    clock: Clock,
    report: Report,
) -> Ground:
    from bellcow.cluster.etcd_member import EtcdMember
    from bellcow.etcd.flags import Plan
    from bellcow.etcd.process import look_for_etcd
    from bellcow.etcd.version import CannotRun

    try:
        program, version = await look_for_etcd(settings.server.etcd_path, report)
    except CannotRun as error:
        raise GroundError(str(error)) from None
    plan = Plan(
        server_id=itself.server_id,
        directory=folder / RAFT,
        program=program,
        version=version,
        bind=join_host_port(addresses.rpc_bind),
        advertise=itself.rpc_address,
        raft_multiplier=settings.server.raft_multiplier or 1,
        tls=security.etcd,
    )
    return Ground(member=EtcdMember(plan, clock, report))
