"""Sends a client's request on to who must answer it: the leader, another region, a named server.

One call is one try. What its failure means for the client is decided here: whether nothing was
done, so that it may be tried again, or nobody knows. How long to go on trying is the caller's
business, and so is what the request says.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

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

    Chunks = AsyncIterator[bytes]  # of a body that is sent on while it comes

LOOK_S = 0.5  # how often a call looks whether the other server is still there
DEPOSED_LOOKS = 2  # in a row: the answer of who led before may still be on its way
LEADER = "leader"  # how a client names the server that leads
OUTCOME_UNKNOWN = "outcome unknown: the write may or may not be done"


class Frames(Protocol):
    """The frames of an answer."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class StreamTransport(Protocol):
    """Calls to other servers in frames. See `PeerClient.stream`."""

    async def stream(
        self, target: Target, path: str, frames: Iterable[bytes] | AsyncIterator[bytes]
    ) -> Frames: ...


class _UnsentError(Exception):
    """The other server was not reached."""


class _Call:
    """A call of another server: it lasts as long as that one is there, however long it takes.

    A machine that is switched off says nothing, so the list of members must.
    """

    def __init__(self, frames: Frames, is_there: Callable[[], bool]) -> None:
        self._frames = frames
        self.is_there = is_there

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        async with while_there(self.is_there):
            return await anext(self._frames)

    async def aclose(self) -> None:
        await self._frames.aclose()


def _always() -> bool:
    """Any server may answer for itself."""
    return True


@contextlib.asynccontextmanager
async def while_there(is_there: Callable[[], bool]) -> AsyncIterator[None]:
    """Do what is inside, or raise Error(UNKNOWN_OUTCOME) once the other server is gone."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        if is_there():
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
    """An answer on its way to the client: its beginning, and the rest of its body as an iterator.

    Close it.
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
    """Knows from roster and leadership where a request goes, and carries it there.

    A request carries its client's token. In our region it goes only to servers of the raft
    configuration, at the address that stands there: anybody may be a member, of any name.
    """

    def __init__(
        self,
        line: StreamTransport,
        roster: Roster,
        leader_id: Callable[[], str],
        configured: Callable[[], Mapping[str, str]],
    ) -> None:
        """`configured` maps ids to addresses, as in the raft configuration."""
        self._line = line
        self._roster = roster
        self._leader_id = leader_id
        self._configured = configured

    async def to_leader(self, ask: Ask, content: Chunks | None = None) -> Relayed:
        """Raises Error(NO_LEADER) when none is known, or it was not reached or leads no more."""
        record = self._server(self._leader_id())
        if record is None:
            raise no_leader()
        try:
            return await self._send(record, ask, LAST_HOP, content, self._leads(record.server_id))
        except _UnsentError:
            raise no_leader() from None

    async def to_region(self, region: str, ask: Ask, content: Chunks | None = None) -> Relayed:
        """To a live server of a region, which knows its leader.

        The one known for longest is asked first, so that nobody gets requests by joining a region
        whose servers are there. Raises Error(REFUSED) when none is reached.
        """
        for record in self._of_region(region):
            with contextlib.suppress(_UnsentError):
                return await self._send(record, ask, FIRST_HOP, content)
        raise refused("No path to region")

    async def to_server(self, name: str, ask: Ask, content: Chunks | None = None) -> Relayed:
        """To the server that `finds` has found."""
        record = self._named(name)
        if record is None:
            raise no_leader()
        try:
            return await self._send(record, ask, LAST_HOP, content)
        except _UnsentError as error:
            text = f"server {record.itself.name} cannot be reached: {error}"
            raise Error(Code.UNAVAILABLE, text) from None

    def finds(self, name: str) -> bool:
        """Whether another live server of this region goes by that name."""
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
        """Another server of the raft configuration; None where it speaks from another address."""
        record, address = self._known(server_id), self._configured().get(server_id)
        return record if record is not None and record.itself.rpc_address == address else None

    def _known(self, server_id: str) -> Record | None:
        known = self._roster.table.known.get(server_id)
        return known.record if known is not None else None

    def _of_region(self, region: str) -> list[Record]:
        """Live servers of another region that have answered, the one known for longest first."""
        table = self._roster.table
        there = [
            known
            for server_id, known in table.known.items()
            if known.record.status == ALIVE
            and known.record.itself.region == region
            and table.contacts[server_id].raft is not None
        ]
        return [known.record for known in sorted(there, key=lambda known: known.since)]

    def _leads(self, server_id: str) -> Callable[[], bool]:
        """Whether no other server has been leader for some looks in a row.

        One that dies silently is known to have failed long after another leads.
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
        may_answer: Callable[[], bool] = _always,
    ) -> Relayed:
        """`may_answer` counts until the answer has begun, which is then taken to its end."""
        frames = _framed(msgspec.structs.replace(ask, hops=hops), content)

        def is_there() -> bool:
            known = self._known(record.server_id)
            return known is not None and known.status == ALIVE

        def is_right() -> bool:
            return is_there() and may_answer()

        try:
            async with while_there(is_right):
                stream = await self._line.stream(target_of(record), FORWARD_PATH, frames)
        except Error as error:
            raise _meaning(error, ask) from None
        answer = _Call(stream, is_right)
        try:
            begun = await _begun(answer, ask)
        except BaseException:
            await answer.aclose()
            raise
        answer.is_there = is_there
        return begun


async def _begun(frames: Frames, ask: Ask) -> Relayed:
    """The answer once its first frame is here; all of it when it is a short one."""
    try:
        answer = decode(await anext(frames), Answer)
    except StopAsyncIteration:
        raise _lost("it did not answer", ask) from None
    except Error as error:
        if error.code in {Code.UNKNOWN_OUTCOME, Code.DENIED, Code.INVALID, Code.TOO_LARGE}:
            raise _lost(error.message, ask) from None
        raise
    if answer.body is not None:
        with contextlib.suppress(Error):  # it is all here, whatever becomes of the connection
            async for _ in frames:
                pass
        await frames.aclose()
    if answer.undone is not None:
        raise Error(Code(answer.undone.code), answer.undone.message)
    return Relayed(answer, frames)


def _framed(ask: Ask, content: Chunks | None) -> list[bytes] | Chunks:
    """The frames of a request. A long body follows in pieces, for the first frame is bounded."""
    if content is not None:
        return _chained(encode(ask), content)
    if ask.body is None or len(ask.body) <= INLINE_BYTES:
        return [encode(ask)]
    return [encode(msgspec.structs.replace(ask, body=None, streams=True)), *pieces(ask.body)]


async def _chained(first: bytes, content: Chunks) -> AsyncIterator[bytes]:
    yield first
    async for piece in content:
        yield piece


def _meaning(error: Error, ask: Ask) -> Exception:
    """What a call that brought no answer means. An error of the client's own body stays."""
    if error.code is Code.UNAVAILABLE:
        return _UnsentError(error.message)
    if error.code in {Code.REFUSED, Code.DENIED}:  # at the gate, where nothing is done yet
        return refused(f"another server did not take the request: {error.message}")
    if error.code is Code.UNKNOWN_OUTCOME:
        return _lost(error.message, ask)
    return error


def _lost(why: str, ask: Ask) -> Exception:
    """The connection broke after the request had left: a read may be sent again, a write not."""
    if ask.method == "GET":
        return _UnsentError(why)
    return Error(Code.UNKNOWN_OUTCOME, f"{OUTCOME_UNKNOWN} ({why})")
