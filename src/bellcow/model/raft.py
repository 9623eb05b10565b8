"""The consensus configuration: which servers there are and which of them vote."""

from __future__ import annotations

from bellcow.wire import Wire

# Why a server was removed. Only autopilot removes one because it seemed dead.
AUTOPILOT = "autopilot"
OPERATOR = "operator"
ITSELF = "itself"

REMOVED_MAX = 16  # as many removed servers are remembered


class RaftServer(Wire, frozen=True, kw_only=True):
    """One server of the configuration. `address` is `ip:port` of the peer port (4647)."""

    address: str
    id: str
    name: str
    voter: bool = True


class MembershipChange(Wire, frozen=True, kw_only=True):
    """The change under way, written before it is made so that the next leader can finish it.

    Of a removal, `by` says who wants it, and `silent_since_ns` when the server answered last.
    """

    address: str = ""
    by: str = ""
    kind: str
    member_id: int = 0
    server_id: str
    silent_since_ns: int = 0


class RemovedServer(Wire, frozen=True, kw_only=True):
    """A server that was removed from the configuration and is not back.

    Times are nanoseconds since 1970 by the clock of the server that led; `silent_since_ns` is when
    a dead one answered last, 0 where nobody looked. `voters_before` counts the voters there were
    with it.
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

    `removed` holds the servers that were removed last, the latest at the end.
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
