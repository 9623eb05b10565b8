"""The peers of the consensus, read and changed through the etcd member beside this server.

It translates etcd's members and learners to peers and non-voters. A call that was sent and not
answered raises Unknown and is never repeated here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.engine.protocol import Peer, Status
from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import CallFailed
from bellcow.store.etcd_errors import translated
from bellcow.store.protocol import Busy

if TYPE_CHECKING:
    from bellcow.etcd.client import Client


class EtcdPeers:
    """`Peers` through the etcd member that `client` calls. Its methods raise StoreError."""

    def __init__(self, client: Client, *, tls: bool = False) -> None:
        self._client = client
        self._scheme = "https" if tls else "http"

    async def status(self) -> Status:
        with translated(write=False):
            found = await self._client.status(pb.StatusRequest())
        return Status(
            member_id=found.header.member_id,
            leader_id=found.leader or None,
            term=found.raft_term,
            is_learner=found.is_learner,
            db_bytes=found.db_size,
            version=found.version,
        )

    async def members(self) -> list[Peer]:
        with translated(write=False):
            # A member's own list may be old. A linearizable read brings it up to date.
            await self._client.range(pb.RangeRequest(key=b"head", keys_only=True))
            found = await self._client.member_list(pb.MemberListRequest())
        return [_peer(member) for member in found.members]

    async def add(self, address: str) -> Peer:
        request = pb.MemberAddRequest(peer_urls=[self._url(address)], is_learner=True)
        with translated(write=True):
            try:
                added = await self._client.member_add(request)
            except CallFailed as error:
                if error.code == "NOT_FOUND":
                    # etcd derives an id from address and second: the same id was removed just now.
                    raise Busy(f"a server at {address} was removed a moment ago") from error
                raise
        return _peer(added.member)

    async def promote(self, member_id: int) -> None:
        with translated(write=True):
            await self._client.member_promote(pb.MemberPromoteRequest(id=member_id))

    async def update(self, member_id: int, address: str) -> None:
        request = pb.MemberUpdateRequest(id=member_id, peer_urls=[self._url(address)])
        with translated(write=True):
            await self._client.member_update(request)

    async def remove(self, member_id: int) -> None:
        with translated(write=True):
            await self._client.member_remove(pb.MemberRemoveRequest(id=member_id))

    async def transfer(self, member_id: int) -> None:
        with translated(write=True):
            await self._client.move_leader(pb.MoveLeaderRequest(target_id=member_id))

    def _url(self, address: str) -> str:
        return f"{self._scheme}://{address}"


def _peer(member: pb.Member) -> Peer:
    url = member.peer_urls[0] if member.peer_urls else ""
    return Peer(
        member_id=member.id,
        server_id=member.name,
        address=url.partition("://")[2],
        voter=not member.is_learner,
    )
