"""Servers as members: this one, and those it has heard of.

A server on its own knows only itself. What others say of themselves comes by the exchange between
servers, which a cluster of several brings with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.model.agent import ALIVE, Member

if TYPE_CHECKING:
    from collections.abc import Mapping


class Itself(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself. Addresses are those it advertises."""

    server_id: str
    name: str
    region: str
    datacenter: str
    build: str
    version: str
    rpc: tuple[str, int]
    serf: tuple[str, int]
    bootstrap_expect: int = 0
    non_voting: bool = False
    zone: str = ""
    upgrade_version: str = ""

    @property
    def member_name(self) -> str:
        return f"{self.name}.{self.region}"

    @property
    def rpc_address(self) -> str:
        host, port = self.rpc
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Roster:
    """All members known here, of all regions."""

    def __init__(self, itself: Itself) -> None:
        self.itself = itself

    def members(self) -> tuple[Member, ...]:
        return (as_member(self.itself, ALIVE),)

    def names(self) -> Mapping[str, str]:
        """Member name by server id, of this region."""
        return {self.itself.server_id: self.itself.member_name}

    def alive(self) -> frozenset[str]:
        """Ids of the servers of this region that answer."""
        return frozenset({self.itself.server_id})

    def regions(self) -> tuple[str, ...]:
        """Regions with at least one live server, sorted."""
        return (self.itself.region,)


def as_member(itself: Itself, status: str) -> Member:
    """A member list entry. Nomad: every tag is a string, and switches are "1" or absent."""
    tags = {
        "bellcow": itself.version,
        "bootstrap": "1" if itself.bootstrap_expect == 1 else "",
        "build": itself.build,
        "dc": itself.datacenter,
        "expect": str(itself.bootstrap_expect or ""),
        "id": itself.server_id,
        "mvn": "1",
        "nonvoter": "1" if itself.non_voting else "",
        "port": str(itself.rpc[1]),
        "raft_vsn": "3",
        "region": itself.region,
        "role": "nomad",
        "rpc_addr": itself.rpc[0],
        "vsn": "1",
        "ap_version": itself.upgrade_version,
        "ap_zone": itself.zone,
    }
    return Member(
        addr=itself.serf[0],
        name=itself.member_name,
        port=itself.serf[1],
        status=status,
        tags={name: value for name, value in tags.items() if value},
    )
