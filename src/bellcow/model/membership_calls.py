"""The calls between servers besides hello: bootstrap, join, leave, start a member, standing.

Encoded as MessagePack, on the port for servers. Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from bellcow.errors import invalid
from bellcow.wire import UNDECODABLE, to_msgpack, undecodable

BOOTSTRAP_PATH = "/v1/internal/bootstrap"
JOIN_PATH = "/v1/internal/join"
LEAVE_PATH = "/v1/internal/leave"
MEMBER_PATH = "/v1/internal/member"
STANDING_PATH = "/v1/internal/standing"
STATE_PATH = "/v1/internal/state"
COMMITS_PATH = "/v1/internal/commits"
FORWARD_PATH = "/v1/internal/forward"

SERVERS_MAX = 500  # as `MEMBERS_MAX`

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Text = Annotated[str, msgspec.Meta(max_length=255)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Pairs = Annotated[tuple[tuple[_Name, _Name], ...], msgspec.Meta(max_length=SERVERS_MAX)]


class BootstrapRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The first server with the lowest id asks the others to form this cluster with it."""

    cluster_id: _Name
    proposer: _Name
    members: _Pairs  # server id and peer address of each, lowest id first


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks the leader to admit it, or to record its new address."""

    server_id: _Name
    address: _Name  # of its peer port, ip:port
    name: _Name  # NAME.REGION
    version: _Text
    cluster_id: _Text = ""  # the cluster it was in, "" for none
    non_voting: bool = False
    zone: _Text = ""
    upgrade_version: _Text = ""


class LeaveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks the leader to remove it from the configuration."""

    server_id: _Name


class StandingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks the leader whether it, and this member id, are still in the configuration."""

    server_id: _Name
    member_id: _Count


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A server's standing according to the leader; the answer to join, leave and standing."""

    cluster_id: _Name
    epoch: _Count
    founding: _Text = ""  # "" if the cluster was never recovered
    configured: bool  # in the consensus configuration
    voter: bool
    is_member: bool = False  # whether the given member id is in the consensus
    servers: _Pairs = ()  # id and address of the port for servers, of all known servers


class MemberOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The leader orders a server to start its member, which it has added without a vote."""

    cluster_id: _Name
    epoch: _Count
    founding: _Text = ""
    server_id: _Name  # of the receiver
    member_id: _Count
    members: _Pairs  # server id and peer address of each, the new one included
    token: _Name


class Done(msgspec.Struct, frozen=True):
    """The call succeeded."""


T = TypeVar("T")


def encode(message: msgspec.Struct) -> bytes:
    return to_msgpack(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Decode a message.

    Raises:
        invalid: the message is malformed; the text says where.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except UNDECODABLE as error:
        raise invalid(f"this is not a message between servers: {undecodable(error)}") from None
