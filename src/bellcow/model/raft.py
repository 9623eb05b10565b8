"""The raft configuration: the servers of the cluster, and which of them vote."""

from __future__ import annotations

from bellcow.wire import Wire

# The cause of a removal. Only autopilot removes a server because it seems dead.
AUTOPILOT = "autopilot"
OPERATOR = "operator"
ITSELF = "itself"

REMOVED_MAX = 16  # removed servers that are remembered


class RaftServer(Wire, frozen=True, kw_only=True):
    """One server of the configuration. `address` is `ip:port` of the peer port (4647)."""

    address: str
    id: str
    name: str
    voter: bool = True


class MembershipChange(Wire, frozen=True, kw_only=True):
    """The change under way, committed before it is made so that the next leader can finish it.

    For a removal, `by` is its cause and `silent_since_ns` the time of the server's last answer.
    """

    address: str = ""
    by: str = ""
    kind: str
    member_id: int = 0
    server_id: str
    silent_since_ns: int = 0


class RemovedServer(Wire, frozen=True, kw_only=True):
    """A server that was removed from the configuration and has not returned.

    Times are nanoseconds since 1970 by the leader's clock. `silent_since_ns` is the last answer of
    a dead server, 0 if unknown. `voters_before` counts the voters including it.
    """

    address: str
    by: str
    id: str
    name: str
    removed_ns: int
    silent_since_ns: int = 0
    voter: bool
    voters_before: int


class RaftConfiguration(Wire, frozen=True, kw_only=True):
    """The servers in their stored order, and the membership change under way, if any.

    `removed` lists the servers removed last, the latest at the end.
    """

    change: MembershipChange | None = None
    create_index: int = 0
    modify_index: int = 0
    removed: tuple[RemovedServer, ...] = ()
    servers: tuple[RaftServer, ...] = ()


class RaftServerReply(Wire, frozen=True, kw_only=True):
    """One server as GET shows it. Nomad: `raft_protocol` is a string."""

    address: str
    id: str
    leader: bool
    node: str
    raft_protocol: str
    voter: bool


class RaftConfigurationReply(Wire, frozen=True, kw_only=True):
    index: int
    servers: tuple[RaftServerReply, ...]


class RaftPeer(Wire, frozen=True, kw_only=True):
    address: str
    id: str


class LeadershipTransferReply(Wire, frozen=True, kw_only=True):
    err: str | None = None
    from_: RaftPeer
    noop: bool = False
    to: RaftPeer
