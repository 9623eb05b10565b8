"""The wiring of one server's lifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.formation.promises import PromiseBook
from bellcow.cluster.formation.proposer import Proposer
from bellcow.cluster.lifecycle.context import Context
from bellcow.cluster.lifecycle.leader_client import LeaderClient
from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
from bellcow.cluster.lifecycle.local_state import LocalFiles
from bellcow.cluster.lifecycle.voting import Voting
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Engine, ReplaceablePeers
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.roster import Roster
    from bellcow.events import Report
    from bellcow.model.hello import Cluster
    from bellcow.state.tables import Tables
    from bellcow.store.protocol import Head, Key, Store
    from bellcow.store.replaceable import ReplaceableStore


def _no_duplicate() -> str:
    """The default: no other server has our id."""
    return ""


async def _no_recall(head: Head, items: list[tuple[Key, bytes]]) -> None:
    """The default: memory is loaded from its store only."""
    del head, items


def assemble(
    *,
    folder: Path,
    engine: Engine,
    follow: Callable[[Cluster], Store],
    recover: Callable[[], Awaitable[bool | None]],
    roster: Roster,
    transport: Transport,
    slot: ReplaceableStore,
    votes: ReplaceablePeers,
    tables: Tables,
    joins: bool,
    clock: Clock,
    report: Report,
    duplicate: Callable[[], str] = _no_duplicate,
    elsewhere: Callable[[], Mapping[str, Cluster]] = dict,
    recall: Callable[[Head, list[tuple[Key, bytes]]], Awaitable[None]] = _no_recall,
) -> ClusterLifecycle:
    """The lifecycle of a server on etcd, with its files read.

    `joins` says whether the settings name servers to join; the callables are explained where they
    are used.

    Raises:
        Unreadable: a file does not hold what was written.
    """
    reminders = Reminders(clock, report)
    promises = PromiseBook(folder, roster, clock)
    context = Context(
        files=LocalFiles(folder, engine.directory, roster, clock, report),
        promises=promises,
        leader=LeaderClient(roster, transport, clock, reminders),
        roster=roster,
        tables=tables,
        clock=clock,
        report=report,
        reminders=reminders,
    )
    proposer = Proposer(
        promises=promises,
        roster=roster,
        transport=transport,
        joins=joins,
        clock=clock,
        reminders=reminders,
        report=report,
    )
    voting = Voting(
        context, engine=engine, slot=slot, votes=votes, elsewhere=elsewhere, recall=recall
    )
    return ClusterLifecycle(
        context,
        voting,
        proposer=proposer,
        engine=engine,
        slot=slot,
        follow=follow,
        recover=recover,
        duplicate=duplicate,
    )
