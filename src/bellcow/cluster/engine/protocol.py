"""Protocols of the consensus engine: its peers, and the member that runs beside a server.

With the implementation for a single server. It must not depend on etcd or on the lifecycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from bellcow.store.protocol import Unavailable

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bellcow.store.protocol import Head, Key, Store


State: TypeAlias = "tuple[Head, list[tuple[Key, bytes]]]"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """This server's own view of the consensus; reading it needs no quorum."""

    member_id: int
    leader_id: int | None
    term: int
    is_learner: bool = False
    db_bytes: int = 0
    version: str = ""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the consensus. `server_id` is "" until its first start."""

    member_id: int
    server_id: str
    address: str
    voter: bool


class Peers(Protocol):
    """The members of the consensus. Only the leader changes them, one call at a time.

    All calls raise StoreError: after Unavailable nothing was done, after Unknown it may have been.
    """

    async def status(self) -> Status:
        """Our member's view.

        Raises:
            Unavailable: the member does not answer.
        """

    async def members(self) -> list[Peer]: ...

    async def add(self, address: str) -> Peer: ...

    async def promote(self, member_id: int) -> None: ...

    async def update(self, member_id: int, address: str) -> None: ...

    async def remove(self, member_id: int) -> None: ...

    async def transfer(self, member_id: int) -> None: ...


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The initial cluster of a member's first start; `existing` if it joins one."""

    existing: bool
    members: tuple[tuple[str, str], ...]  # server id and peer address
    token: str


class Running(Protocol):
    """A running member. `ended` has a result once it was removed from the cluster, and raises
    StoreError when it fails.
    """

    @property
    def store(self) -> Store: ...

    @property
    def peers(self) -> Peers: ...

    @property
    def ended(self) -> asyncio.Future[None]: ...


class Engine(Protocol):
    """The member beside a voter; `etcd_member.EtcdMember` is the real one."""

    @property
    def directory(self) -> Path: ...

    def has_data(self) -> bool: ...

    async def last_state(self) -> State:
        """The state in its files, whether it runs or not: committed, but perhaps not the latest.

        Raises:
            StoreError: the files cannot be read.
        """

    def running(self, start: Start | None) -> AbstractAsyncContextManager[Running]: ...


class Single:
    """The only peer, with the embedded store: it leads, and its term counts its starts."""

    MEMBER = 1

    def __init__(self, server_id: str, address: str, starts: int) -> None:
        self._server_id = server_id
        self._address = address
        self._starts = starts

    async def status(self) -> Status:
        return Status(member_id=self.MEMBER, leader_id=self.MEMBER, term=self._starts)

    async def members(self) -> list[Peer]:
        return [
            Peer(
                member_id=self.MEMBER, server_id=self._server_id, address=self._address, voter=True
            )
        ]

    async def add(self, address: str) -> Peer:
        raise Unavailable(f"the embedded store has one voter; {address} needs engine = etcd")

    async def promote(self, member_id: int) -> None:
        raise Unavailable(f"the embedded store has one voter; {member_id} cannot be promoted")

    async def update(self, member_id: int, address: str) -> None:
        if member_id == self.MEMBER:
            self._address = address

    async def remove(self, member_id: int) -> None:
        raise Unavailable(f"the embedded store has one voter; member {member_id} cannot be removed")

    async def transfer(self, member_id: int) -> None:
        raise Unavailable(f"the embedded store has one voter; {member_id} cannot lead in its place")


class ReplaceablePeers:
    """A `Peers` that delegates to the one that was `put` last; None on a non-voter.

    Leadership and the peers' coordinator hold this object, while the member behind it changes.
    """

    def __init__(self, peers: Peers | None = None) -> None:
        self._peers = peers

    def put(self, peers: Peers | None) -> None:
        self._peers = peers

    async def status(self) -> Status:
        if self._peers is None:
            return Status(member_id=0, leader_id=None, term=0)
        return await self._peers.status()

    def _held(self) -> Peers:
        if self._peers is None:
            raise Unavailable("this server has no vote")
        return self._peers

    async def members(self) -> list[Peer]:
        return await self._held().members()

    async def add(self, address: str) -> Peer:
        return await self._held().add(address)

    async def promote(self, member_id: int) -> None:
        await self._held().promote(member_id)

    async def update(self, member_id: int, address: str) -> None:
        await self._held().update(member_id, address)

    async def remove(self, member_id: int) -> None:
        await self._held().remove(member_id)

    async def transfer(self, member_id: int) -> None:
        await self._held().transfer(member_id)
