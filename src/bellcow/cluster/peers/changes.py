"""Changes of the raft configuration: what a request asks for, and how the configuration records it.

Pure. Each `with_` function returns the configuration to be written, or raises the reason against
it. A change is written before it is made, so that the next leader can finish it.
"""

from __future__ import annotations

import msgspec

from bellcow.cluster.engine.protocol import Peer
from bellcow.cluster.peers.inputs import ClusterView
from bellcow.cluster.peers.quorum import check_removal, find_server
from bellcow.errors import Code, Error
from bellcow.model.raft import (
    AUTOPILOT,
    REMOVED_MAX,
    MembershipChange,
    RaftConfiguration,
    RaftServer,
    RemovedServer,
)

PROMOTE = "promote"
DEMOTE = "demote"
REMOVE = "remove"
FORCED = "remove-forced"  # even if the quorum is lost
UPDATE = "update"

PAUSE_S, PAUSE_MAX_S = 10.0, 600.0  # before the promotion of a server is tried again


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader decides on. `peers` was listed after a confirm; `now_ns` is wall time."""

    me: str
    configuration: RaftConfiguration
    peers: tuple[Peer, ...]
    view: ClusterView
    now_ns: int = 0


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """By whom a server is removed, and when.

    `silent_since_ns` is the wall time of a dead server's last answer; 0 for a live one. `force`
    removes a voter that the quorum needs.
    """

    by: str = ""
    now_ns: int = 0
    silent_since_ns: int = 0
    force: bool = False


def with_promotion(configuration: RaftConfiguration, server_id: str) -> RaftConfiguration:
    """Begin the change that gives a server its vote.

    Raises:
        Error: CONFLICT, it votes already; UNAVAILABLE, another change is under way.
        refused: there is no such server.
    """
    _check_idle(configuration)
    server = find_server(configuration, by="id", value=server_id)
    if server.voter:
        raise Error(Code.CONFLICT, f"{server.name} votes already")
    return replaced(configuration, change=change_of(server, PROMOTE))


def with_demotion(
    configuration: RaftConfiguration, server_id: str, view: ClusterView
) -> RaftConfiguration:
    """Begin the change that takes a server's vote away.

    Raises:
        Error: CONFLICT, it has no vote or the quorum needs it; UNAVAILABLE, another change is under
            way.
        refused: there is no such server, or no other voter.
    """
    _check_idle(configuration)
    server = find_server(configuration, by="id", value=server_id)
    if not server.voter:
        raise Error(Code.CONFLICT, f"{server.name} has no vote")
    check_removal(configuration, server, view.alive, answering=view.taking_part)
    return replaced(configuration, change=change_of(server, DEMOTE))


def with_removal(
    configuration: RaftConfiguration, server_id: str, view: ClusterView, why: Removal
) -> RaftConfiguration:
    """Remove a non-voter at once; of a voter, begin a change that removes its member first.

    Raises:
        Error: CONFLICT, the quorum needs the voter and `why` does not force it; UNAVAILABLE,
            another change is under way.
        refused: there is no such server, or no other voter.
    """
    _check_idle(configuration)
    server = find_server(configuration, by="id", value=server_id)
    check_removal(configuration, server, view.alive, answering=view.taking_part, force=why.force)
    if not server.voter:
        return without(configuration, server_id, why)
    change = change_of(server, FORCED if why.force else REMOVE)
    change = msgspec.structs.replace(change, by=why.by, silent_since_ns=why.silent_since_ns)
    return replaced(configuration, change=change)


def change_of(server: RaftServer, kind: str) -> MembershipChange:
    """A change of this server, at its listed address."""
    return MembershipChange(kind=kind, server_id=server.id, address=server.address)


def _check_idle(configuration: RaftConfiguration) -> None:
    change = configuration.change
    if change is not None:
        raise Error(
            Code.UNAVAILABLE,
            f"another change of the servers is under way ({change.kind} {change.server_id}); "
            "try again in a moment",
        )


# Outcomes


def completed(
    configuration: RaftConfiguration, server_id: str, **fields: object
) -> RaftConfiguration:
    """The configuration without a change under way; the server's entry has these fields."""
    servers = tuple(
        msgspec.structs.replace(server, **fields) if server.id == server_id else server
        for server in configuration.servers
    )
    return replaced(configuration, servers=servers, change=None)


def without(configuration: RaftConfiguration, server_id: str, why: Removal) -> RaftConfiguration:
    """The configuration without this server, and with a record of its removal."""
    left = tuple(server for server in configuration.servers if server.id != server_id)
    voters = sum(server.voter for server in configuration.servers)
    gone = tuple(
        RemovedServer(
            address=server.address,
            by=why.by,
            id=server.id,
            name=server.name,
            removed_ns=why.now_ns,
            silent_since_ns=why.silent_since_ns,
            voter=server.voter,
            voters_before=voters,
        )
        for server in configuration.servers
        if server.id == server_id
    )
    removed = (*configuration.removed, *gone)[-REMOVED_MAX:]
    return replaced(configuration, servers=left, removed=removed)


def replaced(configuration: RaftConfiguration, **fields: object) -> RaftConfiguration:
    """The configuration with these fields, and without a record of removal for a listed server."""
    after = msgspec.structs.replace(configuration, **fields)
    present = {server.id for server in after.servers}
    removed = tuple(server for server in after.removed if server.id not in present)
    if len(removed) == len(after.removed):
        return after
    return msgspec.structs.replace(after, removed=removed)


def removed_for_dead(before: RaftConfiguration, after: RaftConfiguration) -> list[RemovedServer]:
    """The servers that autopilot removed between these two configurations."""
    known = {(server.id, server.removed_ns) for server in before.removed}
    return [
        server
        for server in after.removed
        if server.by == AUTOPILOT and (server.id, server.removed_ns) not in known
    ]


def pause_s(failures: int) -> float:
    """Seconds until the promotion of a server is tried again, after so many failures."""
    return min(PAUSE_S * 2.0 ** min(failures - 1, 10), PAUSE_MAX_S)
