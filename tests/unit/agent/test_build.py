"""The wiring of a server: which part calls which."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.clock import FixedClock

from bellcow.agent.build import Environment, build, facts_of
from bellcow.agent.identity import itself_of
from bellcow.agent.log import Log
from bellcow.agent.metrics import Metrics
from bellcow.agent.storage import Storage
from bellcow.cluster.datadir import LocalState
from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
from bellcow.cluster.members.lookup import Lookups
from bellcow.cluster.transport.client import PeerClient
from bellcow.config.addresses import resolve_addresses
from bellcow.config.load import load
from bellcow.events import Level
from bellcow.model.hello import Cluster

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.server import Server

ME = "88d0d276-86f1-511a-6be0-20dd3ec00188"


class Member:
    """An etcd member that never starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def has_data(self) -> bool:
        return False

    def running(self, start: object) -> Any:
        raise AssertionError(f"it must not be started: {start}")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """One of several servers, built and not running."""
    loaded = load([], dev=True)
    clock = FixedClock()
    log = Log(clock, Level.ERROR, out=io.StringIO())
    addresses = resolve_addresses(loaded.settings, True)
    return build(
        loaded.settings,
        itself=itself_of(loaded.settings, addresses, ME),
        storage=Storage(member=Member(tmp_path / "raft")),
        folder=tmp_path,
        environment=Environment(
            clock=clock, transport=PeerClient(), lookup=Lookups().addresses, report=log.report
        ),
        facts=facts_of(loaded, addresses, log, Metrics(clock, host="", prometheus=False)),
    )


def lifecycle_of(server: Server) -> ClusterLifecycle:
    assert isinstance(server.lifecycle, ClusterLifecycle)
    return server.lifecycle


async def test_request_that_waits_is_woken_when_the_leader_changes(server: Server) -> None:
    event = asyncio.Event()

    class Waiter:
        is_request = True

        def wake(self) -> None:
            event.set()

    server.waiting.add(["namespaces"], Waiter())
    server.leadership.on_change()
    async with asyncio.timeout(1):
        assert await event.wait()


def test_server_knows_of_another_one_with_its_id(server: Server) -> None:
    assert lifecycle_of(server)._duplicate() == ""
    server.exchange._duplicates["10.0.0.2:4648"] = "our ID answers there too"
    assert lifecycle_of(server)._duplicate() == "our ID answers there too"


def test_server_knows_which_servers_went_to_another_cluster(server: Server) -> None:
    other = Cluster(id="other", epoch=1)
    server.exchange._elsewhere["s2"] = (server.clock.monotonic(), other)
    assert lifecycle_of(server)._voting._elsewhere() == {"s2": other}


def test_leader_knows_how_its_cluster_was_founded(server: Server) -> None:
    assert server.membership._state.founding() == ""
    local_state = LocalState(cluster_id="c", epoch=1, founding="f", role="voter")
    lifecycle_of(server)._context.files._local_state = local_state
    assert server.membership._state.founding() == "f"


def test_dead_servers_are_cleaned_up_before_a_server_joins(server: Server) -> None:
    cleaned = []

    async def clean_up() -> None:
        cleaned.append(True)

    server.autopilot.clean_up = clean_up  # type: ignore[method-assign]
    asyncio.run(server.membership.before_join())  # type: ignore[arg-type]
    assert cleaned


def test_restore_restarts_autopilot(server: Server) -> None:
    assert server.snapshots._on_restored == server.autopilot.restart
