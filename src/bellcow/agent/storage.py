"""Opens the storage of a server: the embedded store, or an etcd process of its own.

The data directory decides which, then the settings. Modules that need much memory are imported only
when they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import msgspec

from bellcow.cluster.datadir import RAFT, STORE, Unreadable, engine_of
from bellcow.cluster.engine.protocol import Single
from bellcow.config.derive import join_addresses
from bellcow.errors import Error
from bellcow.store.protocol import StoreError
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bellcow.agent.peer_tls import PeerSecurity
    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Engine, Peers
    from bellcow.cluster.members.exchange import Exchange
    from bellcow.cluster.members.roster import Roster
    from bellcow.config import model
    from bellcow.config.addresses import Addresses
    from bellcow.etcd.flags import Plan
    from bellcow.events import Report
    from bellcow.model.hello import Itself
    from bellcow.store.protocol import Store


Recover: TypeAlias = "Callable[[Roster, Exchange], Awaitable[bool | None]]"


async def _nothing_to_recover(roster: Roster, exchange: Exchange) -> None:
    del roster, exchange


class StorageError(Exception):
    """No storage can be opened. The message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Either the store and peers of a single server, or the engine that provides them later.

    `recover` follows the operator's peers.json: True when this server has rebuilt the cluster,
    False when it must join, None without such a file.
    """

    store: Store | None = None
    peers: Peers | None = None
    member: Engine | None = None
    recover: Recover = _nothing_to_recover


async def open_storage(
    settings: model.Settings,
    addresses: Addresses,
    itself: Itself,
    security: PeerSecurity,
    folder: Path | None,
    clock: Clock,
    report: Report,
) -> Storage:
    """Open the embedded store, or prepare etcd. Finishes an interrupted recovery or conversion.

    Raises:
        StorageError: the files cannot be read, or etcd is needed and cannot be run.
    """
    several = settings.server.bootstrap_expect > 1 or bool(join_addresses(settings))
    try:
        if _has_been_on_etcd(folder):
            from bellcow.cluster.recovery.rebuild import finish

            await finish(folder)
        engine = engine_of(folder, settings.server.engine, several=several)
        if engine == "embedded" or folder is None:
            return await _embedded(itself, folder, clock, report)
        plan = await _plan(settings, addresses, itself, security, folder, report)
        if engine == "convert":
            from bellcow.cluster.recovery.convert import convert

            await convert(server_dir=folder, me=itself, plan=plan, clock=clock, report=report)
        return _etcd(plan, itself, folder, clock, report)
    except Error as error:
        # Nomad: scripts and people look for these words.
        text = f"server setup failed: Failed to start Raft: {error.message}"
        raise StorageError(text) from None
    except (StoreError, Unreadable) as error:
        raise StorageError(str(error)) from None


def _has_been_on_etcd(folder: Path | None) -> TypeGuard[Path]:
    return folder is not None and any(folder.glob(f"{RAFT}*"))


async def _embedded(itself: Itself, folder: Path | None, clock: Clock, report: Report) -> Storage:
    from bellcow.store.sqlite import open_store

    if folder is not None and (folder / RAFT).exists():
        from bellcow.cluster.recovery.recover import recover_embedded

        await recover_embedded(server_dir=folder, me=itself, clock=clock, report=report)
    store = await open_store(folder / STORE if folder else None, clock)
    for path in store.tightened:
        report("permissions_tightened", path=path)
    peers = Single(itself.server_id, itself.rpc_address, await store.starts())
    return Storage(store=store, peers=peers)


async def _plan(
    settings: model.Settings,
    addresses: Addresses,
    itself: Itself,
    security: PeerSecurity,
    folder: Path,
    report: Report,
) -> Plan:
    """The start parameters of etcd that do not depend on the cluster.

    Raises:
        StorageError: there is no program, or its release is unsafe.
    """
    from bellcow.etcd.flags import Plan
    from bellcow.etcd.process import look_for_etcd
    from bellcow.etcd.version import CannotRun

    try:
        program, version = await look_for_etcd(settings.server.etcd_path, report)
    except CannotRun as error:
        raise StorageError(str(error)) from None
    return Plan(
        server_id=itself.server_id,
        directory=folder / RAFT,
        program=program,
        version=version,
        bind=join_host_port(addresses.rpc_bind),
        advertise=itself.rpc_address,
        raft_multiplier=settings.server.raft_multiplier or 1,
        tls=security.etcd,
    )


def _etcd(plan: Plan, itself: Itself, folder: Path, clock: Clock, report: Report) -> Storage:
    from bellcow.cluster.engine.etcd_member import EtcdMember, check_schemes
    from bellcow.cluster.recovery.recover import file_of, read_listed, recover

    if file_of(folder).exists():
        read_listed(folder, itself)  # a wrong file ends the start before any change
    else:
        check_schemes(plan)

    async def go_by_the_file(roster: Roster, exchange: Exchange) -> bool | None:
        if not file_of(folder).exists():
            return None
        outcome = await recover(
            server_dir=folder,
            me=itself,
            roster=roster,
            exchange=exchange,
            clock=clock,
            report=report,
            plan_of=lambda directory: msgspec.structs.replace(plan, directory=directory),
        )
        return outcome.kind == "rebuilt"

    return Storage(member=EtcdMember(plan, clock, report), recover=go_by_the_file)
