"""The first state of a new cluster, which its first leader writes in one commit.

The order of the rows gives the settings the indexes that the API documentation shows: autopilot 4,
scheduler 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.clock import new_uuid
from bellcow.gocompat.time import rfc3339
from bellcow.model.agent import ClusterIdentity
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.license import TemporaryLicense
from bellcow.model.namespace import DEFAULT, Namespace
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.model.scheduler import SchedulerConfiguration
from bellcow.state.tables import (
    AUTOPILOT,
    CLUSTER,
    LICENSE_TEMPORARY,
    NAMESPACES,
    ONLY,
    RAFT,
    SCHEDULER,
    with_indexes,
)
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.store.protocol import Key


class Founder(msgspec.Struct, frozen=True, kw_only=True):
    """This server, and what it writes as the first leader of a new cluster."""

    server_id: str
    name: str  # NAME.REGION
    address: str  # ip:port of the peer port
    region: str
    autopilot: AutopilotConfiguration
    scheduler: SchedulerConfiguration
    default_namespace: Namespace


class AgreedCluster(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of the first servers: the id of their cluster, and its voters."""

    cluster_id: str
    servers: tuple[RaftServer, ...]


def with_own_entry(founder: Founder, stored: RaftConfiguration) -> RaftConfiguration | None:
    """The configuration with this server's present address and name; None when it has them.

    The only server of a configuration may have got a new id: then it replaces the old entry.
    """
    itself = RaftServer(id=founder.server_id, address=founder.address, name=founder.name)
    alone = len(stored.servers) == 1
    servers = tuple(
        msgspec.structs.replace(itself, voter=server.voter)
        if alone or server.id == itself.id
        else server
        for server in stored.servers
    )
    return None if servers == stored.servers else msgspec.structs.replace(stored, servers=servers)


def first_state(
    founder: Founder, clock: Clock, agreed_cluster: AgreedCluster | None = None
) -> tuple[int, dict[Key, bytes | None]]:
    """The first index of a new cluster, and its objects. Without agreement it has one server."""
    now = rfc3339(clock.wall_ns())
    itself = RaftServer(id=founder.server_id, address=founder.address, name=founder.name)
    cluster_id = agreed_cluster.cluster_id if agreed_cluster else new_uuid(clock)
    servers = agreed_cluster.servers if agreed_cluster else (itself,)
    rows = (
        (1, NAMESPACES, DEFAULT, founder.default_namespace),
        (2, RAFT, ONLY, RaftConfiguration(servers=servers)),
        (
            3,
            CLUSTER,
            ONLY,
            ClusterIdentity(cluster_id=cluster_id, create_time=now, region=founder.region),
        ),
        (4, AUTOPILOT, ONLY, founder.autopilot),
        (5, SCHEDULER, ONLY, founder.scheduler),
        (6, LICENSE_TEMPORARY, ONLY, TemporaryLicense(start_time=now)),
    )
    changes: dict[Key, bytes | None] = {
        (table.name, row_id): to_msgpack(with_indexes(row, index, index))
        for index, table, row_id, row in rows
    }
    return 6, changes
