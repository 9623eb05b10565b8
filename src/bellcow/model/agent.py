"""Members, as the member list shows them, and the identity of the cluster."""

from __future__ import annotations

from bellcow.wire import Wire

ALIVE, LEAVING, LEFT, FAILED = "alive", "leaving", "left", "failed"


class Member(Wire, frozen=True, kw_only=True):
    """One server as the member list shows it.

    Nomad: protocol and delegate numbers are constants.
    """

    addr: str
    delegate_cur: int = 4
    delegate_max: int = 5
    delegate_min: int = 2
    name: str
    port: int
    protocol_cur: int = 2
    protocol_max: int = 5
    protocol_min: int = 1
    status: str
    tags: dict[str, str]


class MembersReply(Wire, frozen=True, kw_only=True):
    members: tuple[Member, ...]
    server_dc: str
    server_name: str
    server_region: str


class ClusterIdentity(Wire, frozen=True, kw_only=True):
    """The identity of the cluster, written by its first leader.

    `founding` identifies the last recovery on the embedded store, "" when there was none.
    """

    cluster_id: str
    create_index: int = 0
    create_time: str
    founding: str = ""
    modify_index: int = 0
    region: str
