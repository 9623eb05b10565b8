"""The rules of admission: whether a server that asks is added to the configuration, and how.

Pure. An old entry that is in the way is removed first, so that an admission may take several
rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow.cluster.peers.changes import (
    UPDATE,
    Removal,
    change_of,
    completed,
    replaced,
    with_removal,
)
from bellcow.errors import Code, Error
from bellcow.model.raft import MembershipChange, RaftConfiguration, RaftServer

if TYPE_CHECKING:
    from bellcow.cluster.peers.changes import Inputs
    from bellcow.model.membership_calls import JoinRequest

SERVERS_MAX = 500  # in the configuration, as many as an order to a member can name


class Admitted(msgspec.Struct, frozen=True):
    """The configuration already lists the server with this address and name."""


class WaitFor(msgspec.Struct, frozen=True):
    """This change must end first."""

    change: MembershipChange


class Write(msgspec.Struct, frozen=True):
    """Write this configuration, then look again."""

    configuration: RaftConfiguration


Admission: TypeAlias = Admitted | WaitFor | Write


def admission(inputs: Inputs, request: JoinRequest, cluster_id: str) -> Admission:
    """The next thing to do for the admission of this server.

    Raises:
        Error: CONFLICT, it is of another cluster or a duplicate; UNAVAILABLE, it does not answer;
            TOO_MANY, the configuration is full of live servers.
    """
    _check_cluster(request, cluster_id)
    _check_duplicates(inputs, request)
    if request.server_id not in inputs.view.answering:
        raise Error(Code.UNAVAILABLE, f"{request.name} does not answer the leader; ask again")
    stored = inputs.configuration
    mine = next((server for server in stored.servers if server.id == request.server_id), None)
    obstacle = _obstacle(inputs, request, mine)
    if obstacle is not None:
        return WaitFor(stored.change) if stored.change else Write(_removed(inputs, obstacle, mine))
    if mine is None:
        new = RaftServer(
            id=request.server_id, address=request.address, name=request.name, voter=False
        )
        return Write(replaced(stored, servers=(*stored.servers, new)))
    if mine.address == request.address and (mine.voter or mine.name == request.name):
        return Admitted()
    return WaitFor(stored.change) if stored.change else Write(_updated(stored, mine, request))


def _check_cluster(request: JoinRequest, cluster_id: str) -> None:
    if request.cluster_id not in {"", cluster_id}:
        raise Error(
            Code.CONFLICT,
            f"{request.name} belongs to cluster {request.cluster_id}, this is {cluster_id}; "
            "remove its data directory if it is to join this one",
        )


def _check_duplicates(inputs: Inputs, request: JoinRequest) -> None:
    """Refuse another live server's id, and another live server's address.

    Raises:
        Error: CONFLICT, another live server has the id or the address.
    """
    for server_id in inputs.view.answering:
        address = inputs.view.addresses.get(server_id)
        if (server_id == request.server_id) != (address == request.address):
            raise Error(
                Code.CONFLICT,
                f"the server {server_id} is alive at {address}; {request.server_id} cannot join "
                f"from {request.address}: is its data directory a copy?",
            )


def _obstacle(inputs: Inputs, request: JoinRequest, mine: RaftServer | None) -> RaftServer | None:
    """The entry that must be removed first: one at the same address, one of a dead non-voter in a
    full configuration, or the server's own, if its data is lost.
    """
    stored = inputs.configuration
    for server in stored.servers:
        if server.id != request.server_id and server.address == request.address:
            return server
    if mine is None:
        return _dead_non_voter(inputs) if len(stored.servers) >= SERVERS_MAX else None
    return mine if mine.voter and _has_lost_its_data(inputs, mine) else None


def _dead_non_voter(inputs: Inputs) -> RaftServer:
    """The first dead non-voter.

    Raises:
        Error: TOO_MANY, there is none.
    """
    for server in inputs.configuration.servers:
        if not server.voter and server.id not in inputs.view.alive:
            return server
    raise Error(
        Code.TOO_MANY,
        f"the raft configuration has {SERVERS_MAX} servers, and all of them are alive; remove "
        "those that do not belong in it with: bellcow operator raft remove-peer -peer-id=ID",
    )


def _has_lost_its_data(inputs: Inputs, voter: RaftServer) -> bool:
    """Whether a listed voter takes no part in the consensus: it started without its data.

    Raises:
        Error: UNAVAILABLE, the voter has not answered a hello yet.
    """
    role = inputs.view.roles.get(voter.id)
    if role is None:
        raise Error(Code.UNAVAILABLE, f"{voter.name} has not answered a hello yet; ask again")
    return role == "none"


def _removed(inputs: Inputs, obstacle: RaftServer, mine: RaftServer | None) -> RaftConfiguration:
    """The configuration with the removal of this entry. Without its data our member is dead."""
    view = inputs.view
    if obstacle is mine:
        view = msgspec.structs.replace(view, alive=view.alive - {obstacle.id})
    why = Removal(now_ns=inputs.now_ns)
    return with_removal(inputs.configuration, obstacle.id, view, why)


def _updated(
    stored: RaftConfiguration, mine: RaftServer, request: JoinRequest
) -> RaftConfiguration:
    """The configuration with the new address; a voter's member is updated before its entry."""
    if not mine.voter:
        return completed(stored, mine.id, address=request.address, name=request.name)
    moved = msgspec.structs.replace(change_of(mine, UPDATE), address=request.address)
    return replaced(stored, change=moved)
