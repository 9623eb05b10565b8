"""Forwards a client's request to the server that must answer it: the leader, a server of another
region, or a named server.

One call is one attempt. This module decides what a failure means: the request was certainly not
executed and may be repeated, or its outcome is unknown. The caller repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from bellcow.cluster.members.exchange import Transport
from bellcow.cluster.members.schedule import target_of
from bellcow.cluster.transport.frames import pieces
from bellcow.deadline import timeout
from bellcow.errors import Code, Error, no_leader, refused
from bellcow.model.agent import ALIVE
from bellcow.model.forwarded import FIRST_HOP, INLINE_BYTES, LAST_HOP, Answer, Ask
from bellcow.model.membership_calls import FORWARD_PATH, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from bellcow.cluster.members.roster import Roster
    from bellcow.cluster.members.schedule import Target
    from bellcow.model.hello import Record

    Chunks = AsyncIterator[bytes]  # of a body that is forwarded as it arrives

LOOK_S = 0.5  # between two checks that the other server is still alive
DEPOSED_LOOKS = 2  # in a row; the former leader's answer may still be under way
LEADER = "leader"  # a client's name for the leading server
OUTCOME_UNKNOWN = "outcome unknown: the write may or may not be done"


class Frames(Protocol):
    """The frames of an answer."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class StreamTransport(Protocol):
    """Sends frames to other servers."""

    async def stream(
        self, target: Target, path: str, frames: Iterable[bytes] | AsyncIterator[bytes]
    ) -> Frames: ...


class PeerTransport(Transport, StreamTransport, Protocol):
    """Sends messages and frames to other servers. `PeerClient` is the real one."""


class _UnsentError(Exception):
    """The request did not reach the other server, or may be repeated safely."""


class _Call:
    """A call without a time limit, which ends when the other server is no longer alive.

    A machine that is switched off closes no connection, so the table of members decides.
    """

    def __init__(self, frames: Frames, is_alive: Callable[[], bool]) -> None:
        self._frames = frames
        self.is_alive = is_alive

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        async with while_alive(self.is_alive):
            return await anext(self._frames)

    async def aclose(self) -> None:
        await self._frames.aclose()


def _any_server() -> bool:
    """For calls that any server may answer."""
    return True


@contextlib.asynccontextmanager
async def while_alive(is_alive: Callable[[], bool]) -> AsyncIterator[None]:
    """Run the context as long as `is_alive` is true.

    Raises:
        Error: UNKNOWN_OUTCOME, it no longer is.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        if is_alive():
            timer = loop.call_later(LOOK_S, look)
        else:
            limit.reschedule(loop.time())

    timer = loop.call_later(LOOK_S, look)
    try:
        async with timeout(None) as limit:
            yield
    except TimeoutError:
        raise Error(Code.UNKNOWN_OUTCOME, "it does not answer any more") from None
    finally:
        timer.cancel()


class Relayed:
    """A forwarded answer: its beginning, and the rest of its body as an iterator.

    The caller closes it.
    """

    def __init__(self, answer: Answer, frames: Frames) -> None:
        self.answer = answer
        self._frames = frames

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._frames)

    async def aclose(self) -> None:
        await self._frames.aclose()


class Forwarder:
    """Chooses the server for a request by roster and leadership, and forwards it.

    A request contains its client's token. In our region it goes only to servers of the raft
    configuration, at their address in it: members can have any name and address.
    """

    def __init__(
        self,
        transport: StreamTransport,
        roster: Roster,
        leader_id: Callable[[], str],
        configured: Callable[[], Mapping[str, str]],
    ) -> None:
        """`configured` maps ids to addresses, as in the raft configuration."""
        self._transport = transport
        self._roster = roster
        self._leader_id = leader_id
        self._configured = configured

    async def to_leader(self, ask: Ask, content: Chunks | None = None) -> Relayed:
        """The leader's answer.

        Raises:
            no_leader: none is known, or it was not reached.
            Error: UNKNOWN_OUTCOME, a write was sent and not answered; or the leader's own refusal.
        """
        record = self._server(self._leader_id())
        if record is None:
            raise no_leader()
        try:
            return await self._send(record, ask, LAST_HOP, content, self._leads(record.server_id))
        except _UnsentError:
            raise no_leader() from None

    async def to_region(self, region: str, ask: Ask, content: Chunks | None = None) -> Relayed:
        """The answer of a live server of another region, which may forward to its leader.

        The server known for longest comes first, so that a new member cannot attract requests while
        the older ones are alive.

        Raises:
            refused: none is reached.
            Error: as `to_leader` does.
        """
        for record in self._of_region(region):
            with contextlib.suppress(_UnsentError):
                return await self._send(record, ask, FIRST_HOP, content)
        raise refused("No path to region")

    async def to_server(self, name: str, ask: Ask, content: Chunks | None = None) -> Relayed:
        """The answer of the server that `finds` confirmed.

        Raises:
            no_leader: the server is not known any more.
            Error: UNAVAILABLE, it is not reached; or as `to_leader` does.
        """
        record = self._named(name)
        if record is None:
            raise no_leader()
        try:
            return await self._send(record, ask, LAST_HOP, content)
        except _UnsentError as error:
            text = f"server {record.itself.name} cannot be reached: {error}"
            raise Error(Code.UNAVAILABLE, text) from None

    def finds(self, name: str) -> bool:
        """Whether another live server of this region has that name or id."""
        return self._named(name) is not None

    def _named(self, name: str) -> Record | None:
        if name == LEADER:
            return self._server(self._leader_id())
        for server_id in self._configured():
            record = self._server(server_id)
            if record is None or record.status != ALIVE:
                continue
            if name in {server_id, record.itself.member_name}:
                return record
        return None

    def _server(self, server_id: str) -> Record | None:
        """Another server of the raft configuration; None if its address differs from that one."""
        record, address = self._known(server_id), self._configured().get(server_id)
        return record if record is not None and record.itself.rpc_address == address else None

    def _known(self, server_id: str) -> Record | None:
        known = self._roster.table.known.get(server_id)
        return known.record if known is not None else None

    def _of_region(self, region: str) -> list[Record]:
        """Live servers of a region that have answered, the one known for longest first."""
        table = self._roster.table
        live = [
            known
            for server_id, known in table.known.items()
            if known.record.status == ALIVE
            and known.record.itself.region == region
            and table.contacts[server_id].raft is not None
        ]
        return [known.record for known in sorted(live, key=lambda known: known.since)]

    def _leads(self, server_id: str) -> Callable[[], bool]:
        """A check that no other server was leader at `DEPOSED_LOOKS` checks in a row.

        A leader that dies silently is marked as failed long after another one leads.
        """
        deposed = 0

        def leads() -> bool:
            nonlocal deposed
            deposed = 0 if self._leader_id() in {server_id, ""} else deposed + 1
            return deposed < DEPOSED_LOOKS

        return leads

    async def _send(
        self,
        record: Record,
        ask: Ask,
        hops: int,
        content: Chunks | None,
        may_answer: Callable[[], bool] = _any_server,
    ) -> Relayed:
        """Send to one server. `may_answer` is checked until the answer begins.

        Raises:
            Error: the server refused, or did not answer.
            _UnsentError: nothing was sent.
        """  # noqa: DOC501  made by `_translated`
        frames = _framed(msgspec.structs.replace(ask, hops=hops), content)

        def is_alive() -> bool:
            known = self._known(record.server_id)
            return known is not None and known.status == ALIVE

        def may_go_on() -> bool:
            return is_alive() and may_answer()

        try:
            async with while_alive(may_go_on):
                stream = await self._transport.stream(target_of(record), FORWARD_PATH, frames)
        except Error as error:
            raise _translated(error, ask) from None
        answer = _Call(stream, may_go_on)
        try:
            begun = await _begun(answer, ask)
        except BaseException:
            await answer.aclose()
            raise
        answer.is_alive = is_alive
        return begun


async def _begun(frames: Frames, ask: Ask) -> Relayed:
    """The answer with its first frame; a short answer is read completely.

    Raises:
        Error: the answer is lost or malformed, or the server says that nothing was done.
    """  # noqa: DOC501  made by `_lost` too
    try:
        answer = decode(await anext(frames), Answer)
    except StopAsyncIteration:
        raise _lost("it did not answer", ask) from None
    except Error as error:
        if error.code in {Code.UNKNOWN_OUTCOME, Code.DENIED, Code.INVALID, Code.TOO_LARGE}:
            raise _lost(error.message, ask) from None
        raise
    if answer.body is not None:
        with contextlib.suppress(
            Error
        ):  # the answer is complete, even if the connection breaks now
            async for _ in frames:
                pass
        await frames.aclose()
    if answer.undone is not None:
        raise Error(Code(answer.undone.code), answer.undone.message)
    return Relayed(answer, frames)


def _framed(ask: Ask, content: Chunks | None) -> list[bytes] | Chunks:
    """The frames of a request. A long body follows in pieces: the first frame is bounded."""
    if content is not None:
        return _chained(encode(ask), content)
    if ask.body is None or len(ask.body) <= INLINE_BYTES:
        return [encode(ask)]
    return [encode(msgspec.structs.replace(ask, body=None, streams=True)), *pieces(ask.body)]


async def _chained(first: bytes, content: Chunks) -> AsyncIterator[bytes]:
    yield first
    async for piece in content:
        yield piece


def _translated(error: Error, ask: Ask) -> Exception:
    """The client's error for a call without an answer. An error of the body passes unchanged."""
    if error.code is Code.UNAVAILABLE:
        return _UnsentError(error.message)
    if error.code in {Code.REFUSED, Code.DENIED}:  # by the gate, before any execution
        return refused(f"another server refused the request: {error.message}")
    if error.code is Code.UNKNOWN_OUTCOME:
        return _lost(error.message, ask)
    return error


def _lost(why: str, ask: Ask) -> Exception:
    """The connection broke after the request was sent: only a read may be repeated."""
    if ask.method == "GET":
        return _UnsentError(why)
    return Error(Code.UNKNOWN_OUTCOME, f"{OUTCOME_UNKNOWN} ({why})")
