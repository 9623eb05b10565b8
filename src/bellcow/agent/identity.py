"""What a server says of itself: in each hello, and as the founder of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

import bellcow
from bellcow.acl.hashing import namespace_hash
from bellcow.cluster.formation.initial_state import Founder
from bellcow.cluster.peers.quorum import RAFT_PROTOCOL
from bellcow.config.derive import first_autopilot_configuration, first_scheduler_configuration
from bellcow.config.peer_ports import are_open
from bellcow.model.hello import Itself
from bellcow.model.namespace import DEFAULT, Namespace

if TYPE_CHECKING:
    from bellcow.config import model
    from bellcow.config.addresses import Addresses


def itself_of(settings: model.Settings, addresses: Addresses, server_id: str) -> Itself:
    """The identity that this server sends in each hello."""
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


def founder_of(settings: model.Settings, itself: Itself) -> Founder:
    """The state that this server writes if it forms a cluster: the settings of its own file."""
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
