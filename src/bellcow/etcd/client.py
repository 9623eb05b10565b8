"""The calls to the member beside this server: one channel over a Unix socket, a deadline for each.

Every failure is raised as `CallFailed` with etcd's own text; `store/etcd_errors.py` decides what it
means. Nothing is sent twice. Import this module late: gRPC takes tens of megabytes.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import grpc.aio

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.flags import SOCKET

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

SOCKET_BYTES = 107  # limit of a socket's path: sun_path in unix(7) less the final zero

STATUS_S = 1.0
READ_S = 2.0
TXN_S = 8.0  # etcd itself gives up after about seven
MEMBERSHIP_S = 5.0
TRANSFER_S = 1.5  # takes a tenth of it unless the other member is down
MAINTENANCE_S = 60.0

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
)
# A member without a leader ends such a stream at once instead of letting it wait.
_HAS_LEADER = (("hasleader", "true"),)

Q = TypeVar("Q")
A = TypeVar("A")


class CallFailed(Exception):
    """A call without an answer. `code` is gRPC's name of what happened, `details` etcd's text."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"etcd: {details or 'no reason given'} ({code})")
        self.code = code
        self.details = details


@asynccontextmanager
async def open_client(directory: Path) -> AsyncIterator[Client]:
    """A client of the member in `directory`, which may start and stop meanwhile."""
    with _short(directory) as short:
        client = Client(grpc.aio.insecure_channel(f"unix:{short / SOCKET}", options=_OPTIONS))
        try:
            yield client
        finally:
            await client.close()


@contextmanager
def _short(directory: Path) -> Iterator[Path]:
    """A path of the directory that is short enough for its socket, however long its own path is."""
    if len(bytes(directory / SOCKET)) <= SOCKET_BYTES:
        yield directory
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # as the member does when it starts
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


class _Call(Generic[Q, A]):
    """One method of etcd: its path, the type of its answer, its deadline. Raises CallFailed."""

    def __init__(
        self, client: Client, channel: Any, path: str, answer: Any, limit_s: float
    ) -> None:
        self._client = client
        self._limit_s = limit_s
        self._call = channel.unary_unary(
            f"/etcdserverpb.{path}",
            request_serializer=_serialized,
            response_deserializer=answer.FromString,
        )

    async def __call__(self, request: Q) -> A:
        with self._client.translated():
            answer: A = await self._call(request, timeout=self._limit_s)
            return answer


def _serialized(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw


class _Only(Generic[Q]):
    """One request, then nothing until the watch is over: etcd ends a watch when its requests end.

    Not a generator: gRPC leaves one suspended when a call is canceled, and nothing can close it.
    """

    def __init__(self, request: Q) -> None:
        self._request: Q | None = request
        self._over = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Q:
        request, self._request = self._request, None
        if request is not None:
            return request
        await self._over.wait()
        raise StopAsyncIteration

    def end(self) -> None:
        self._over.set()


class Client:
    """The methods of etcd that bellcow uses. Made by `open_client`."""

    def __init__(self, channel: Any) -> None:
        self.closed = False
        self._channel = channel
        self._watches: set[Any] = set()
        self.range: _Call[pb.RangeRequest, pb.RangeResponse] = _Call(
            self, channel, "KV/Range", pb.RangeResponse, READ_S
        )
        self.txn: _Call[pb.TxnRequest, pb.TxnResponse] = _Call(
            self, channel, "KV/Txn", pb.TxnResponse, TXN_S
        )
        self.compact: _Call[pb.CompactionRequest, pb.CompactionResponse] = _Call(
            self, channel, "KV/Compact", pb.CompactionResponse, MAINTENANCE_S
        )
        self.member_add: _Call[pb.MemberAddRequest, pb.MemberAddResponse] = _Call(
            self, channel, "Cluster/MemberAdd", pb.MemberAddResponse, MEMBERSHIP_S
        )
        self.member_remove: _Call[pb.MemberRemoveRequest, pb.MemberRemoveResponse] = _Call(
            self, channel, "Cluster/MemberRemove", pb.MemberRemoveResponse, MEMBERSHIP_S
        )
        self.member_update: _Call[pb.MemberUpdateRequest, pb.MemberUpdateResponse] = _Call(
            self, channel, "Cluster/MemberUpdate", pb.MemberUpdateResponse, MEMBERSHIP_S
        )
        self.member_list: _Call[pb.MemberListRequest, pb.MemberListResponse] = _Call(
            self, channel, "Cluster/MemberList", pb.MemberListResponse, READ_S
        )
        self.member_promote: _Call[pb.MemberPromoteRequest, pb.MemberPromoteResponse] = _Call(
            self, channel, "Cluster/MemberPromote", pb.MemberPromoteResponse, MEMBERSHIP_S
        )
        self.status: _Call[pb.StatusRequest, pb.StatusResponse] = _Call(
            self, channel, "Maintenance/Status", pb.StatusResponse, STATUS_S
        )
        self.alarm: _Call[pb.AlarmRequest, pb.AlarmResponse] = _Call(
            self, channel, "Maintenance/Alarm", pb.AlarmResponse, MEMBERSHIP_S
        )
        self.defragment: _Call[pb.DefragmentRequest, pb.DefragmentResponse] = _Call(
            self, channel, "Maintenance/Defragment", pb.DefragmentResponse, MAINTENANCE_S
        )
        self.move_leader: _Call[pb.MoveLeaderRequest, pb.MoveLeaderResponse] = _Call(
            self, channel, "Maintenance/MoveLeader", pb.MoveLeaderResponse, TRANSFER_S
        )
        self._watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=_serialized,
            response_deserializer=pb.WatchResponse.FromString,
        )

    async def close(self) -> None:
        """Close the channel. Calls under way and later ones end with CallFailed."""
        self.closed = True
        await self._channel.close()

    async def watch(self, create: pb.WatchCreateRequest) -> AsyncGenerator[pb.WatchResponse, None]:
        """The answers of one watch.

        Raises:
            CallFailed: the stream ended, for whatever reason.
        """
        with self.translated():
            # An iterator: a call's own `write` never returns if the call ends before it begins.
            requests = _Only(pb.WatchRequest(create_request=create))
            call = self._watch(requests, metadata=_HAS_LEADER)
            self._watches.add(call)
            try:
                while (answer := await call.read()) is not grpc.aio.EOF:
                    yield answer
            finally:
                self._watches.discard(call)
                call.cancel()
                requests.end()
                await call.code()  # the call ends only here
        raise CallFailed("UNAVAILABLE", "the watch ended")

    def end_watches(self) -> None:
        """End all watches at once: their readers get CallFailed."""
        for call in tuple(self._watches):
            call.cancel()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate the errors of gRPC.

        Raises:
            CallFailed: gRPC refused or ended the call, or the client is closed.
            CancelledError: the caller was canceled.
        """
        if self.closed:
            raise CallFailed("UNAVAILABLE", "the client is closed")
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise CallFailed(error.code().name, error.details() or "") from error
        except asyncio.CancelledError as error:
            # gRPC cancels its own calls in the same way, which is no cancellation by our caller.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise CallFailed("CANCELLED", "the call was ended") from error
