"""The consensus configuration: which servers there are and which of them vote."""

from __future__ import annotations

from bellcow.wire import Wire

# The highest index that may come from outside, in an archive or from another server. Every JSON
# reader keeps integers up to here exact (RFC 8259, section 6), and a billion writes a second would
# take a hundred days to get there.
INDEX_MAX = 2**53


class RaftServer(Wire, frozen=True, kw_only=True):
    """One server of the configuration. `address` is `ip:port` of the peer port (4647)."""

    address: str
    id: str
    name: str
    voter: bool = True


class MembershipChange(Wire, frozen=True, kw_only=True):
    """The change under way, written before it is made so that the next leader can finish it."""

    address: str = ""
    kind: str
    member_id: int = 0
    server_id: str


class RaftConfiguration(Wire, frozen=True, kw_only=True):
    """The servers in their stored order, and the membership change under way, if any."""

    change: MembershipChange | None = None
    create_index: int = 0
    modify_index: int = 0
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
