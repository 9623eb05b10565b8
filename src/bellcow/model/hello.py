"""What one server says to another: itself, whom it knows, where its consensus stands.

It travels as MessagePack. Unknown fields are ignored, so that a newer server may say more; a
missing one is refused.
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
# Far beyond what is ever counted, and well below what MessagePack can hold.
COUNT_MAX = 2**62
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
# Any index is heard: one too high must not silence the server that has it. See `INDEX_MAX`.
_Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
# An IP address or a host name, which end up in a URL.
_Host: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[0-9A-Za-z_.:%-]+\Z")
]
_Port: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_Address: TypeAlias = tuple[_Host, _Port]


class Itself(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is, by its settings. Addresses are those it advertises."""

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
    acl: bool | None = None  # whether its own settings turn ACLs on; None where it does not say
    open_peers: bool = False  # whoever reaches its ports between servers may pass for one

    @property
    def member_name(self) -> str:
        return f"{self.name}.{self.region}"

    @property
    def rpc_address(self) -> str:
        return join_host_port(self.rpc)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One server at one moment. Of two records the later start counts, then the higher sequence."""

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
        """The least that is later than this one, as long as there is one."""
        if self.status_seq < COUNT_MAX:
            return self.start_ns, self.status_seq + 1
        return (self.start_ns + 1, 0) if self.start_ns < COUNT_MAX else self.version


class Cluster(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which cluster a server belongs to. The epoch counts its recoveries.

    `founding` is of the recovery that began the epoch: two may come to the same number when the
    servers of one were out of the other's sight. It is "" where nobody has told it, and then fits.
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
        """Whether both are the same epoch of one cluster, begun twice."""
        same = (self.id, self.epoch) == (other.id, other.epoch)
        return same and bool(self.founding and other.founding) and self.founding != other.founding


class RaftView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server stands: its part in consensus, and the head that its memory holds.

    `works` is false while who should take part for it, the member beside it, does not answer or
    knows of no leader.
    """

    role: Role
    term: _Count
    index: _Index
    commit: _Text
    works: bool = True


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a server that waits to recover its cluster has, and a digest of the file it goes by."""

    file: _Name
    role: Literal["voter", "non-voter", "none"]
    epoch: _Count
    index: _Index


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The one message between servers; the answer to it is another one.

    `leader` is who leads the sender's region, "" when it knows of none. To another region neither
    cluster nor consensus is told. `since_leader_ms` counts from the leader's last word. `at_ms` is
    when this was written, by the sender's own clock; `echo_ms` the `at_ms` that it has heard last
    from whom it speaks to, who so knows how old this is at most.
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
    """Raises Error(INVALID) with what is wrong."""
    try:
        hello = _decoder.decode(data)
    except UNDECODABLE as error:
        raise invalid(f"this is not a hello between servers: {undecodable(error)}") from None
    if hello.region != hello.sender.itself.region:
        raise invalid("this hello names two regions for its sender")
    if hello.sender.status == "failed":
        raise invalid("this hello says that its own sender has failed")
    return hello
