"""The hello that servers exchange: the sender, the members it knows, its view of the consensus.

Encoded as MessagePack. Unknown fields are ignored, so that newer servers can add some; a missing
field is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from bellcow.errors import invalid
from bellcow.wire import UNDECODABLE, join_host_port, to_msgpack, undecodable

Status: TypeAlias = Literal["alive", "leaving", "left", "failed"]
Role: TypeAlias = Literal["leader", "follower", "none"]

_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=255)]
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
# Far above any real count, and below the 64 bits of MessagePack even after an increment.
COUNT_MAX = 2**62
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
# No upper bound: a server with an impossible index must still be heard. See `INDEX_MAX`.
_Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
# An IP address or a host name; it becomes part of a URL.
_Host: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[0-9A-Za-z_.:%-]+\Z")
]
_Port: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_Address: TypeAlias = tuple[_Host, _Port]


class Itself(msgspec.Struct, frozen=True, kw_only=True):
    """A server's identity and settings. Addresses are the advertised ones."""

    server_id: _Name
    name: _Name
    region: _Name
    datacenter: _Text
    build: _Text
    version: _Text
    rpc: _Address
    serf: _Address
    raft_protocol: _Text
    bootstrap_expect: _Count
    non_voting: bool
    zone: _Text
    upgrade_version: _Text
    acl: bool | None = None  # whether its settings enable ACLs; None from older servers
    open_peers: bool = False  # its ports for servers accept unauthenticated peers

    @property
    def member_name(self) -> str:
        return f"{self.name}.{self.region}"

    @property
    def rpc_address(self) -> str:
        return join_host_port(self.rpc)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a server. The later start is newer, then the higher status sequence."""

    itself: Itself
    start_ns: _Count
    status: Status
    status_seq: _Count

    @property
    def server_id(self) -> str:
        return self.itself.server_id

    @property
    def version(self) -> tuple[int, int]:
        return self.start_ns, self.status_seq

    @property
    def next_version(self) -> tuple[int, int]:
        """The lowest later version; this one if there is none."""
        if self.status_seq < COUNT_MAX:
            return self.start_ns, self.status_seq + 1
        return (self.start_ns + 1, 0) if self.start_ns < COUNT_MAX else self.version


class Cluster(msgspec.Struct, frozen=True, omit_defaults=True):
    """The cluster of a server. `epoch` counts its recoveries.

    `founding` is the id of the recovery that began the epoch: two separate recoveries can reach
    the same number. "" means unknown, and equals any other.
    """

    id: _Name
    epoch: _Count
    founding: _Text = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cluster):
            return NotImplemented
        return (self.id, self.epoch) == (other.id, other.epoch) and not self.is_fork_of(other)

    def __hash__(self) -> int:
        return hash((self.id, self.epoch))

    def is_fork_of(self, other: Cluster) -> bool:
        """Whether both are the same epoch of one cluster, from two recoveries."""
        same = (self.id, self.epoch) == (other.id, other.epoch)
        return same and bool(self.founding and other.founding) and self.founding != other.founding


class RaftView(msgspec.Struct, frozen=True, kw_only=True):
    """A server's role in the consensus, and the head of the state in its memory.

    `works` is false while its etcd member does not answer or has no leader.
    """

    role: Role
    term: _Count
    index: _Index
    commit: _Text
    works: bool = True


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """The copy of a server that waits to recover its cluster; `file` digests its peers.json."""

    file: _Name
    role: Literal["voter", "non-voter", "none"]
    epoch: _Count
    index: _Index


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The message of the exchange; its answer is another hello.

    `leader` is the id of the leader of the sender's region, "" if unknown. Across regions
    `cluster` and `raft` are None. `since_leader_ms` counts from the leader's last hello. `at_ms`
    is the sender's monotonic clock. `echo_ms` is the receiver's last `at_ms`, which bounds this
    message's age (ms, receiver's clock); 0 if there is none.
    """

    region: _Name
    cluster: Cluster | None
    sender: Record
    others: tuple[Record, ...]
    leader: _Text
    raft: RaftView | None
    since_leader_ms: _Count | None
    recovery: Recovery | None = None
    at_ms: _Count = 0
    echo_ms: _Count = 0


_decoder = msgspec.msgpack.Decoder(Hello)


def encode_hello(hello: Hello) -> bytes:
    return to_msgpack(hello)


def decode_hello(data: bytes) -> Hello:
    """Decode a hello.

    Raises:
        invalid: the message is malformed, or contradicts itself; the text says where.
    """
    try:
        hello = _decoder.decode(data)
    except UNDECODABLE as error:
        raise invalid(f"this is not a hello between servers: {undecodable(error)}") from None
    if hello.region != hello.sender.itself.region:
        raise invalid("this hello names two regions for its sender")
    if hello.sender.status == "failed":
        raise invalid("this hello says that its own sender has failed")
    return hello
