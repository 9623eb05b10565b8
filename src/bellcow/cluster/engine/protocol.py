"""Who takes part in consensus, and the member that does so beside a server: protocols.

With the answer for a server that is alone. It must know neither etcd nor when a member is to run.
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
    """This server's own view of the consensus; never needs a quorum."""

    member_id: int
    leader_id: int | None
    term: int
    is_learner: bool = False
    db_bytes: int = 0
    version: str = ""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the consensus. `server_id` is "" until it has started."""

    member_id: int
    server_id: str
    address: str
    voter: bool


class Peers(Protocol):
    """Votes. The calls that change them are the leader's alone, one at a time."""

    async def status(self) -> Status:
        """Raises Unavailable when the engine beside us does not answer."""

    async def members(self) -> list[Peer]: ...

    async def add(self, address: str) -> Peer: ...

    async def promote(self, member_id: int) -> None: ...

    async def update(self, member_id: int, address: str) -> None: ...

    async def remove(self, member_id: int) -> None: ...

    async def transfer(self, member_id: int) -> None: ...


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What the first start of a member is told."""

    existing: bool
    members: tuple[tuple[str, str], ...]  # server id and peer address
    token: str


class Running(Protocol):
    """A member that runs. `ended` has a result once it is no member, StoreError when it fails."""

    @property
    def store(self) -> Store: ...

    @property
    def peers(self) -> Peers: ...

    @property
    def ended(self) -> asyncio.Future[None]: ...


class Engine(Protocol):
    """The member beside a server with a vote; `etcd_member.EtcdMember` is the real one."""

    @property
    def directory(self) -> Path: ...

    def has_data(self) -> bool: ...

    async def last_state(self) -> State:
        """What its files hold, whether it runs or not: committed, and maybe not the latest.

        Raises StoreError.
        """

    def running(self, start: Start | None) -> AbstractAsyncContextManager[Running]: ...


class Single:
    """A server alone on the embedded store: it leads, its term counts its starts."""

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
        raise Unavailable(f"the embedded store has one voter; member {member_id} stays")

    async def transfer(self, member_id: int) -> None:
        raise Unavailable(f"the embedded store has one voter; none can follow {member_id}")


class ReplaceablePeers:
    """A `Peers` that is whichever was put in last. An empty one belongs to a server without a vote.

    Leadership and whoever changes votes keep hold of the slot, not of what is in it.
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
