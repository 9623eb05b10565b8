"""Raft configurations of servers with names of one letter, and what their leader sees."""

from __future__ import annotations

import msgspec

from bellcow.cluster.engine.protocol import Peer
from bellcow.cluster.peers.changes import Inputs
from bellcow.cluster.peers.inputs import ClusterView
from bellcow.model.membership_calls import JoinRequest
from bellcow.model.raft import MembershipChange, RaftConfiguration, RaftServer


def entry(name: str, *, voter: bool = True, address: str = "") -> RaftServer:
    return RaftServer(
        id=name, address=address or f"{name}:4647", name=f"{name}.global", voter=voter
    )


def change(kind: str, name: str, member_id: int = 0, address: str = "") -> MembershipChange:
    return MembershipChange(
        kind=kind, server_id=name, member_id=member_id, address=address or f"{name}:4647"
    )


def member(number: int, name: str, *, voter: bool = True, address: str = "") -> Peer:
    return Peer(member_id=number, server_id=name, address=address or f"{name}:4647", voter=voter)


def inputs(
    voters: str = "abc",
    others: str = "",
    *,
    under_way: MembershipChange | None = None,
    extra: tuple[Peer, ...] = (),
    alive: str | None = None,
    **seen: object,
) -> Inputs:
    """`a` leads; all voters have members 1, 2, 3... and all servers are alive, but for `alive`."""
    names = voters + others
    living = frozenset(names if alive is None else alive) | {"a"}
    view = ClusterView(
        alive=living,
        answering=living,
        names={name: f"{name}.global" for name in names},
        addresses={name: f"{name}:4647" for name in living},
        roles=dict.fromkeys(living, "follower"),
    )
    servers = [entry(n) for n in voters] + [entry(n, voter=False) for n in others]
    return Inputs(
        me="a",
        configuration=RaftConfiguration(servers=tuple(servers), change=under_way, modify_index=9),
        peers=(*(member(i, name) for i, name in enumerate(voters, 1)), *extra),
        view=msgspec.structs.replace(view, **seen),
    )


def request(name: str, address: str = "", cluster_id: str = "") -> JoinRequest:
    return JoinRequest(
        server_id=name,
        address=address or f"{name}:4647",
        name=f"{name}.global",
        version="1",
        cluster_id=cluster_id,
    )


def shown(configuration: RaftConfiguration) -> str:
    """Voters in capitals."""
    return "".join(s.id.upper() if s.voter else s.id for s in configuration.servers)
