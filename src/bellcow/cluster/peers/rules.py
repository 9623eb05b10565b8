"""The rules of the leader's loop: the next step of a change of the raft configuration.

Pure: takes what the leader sees, returns a step. The consensus' own list of members is the truth
about votes; the stored configuration holds the change under way, written before it is made, so that
the next leader can finish it. Source of the order add, start, promote: etcd's page "Learner".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow.cluster.peers.changes import (
    DEMOTE,
    FORCED,
    PROMOTE,
    UPDATE,
    Removal,
    completed,
    replaced,
    without,
)
from bellcow.cluster.peers.quorum import keeps_quorum
from bellcow.model.raft import MembershipChange, RaftConfiguration, RaftServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.cluster.engine.protocol import Peer
    from bellcow.cluster.peers.changes import Inputs

# Chosen: before a change that looks unsafe is given up. In two rounds of hello a new leader has
# heard from every voter that answers.
DOUBT_S = 2.0
LIMIT_S = 60.0  # chosen: a change that takes longer is given up, since the others wait for it


# Steps: each is one thing to do before looking again


class Write(msgspec.Struct, frozen=True):
    """Commit this configuration. `given_up` says why the change under way was not made."""

    configuration: RaftConfiguration
    given_up: str = ""


class AddMember(msgspec.Struct, frozen=True):
    address: str


class OrderStart(msgspec.Struct, frozen=True):
    """Order the server to start its member."""

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
    """Transfer leadership to that member; the next leader continues the change."""

    member_id: int


class Wait(msgspec.Struct, frozen=True):
    """Do nothing yet, for this reason."""

    reason: str


Step: TypeAlias = (
    Write | AddMember | OrderStart | PromoteMember | UpdateMember | RemoveMember | HandOver | Wait
)


def departed(inputs: Inputs, cluster_id: str) -> list[str]:
    """Dead servers that were removed from the configuration: they count as having left.

    A dead server of another cluster or of none is not one of them: it must hear of ours when it is
    back. Neither is one whose member name a listed server has, for members are known by name.
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
    """The next step of the change under way, which this leader has tried for `age_s` seconds.

    Without a change, the write that corrects the configuration; None when it is correct.
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
        return Write(completed(inputs.configuration, change.server_id, voter=True))
    failure = _why_not(inputs, change, age_s)
    if peer is None:
        if not failure and not change.member_id:
            return AddMember(change.address)
        return Write(
            completed(inputs.configuration, change.server_id, voter=False),
            given_up=failure or "its member is gone",
        )
    if failure:
        undo = msgspec.structs.replace(change, kind=DEMOTE, member_id=peer.member_id)
        return Write(replaced(inputs.configuration, change=undo), given_up=failure)
    if not change.member_id:
        known = msgspec.structs.replace(change, member_id=peer.member_id)
        return Write(replaced(inputs.configuration, change=known))
    if not peer.server_id:
        return OrderStart(change.server_id, peer.member_id)
    # It may have died after it was in sync, and a dead voter would only raise the quorum.
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
    """A demotion or a removal.

    A dead voter is not in the quorum that elected this leader, so the voters left should be enough
    without it. Where they are not, this leader may not have heard from all of them yet.
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
        successor = _successor(inputs)
        return HandOver(successor) if successor else _given_up(inputs, "no other voter answers")
    return RemoveMember(peer.member_id)


def _successor(inputs: Inputs) -> int:
    """The member id of the first other voter that takes part; 0 when none does."""
    by_server = {peer.server_id: peer.member_id for peer in inputs.peers if peer.voter}
    found = (
        by_server[server.id]
        for server in inputs.configuration.servers
        if server.id != inputs.me
        and server.id in by_server
        and server.id in inputs.view.taking_part
    )
    return next(found, 0)


def _update(inputs: Inputs, change: MembershipChange) -> Step:
    peer = _member_of(inputs, change)
    if peer is None or peer.address == change.address:
        return Write(completed(inputs.configuration, change.server_id, address=change.address))
    return UpdateMember(peer.member_id, change.address)


def _member_of(inputs: Inputs, change: MembershipChange) -> Peer | None:
    """The member that the change is about; one that has not started has only its address."""
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
    return Write(replaced(inputs.configuration, change=None), given_up=reason)


def _without_vote(inputs: Inputs, change: MembershipChange) -> RaftConfiguration:
    if change.kind == DEMOTE:
        return completed(inputs.configuration, change.server_id, voter=False)
    why = Removal(by=change.by, now_ns=inputs.now_ns, silent_since_ns=change.silent_since_ns)
    return replaced(without(inputs.configuration, change.server_id, why), change=None)


# No change under way


def _reconciled(inputs: Inputs) -> Write | None:
    """The next write that corrects the configuration by the members of the consensus."""
    stored = inputs.configuration
    servers = (*(_corrected(inputs, server) for server in stored.servers), *_unlisted(inputs))
    if servers != stored.servers:
        return Write(replaced(stored, servers=servers))
    change = _leftover(inputs) or _moved(inputs)
    return Write(replaced(stored, change=change)) if change else None


def _corrected(inputs: Inputs, server: RaftServer) -> RaftServer:
    peer = _peer_of(inputs.peers, server.id, server.address)
    shown = _address(inputs, server.id, server.address)
    votes = peer is not None and peer.voter
    # A voter that has moved is listed at its member's address until that is updated.
    address = peer.address if peer is not None and votes and server.address != shown else shown
    name = inputs.view.names.get(server.id, server.name)
    return msgspec.structs.replace(server, voter=votes, name=name, address=address)


def _address(inputs: Inputs, server_id: str, before: str) -> str:
    """Its address by hello, or the listed one while it does not answer the leader."""
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


def _leftover(inputs: Inputs) -> MembershipChange | None:
    """The removal of a non-voting member that no promotion has added."""
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
    """The update of a voter that answers at another address than its member's."""
    for peer in inputs.peers:
        shown = _address(inputs, peer.server_id, peer.address)
        if shown != peer.address:
            return MembershipChange(
                kind=UPDATE, server_id=peer.server_id, member_id=peer.member_id, address=shown
            )
    return None
