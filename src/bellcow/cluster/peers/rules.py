"""The rules of membership changes: who is let in, what is done next, what the outcome is.

Pure: every function takes what the leader sees and returns a step or a configuration, or raises.
The list of members of the consensus is the truth about votes; the stored configuration holds the
change under way, written before it is made, so that whoever leads next can finish it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow.cluster.engine.protocol import Peer
from bellcow.cluster.peers.inputs import ClusterView
from bellcow.cluster.peers.quorum import check_removal, find_server, keeps_quorum
from bellcow.errors import Code, Error
from bellcow.model.raft import (
    AUTOPILOT,
    REMOVED_MAX,
    MembershipChange,
    RaftConfiguration,
    RaftServer,
    RemovedServer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.model.membership_calls import JoinRequest

PROMOTE = "promote"
DEMOTE = "demote"
REMOVE = "remove"
FORCED = "remove-forced"  # whatever it costs
UPDATE = "update"

DOUBT_S = 2.0  # before a change that does not look safe any more is given up
LIMIT_S = 60.0  # a change that takes longer is given up
SERVERS_MAX = 500  # in the configuration, as many as an order to a member can name
PAUSE_S, PAUSE_MAX_S = 10.0, 600.0  # before a server whose promotion failed is tried again


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader decides on. `peers` was listed after a confirm, `now_ns` is wall time."""

    me: str
    configuration: RaftConfiguration
    peers: tuple[Peer, ...]
    view: ClusterView
    now_ns: int = 0


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants a server out, and when.

    `silent_since_ns` is when a dead one answered last; 0 for a live one. `force` removes a voter
    that the quorum needs.
    """

    by: str = ""
    now_ns: int = 0
    silent_since_ns: int = 0
    force: bool = False


# Steps: each is one thing to do before looking again


class Write(msgspec.Struct, frozen=True):
    """Commit this configuration. `given_up` says why the change under way was not made."""

    configuration: RaftConfiguration
    given_up: str = ""


class AddMember(msgspec.Struct, frozen=True):
    address: str


class OrderStart(msgspec.Struct, frozen=True):
    """Tell the server to start its member."""

    server_id: str
    member_id: int


class PromoteMember(msgspec.Struct, frozen=True):
    member_id: int


class UpdateMember(msgspec.Struct, frozen=True):
    member_id: int
    address: str


class RemoveMember(msgspec.Struct, frozen=True):
    member_id: int


class HandOver(msgspec.Struct, frozen=True):
    """Let that member lead; whoever leads then goes on with the change."""

    member_id: int


class Wait(msgspec.Struct, frozen=True):
    """Not now."""

    reason: str


Step: TypeAlias = (
    Write | AddMember | OrderStart | PromoteMember | UpdateMember | RemoveMember | HandOver | Wait
)


def departed(inputs: Inputs, cluster_id: str) -> list[str]:
    """Who is dead and was taken out before: nobody waits for these servers.

    Who was of no cluster or of another one stays, for it has to be told of ours when it is back.
    Members are known by their names, so one whose name a configured server has stays as well.
    """
    servers, view = inputs.configuration.servers, inputs.view
    kept = {server.id for server in servers}
    names = {name for server in servers for name in (server.name, view.names.get(server.id))}
    dead = view.targets.keys() - view.alive - kept
    return sorted(
        each
        for each in dead
        if view.clusters.get(each) == cluster_id and view.names.get(each) not in names
    )


def next_step(inputs: Inputs, age_s: float) -> Step | None:
    """What comes next: of the change under way, which this leader has tried for `age_s`, or to
    make the configuration say what is so. None when nothing is to be done.
    """
    change = inputs.configuration.change
    if change is None:
        return _reconciled(inputs)
    if change.kind == PROMOTE:
        return _promotion(inputs, change, age_s)
    if age_s >= LIMIT_S:
        return _given_up(inputs, f"not done within {LIMIT_S:.0f} s")
    if change.kind == UPDATE:
        return _update(inputs, change)
    return _removal(inputs, change, age_s)


def _promotion(inputs: Inputs, change: MembershipChange, age_s: float) -> Step:
    peer = _member_of(inputs, change)
    if peer is not None and peer.voter:
        return Write(_with(inputs, change, voter=True))
    failure = _why_not(inputs, change, age_s)
    if peer is None:
        if not failure and not change.member_id:
            return AddMember(change.address)
        return Write(_with(inputs, change, voter=False), given_up=failure or "its member is gone")
    if failure:
        undo = msgspec.structs.replace(change, kind=DEMOTE, member_id=peer.member_id)
        return Write(_replace(inputs.configuration, change=undo), given_up=failure)
    if not change.member_id:
        known = msgspec.structs.replace(change, member_id=peer.member_id)
        return Write(_replace(inputs.configuration, change=known))
    if not peer.server_id:
        return OrderStart(change.server_id, peer.member_id)
    # One in sync may have died since: a vote that nobody casts makes the quorum dearer.
    voters = [*(other.server_id for other in inputs.peers if other.voter), change.server_id]
    taking_part = inputs.view.taking_part | {change.server_id}
    if change.server_id not in inputs.view.answering or not keeps_quorum(voters, taking_part):
        return Wait(f"{change.server_id} would vote and does not answer")
    return PromoteMember(peer.member_id)


def _why_not(inputs: Inputs, change: MembershipChange, age_s: float) -> str:
    if change.server_id not in inputs.view.alive:
        return "the server is not alive"
    if not any(server.id == change.server_id for server in inputs.configuration.servers):
        return "the server is not in the configuration"
    return f"not done within {LIMIT_S:.0f} s" if age_s >= LIMIT_S else ""


def _removal(inputs: Inputs, change: MembershipChange, age_s: float) -> Step:
    """A demotion or a removal, also of the dead: while there is a leader, the voters that are left
    are enough without one that is really dead. Where they are not, who leads may not have heard of
    all the others yet.
    """
    peer = _member_of(inputs, change)
    if peer is None:
        return Write(_without_vote(inputs, change))
    if not peer.voter:
        return RemoveMember(peer.member_id)
    voters = [other.server_id for other in inputs.peers if other.voter and other != peer]
    if not voters:
        return _given_up(inputs, "it is the last voter")
    safe = keeps_quorum(voters, inputs.view.taking_part)
    if not safe and change.kind != FORCED:
        problem = "it would cost the quorum"
        return Wait(problem) if age_s < DOUBT_S else _given_up(inputs, problem)
    if peer.server_id == inputs.me:
        heir = _heir(inputs)
        return HandOver(heir) if heir else _given_up(inputs, "no other voter answers")
    return RemoveMember(peer.member_id)


def _heir(inputs: Inputs) -> int:
    """The member of the first other voter that answers; 0 when none does."""
    by_server = {peer.server_id: peer.member_id for peer in inputs.peers if peer.voter}
    heirs = (
        by_server[server.id]
        for server in inputs.configuration.servers
        if server.id != inputs.me
        and server.id in by_server
        and server.id in inputs.view.taking_part
    )
    return next(heirs, 0)


def _update(inputs: Inputs, change: MembershipChange) -> Step:
    peer = _member_of(inputs, change)
    if peer is None or peer.address == change.address:
        return Write(_with(inputs, change, address=change.address))
    return UpdateMember(peer.member_id, change.address)


def _member_of(inputs: Inputs, change: MembershipChange) -> Peer | None:
    """Whom the change is about. A member without a name has not started: its address tells."""
    if change.member_id:
        return next((p for p in inputs.peers if p.member_id == change.member_id), None)
    return _peer_of(inputs.peers, change.server_id, change.address)


def _peer_of(peers: Iterable[Peer], server_id: str, address: str) -> Peer | None:
    for peer in peers:
        if peer.server_id == server_id or (not peer.server_id and peer.address == address):
            return peer
    return None


# Outcomes


def _given_up(inputs: Inputs, reason: str) -> Write:
    return Write(_replace(inputs.configuration, change=None), given_up=reason)


def _with(inputs: Inputs, change: MembershipChange, **fields: object) -> RaftConfiguration:
    """The change is over: the server's entry has these fields now."""
    servers = tuple(
        msgspec.structs.replace(server, **fields) if server.id == change.server_id else server
        for server in inputs.configuration.servers
    )
    return _replace(inputs.configuration, servers=servers, change=None)


def _without_vote(inputs: Inputs, change: MembershipChange) -> RaftConfiguration:
    if change.kind == DEMOTE:
        return _with(inputs, change, voter=False)
    why = Removal(by=change.by, now_ns=inputs.now_ns, silent_since_ns=change.silent_since_ns)
    return _replace(_without(inputs.configuration, change.server_id, why), change=None)


def _without(configuration: RaftConfiguration, server_id: str, why: Removal) -> RaftConfiguration:
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
    return _replace(configuration, servers=left, removed=removed)


# Nothing is under way


def _reconciled(inputs: Inputs) -> Write | None:
    """The next write that brings configuration and members together."""
    stored = inputs.configuration
    servers = (*(_as_it_is(inputs, server) for server in stored.servers), *_unlisted(inputs))
    if servers != stored.servers:
        return Write(_replace(stored, servers=servers))
    change = _unasked(inputs) or _moved(inputs)
    return Write(_replace(stored, change=change)) if change else None


def _as_it_is(inputs: Inputs, server: RaftServer) -> RaftServer:
    peer = _peer_of(inputs.peers, server.id, server.address)
    told = _address(inputs, server.id, server.address)
    votes = peer is not None and peer.voter
    # Of a voter that has moved, its member's address counts until that is updated.
    address = peer.address if peer is not None and votes and server.address != told else told
    name = inputs.view.names.get(server.id, server.name)
    return msgspec.structs.replace(server, voter=votes, name=name, address=address)


def _address(inputs: Inputs, server_id: str, before: str) -> str:
    """Where a server is; one that does not answer has moved by somebody's word alone."""
    if server_id not in inputs.view.answering:
        return before
    return inputs.view.addresses.get(server_id, before)


def _unlisted(inputs: Inputs) -> tuple[RaftServer, ...]:
    """Voters that the configuration lacks."""
    stored = inputs.configuration.servers
    known, addresses = {s.id for s in stored}, {s.address for s in stored}
    return tuple(
        RaftServer(
            id=peer.server_id,
            address=peer.address,
            name=inputs.view.names.get(peer.server_id, peer.server_id),
        )
        for peer in inputs.peers
        if peer.voter
        and peer.server_id
        and peer.server_id not in known
        and peer.address not in addresses
    )


def _unasked(inputs: Inputs) -> MembershipChange | None:
    """The removal of a member that has no vote and that no promotion is about."""
    for peer in inputs.peers:
        if not peer.voter:
            return MembershipChange(
                kind=DEMOTE,
                server_id=peer.server_id,
                member_id=peer.member_id,
                address=peer.address,
            )
    return None


def _moved(inputs: Inputs) -> MembershipChange | None:
    """The update of a live voter that says it is at another address than its member's."""
    for peer in inputs.peers:
        told = _address(inputs, peer.server_id, peer.address)
        if told != peer.address:
            return MembershipChange(
                kind=UPDATE, server_id=peer.server_id, member_id=peer.member_id, address=told
            )
    return None


# What is asked for. Each returns the configuration to be written, or raises why not.


def with_promotion(configuration: RaftConfiguration, server_id: str) -> RaftConfiguration:
    _must_be_idle(configuration)
    server = find_server(configuration, by="id", value=server_id)
    if server.voter:
        raise Error(Code.CONFLICT, f"{server.name} votes already")
    change = MembershipChange(kind=PROMOTE, server_id=server.id, address=server.address)
    return _replace(configuration, change=change)


def with_demotion(
    configuration: RaftConfiguration, server_id: str, view: ClusterView
) -> RaftConfiguration:
    _must_be_idle(configuration)
    server = find_server(configuration, by="id", value=server_id)
    if not server.voter:
        raise Error(Code.CONFLICT, f"{server.name} has no vote")
    check_removal(configuration, server, view.alive, answering=view.taking_part)
    return _replace(configuration, change=_about(server, DEMOTE))


def with_removal(
    configuration: RaftConfiguration, server_id: str, view: ClusterView, why: Removal
) -> RaftConfiguration:
    """A server without a vote is out at once; a voter's member must be removed first."""
    _must_be_idle(configuration)
    server = find_server(configuration, by="id", value=server_id)
    check_removal(configuration, server, view.alive, answering=view.taking_part, force=why.force)
    if not server.voter:
        return _without(configuration, server_id, why)
    change = _about(server, FORCED if why.force else REMOVE)
    change = msgspec.structs.replace(change, by=why.by, silent_since_ns=why.silent_since_ns)
    return _replace(configuration, change=change)


def _about(server: RaftServer, kind: str) -> MembershipChange:
    return MembershipChange(kind=kind, server_id=server.id, address=server.address)


def _must_be_idle(configuration: RaftConfiguration) -> None:
    change = configuration.change
    if change is not None:
        raise Error(
            Code.UNAVAILABLE,
            f"another change of the servers is under way ({change.kind} {change.server_id}); "
            "try again in a moment",
        )


# Who is let in


def admission(inputs: Inputs, request: JoinRequest, cluster_id: str) -> RaftConfiguration | None:
    """The next configuration on the way to letting this server in; None when it is in as it asks.

    Raises Error when it is not let in. A server whose old entry must go first takes several turns.
    """
    if request.cluster_id not in {"", cluster_id}:
        raise Error(
            Code.CONFLICT,
            f"{request.name} belongs to cluster {request.cluster_id}, this is {cluster_id}; "
            "remove its data directory if it shall join this one",
        )
    _check_twins(inputs, request)
    if request.server_id not in inputs.view.answering:
        raise Error(Code.UNAVAILABLE, f"{request.name} does not answer the leader; ask again")
    stored = inputs.configuration
    for server in stored.servers:
        if server.id != request.server_id and server.address == request.address:
            return with_removal(stored, server.id, inputs.view, Removal(now_ns=inputs.now_ns))
    mine = next((server for server in stored.servers if server.id == request.server_id), None)
    if mine is None:
        if len(stored.servers) >= SERVERS_MAX:
            return with_removal(stored, _spare(inputs), inputs.view, Removal(now_ns=inputs.now_ns))
        new = RaftServer(
            id=request.server_id, address=request.address, name=request.name, voter=False
        )
        return _replace(stored, servers=(*stored.servers, new))
    return _readmission(inputs, mine, request)


def _spare(inputs: Inputs) -> str:
    """The first server without a vote that is dead: its entry is the place of a new one.

    Raises Error(TOO_MANY) where there is none.
    """
    for server in inputs.configuration.servers:
        if not server.voter and server.id not in inputs.view.alive:
            return server.id
    raise Error(
        Code.TOO_MANY,
        f"the raft configuration has {SERVERS_MAX} servers, and all of them are alive; take those "
        "that do not belong in it out with: bellcow operator raft remove-peer -peer-id=ID",
    )


def _check_twins(inputs: Inputs, request: JoinRequest) -> None:
    """Refuse another live server's id, and another live server's address."""
    for server_id in inputs.view.answering:
        address = inputs.view.addresses.get(server_id)
        if (server_id == request.server_id) != (address == request.address):
            raise Error(
                Code.CONFLICT,
                f"the server {server_id} is alive at {address}; {request.server_id} cannot join "
                f"from {request.address}: is its data directory a copy?",
            )


def _readmission(
    inputs: Inputs, mine: RaftServer, request: JoinRequest
) -> RaftConfiguration | None:
    stored = inputs.configuration
    if not mine.voter:
        if (mine.address, mine.name) == (request.address, request.name):
            return None
        _must_be_idle(stored)
        fields = {"address": request.address, "name": request.name}
        return _with(inputs, _about(mine, UPDATE), **fields)
    role = inputs.view.roles.get(mine.id)
    if role is None:
        raise Error(Code.UNAVAILABLE, f"{mine.name} has not answered a hello yet; ask again")
    if role == "none":
        # It votes by the configuration and takes no part: its data is gone, so its vote is dead.
        others = inputs.view.alive - {mine.id}
        dead = msgspec.structs.replace(inputs.view, alive=others)
        return with_removal(stored, mine.id, dead, Removal(now_ns=inputs.now_ns))
    if mine.address == request.address:
        return None
    _must_be_idle(stored)
    moved = msgspec.structs.replace(_about(mine, UPDATE), address=request.address)
    return _replace(stored, change=moved)


def pause_s(failures: int) -> float:
    """Seconds until a server whose promotion failed that often is tried again."""
    return min(PAUSE_S * 2.0 ** min(failures - 1, 10), PAUSE_MAX_S)


def _replace(configuration: RaftConfiguration, **fields: object) -> RaftConfiguration:
    """The configuration with these fields. A server that is in it was not removed."""
    after = msgspec.structs.replace(configuration, **fields)
    present = {server.id for server in after.servers}
    removed = tuple(server for server in after.removed if server.id not in present)
    if len(removed) == len(after.removed):
        return after
    return msgspec.structs.replace(after, removed=removed)


def removed_for_dead(before: RaftConfiguration, after: RaftConfiguration) -> list[RemovedServer]:
    """The servers that autopilot removed by this step."""
    known = {(server.id, server.removed_ns) for server in before.removed}
    return [
        server
        for server in after.removed
        if server.by == AUTOPILOT and (server.id, server.removed_ns) not in known
    ]
