"""What servers ask of each other besides hello: to be admitted, to vote, to be told how they stand.

All of it travels as MessagePack on the port between servers. Unknown fields are ignored.
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

SERVERS_MAX = 500

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Text = Annotated[str, msgspec.Meta(max_length=255)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Pairs = Annotated[tuple[tuple[_Name, _Name], ...], msgspec.Meta(max_length=SERVERS_MAX)]


class BootstrapRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest of the first servers asks the others to found this cluster with it."""

    cluster_id: _Name
    proposer: _Name
    members: _Pairs  # server id and peer address of each, lowest id first


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks the leader to be one of the cluster, or to be known by a new address."""

    server_id: _Name
    address: _Name  # of its peer port, ip:port
    name: _Name  # NAME.REGION
    version: _Text
    cluster_id: _Text = ""  # the cluster it was in, "" for none
    non_voting: bool = False
    zone: _Text = ""
    upgrade_version: _Text = ""


class LeaveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks the leader to be taken out for good."""

    server_id: _Name


class StandingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks the leader how it stands: is this member id still one?"""

    server_id: _Name
    member_id: _Count


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the leader sees a server; the answer to join, leave and standing."""

    cluster_id: _Name
    epoch: _Count
    founding: _Text = ""  # "" where the cluster was never recovered
    configured: bool  # in the consensus configuration
    voter: bool
    is_member: bool = False  # whether the member id asked about is in the list of members
    servers: _Pairs = ()  # id and address of the port between servers, of all that are known


class MemberOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The leader tells a server to start its member, which is in the list as a learner."""

    cluster_id: _Name
    epoch: _Count
    founding: _Text = ""
    server_id: _Name  # whom it is for
    member_id: _Count
    members: _Pairs  # server id and peer address of each, the new one included
    token: _Name


class Done(msgspec.Struct, frozen=True):
    """Yes."""


T = TypeVar("T")


def encode(message: msgspec.Struct) -> bytes:
    return to_msgpack(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Raises Error(INVALID) with what is wrong."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except UNDECODABLE as error:
        raise invalid(f"this is not a message between servers: {undecodable(error)}") from None
