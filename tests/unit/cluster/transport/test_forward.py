"""The target of a forwarded request, and the client's error for each failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.clock import FixedClock
from tests.sim.net import FOLLOWER, itself

from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Contact, Known
from bellcow.cluster.transport.forward import Forwarder
from bellcow.cluster.transport.frames import QUESTION_BYTES
from bellcow.errors import Code, Error
from bellcow.model.forwarded import FIRST_HOP, LAST_HOP, Answer, Ask, Undone
from bellcow.model.hello import Record
from bellcow.model.membership_calls import FORWARD_PATH, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from bellcow.cluster.members.schedule import Target

YES = Answer(status=200, headers=((b"X-Nomad-Index", b"7"),), body=b"yes")


def ask(method: str = "GET") -> Ask:
    return Ask(method=method, target=b"/v1/x?y", headers=(), client="1.2.3.4", hops=LAST_HOP)


class Frames:
    """An answer: frames, then its end or a failure."""

    def __init__(self, *frames: bytes, failure: Exception | None = None) -> None:
        self.frames = list(frames)
        self.failure = failure
        self.closed = 0

    def __aiter__(self) -> Frames:
        return self

    async def __anext__(self) -> bytes:
        if self.frames:
            return self.frames.pop(0)
        if self.failure is not None:
            raise self.failure
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


class Transport:
    """Answers by the name of the server that is called; keeps what it was sent."""

    def __init__(self, **answers: Frames | Error) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str, Ask, list[bytes]]] = []

    async def stream(
        self, target: Target, path: str, frames: Iterable[bytes] | AsyncIterator[bytes]
    ) -> Frames:
        sent = [f async for f in frames] if hasattr(frames, "__aiter__") else list(frames)
        name = target.address[0]
        self.sent.append((name, path, decode(sent[0], Ask), sent[1:]))
        answer = self.answers[name]
        if isinstance(answer, Error):
            raise answer
        return answer

    @property
    def called(self) -> list[str]:
        return [name for name, *_ in self.sent]


SERVERS = {f"id-{name}": f"{name}:4647" for name in "abc"}


def forwarder(line: Transport, leader: str = "id-b", **statuses: str) -> Forwarder:
    """Server a, which knows b and c of its region, d and e of region west."""
    roster = Roster(itself("a"), FixedClock())
    known, contacts = {}, {}
    for name in "bcde":
        record = Record(
            itself=itself(name, "west" if name in "de" else "global"),
            start_ns=0,
            status=statuses.get(name, "alive"),  # type: ignore[arg-type]
            status_seq=0,
        )
        known[f"id-{name}"] = Known(record, 0.0)
        contacts[f"id-{name}"] = Contact(answered=0.0, raft=FOLLOWER)
    roster.table = msgspec.structs.replace(roster.table, known=known, contacts=contacts)
    return Forwarder(line, roster, lambda: leader, lambda: SERVERS)  # type: ignore[arg-type]


def fails(coroutine, expected: Code) -> str:
    with pytest.raises(Error) as caught:
        asyncio.run(coroutine)
    assert caught.value.code is expected
    return caught.value.message


def test_request_goes_to_the_leader_as_its_last_hop():
    line = Transport(b=Frames(encode(YES)))
    relayed = asyncio.run(forwarder(line).to_leader(ask("PUT")))
    assert relayed.answer == YES
    assert line.sent == [("b", FORWARD_PATH, ask("PUT"), [])]
    assert line.answers["b"].closed == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("leader", ["", "id-a", "id-x"])
def test_forward_without_another_leading_server_has_no_leader(leader: str):
    line = Transport()
    fails(forwarder(line, leader).to_leader(ask()), Code.NO_LEADER)
    assert line.sent == []


async def content() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


def test_streamed_body_follows_the_request():
    line = Transport(b=Frames(encode(YES)))
    asyncio.run(forwarder(line).to_leader(ask("PUT"), content()))
    assert line.sent[0][3] == [b"one", b"two"]


def test_long_body_follows_its_request_in_bounded_pieces():
    line = Transport(b=Frames(encode(YES)))
    body = bytes(range(256)) * 4_000
    asyncio.run(forwarder(line).to_leader(msgspec.structs.replace(ask("PUT"), body=body)))
    ((_, _, first, rest),) = line.sent
    assert (first.body, first.streams) == (None, True)
    assert b"".join(rest) == body
    assert max(map(len, rest)) < QUESTION_BYTES


async def rest(relayed) -> list[bytes]:
    return [piece async for piece in relayed]


async def test_long_answer_stays_open_until_it_is_closed():
    answer = Frames(encode(msgspec.structs.replace(YES, body=None)), b"one", b"two")
    relayed = await forwarder(Transport(b=answer)).to_leader(ask())
    assert await rest(relayed) == [b"one", b"two"]
    assert answer.closed == 0
    await relayed.aclose()
    assert answer.closed == 1


def test_short_answer_counts_though_the_connection_breaks_after_it():
    broken = Frames(encode(YES), failure=Error(Code.UNKNOWN_OUTCOME, "cut"))
    assert asyncio.run(forwarder(Transport(b=broken)).to_leader(ask("PUT"))).answer == YES


LOST = [
    Error(Code.UNKNOWN_OUTCOME, "broken"),
    Frames(failure=Error(Code.UNKNOWN_OUTCOME, "cut")),
    Frames(failure=Error(Code.DENIED, "forged")),
    Frames(b"\xc1"),
    Frames(),
]


@pytest.mark.parametrize("number", range(len(LOST)))
def test_write_without_an_answer_has_an_unknown_outcome(number: int):
    lost = LOST[number]
    answer = Frames(*lost.frames, failure=lost.failure) if isinstance(lost, Frames) else lost
    text = fails(forwarder(Transport(b=answer)).to_leader(ask("PUT")), Code.UNKNOWN_OUTCOME)
    assert text.startswith("outcome unknown: the write may or may not be done (")
    if isinstance(answer, Frames):
        assert answer.closed == 1


@pytest.mark.parametrize("number", range(len(LOST)))
def test_read_without_an_answer_may_be_repeated(number: int):
    lost = LOST[number]
    answer = Frames(*lost.frames, failure=lost.failure) if isinstance(lost, Frames) else lost
    fails(forwarder(Transport(b=answer)).to_leader(ask()), Code.NO_LEADER)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_unsent_request_may_be_repeated(method: str):
    refused = Error(Code.UNAVAILABLE, "connection refused")
    fails(forwarder(Transport(b=refused)).to_leader(ask(method)), Code.NO_LEADER)


@pytest.mark.parametrize("code", [Code.REFUSED, Code.DENIED])
def test_refusal_at_the_gate_is_returned_with_its_reason(code: Code):
    shut = Error(code, "403: signed with another key")
    text = fails(forwarder(Transport(b=shut)).to_leader(ask("PUT")), Code.REFUSED)
    assert text.endswith("403: signed with another key")


@pytest.mark.parametrize(
    ("undone", "code"), [("no_leader", Code.NO_LEADER), ("unavailable", Code.UNAVAILABLE)]
)
def test_answer_without_execution_is_an_error_of_its_kind(undone, code):
    said = msgspec.structs.replace(YES, status=500, undone=Undone(undone, "not done: no quorum"))
    text = fails(forwarder(Transport(b=Frames(encode(said)))).to_leader(ask("PUT")), code)
    assert text == "not done: no quorum"


def test_error_of_the_client_s_own_body_is_unchanged():
    slow = Error(Code.TIMEOUT, "request body did not arrive in time")
    fails(forwarder(Transport(b=slow)).to_leader(ask("PUT")), Code.TIMEOUT)


def test_request_for_another_region_may_take_one_more_hop():
    line = Transport(d=Frames(encode(YES)), e=Frames(encode(YES)))
    asyncio.run(forwarder(line).to_region("west", ask("PUT")))
    assert line.sent[0][0] in "de"
    assert line.sent[0][2].hops == FIRST_HOP


def with_member(here: Forwarder, name: str, *, since: float = 1.0, heard: bool = True, **fields):
    """The same forwarder, which has come to know another member."""
    table = here._roster.table
    record = Record(itself=itself(name, **fields), start_ns=0, status="alive", status_seq=0)
    contact = Contact(answered=0.0, raft=FOLLOWER if heard else None)
    here._roster.table = msgspec.structs.replace(
        table,
        known={record.server_id: Known(record, since), **table.known},
        contacts={**table.contacts, record.server_id: contact},
    )
    return here


def test_member_outside_the_configuration_gets_no_request_under_any_name():
    line = Transport(c=Frames(encode(YES)))
    here = with_member(forwarder(line, "id-evil"), "c", server_id="id-evil", serf=("evil", 1))
    fails(here.to_leader(ask()), Code.NO_LEADER)
    assert not here.finds("id-evil")
    asyncio.run(here.to_server("c.global", ask()))
    assert line.called == ["c"]


def test_configured_server_gets_no_request_at_another_address():
    here = with_member(forwarder(Transport()), "x", server_id="id-x")
    table = here._roster.table
    moved = msgspec.structs.replace(table.known["id-b"].record, itself=itself("b", rpc=("evil", 1)))
    known = {**table.known, "id-b": Known(moved, 0.0)}
    here._roster.table = msgspec.structs.replace(table, known=known)
    fails(here.to_leader(ask()), Code.NO_LEADER)
    assert not here.finds("id-b")


@pytest.mark.parametrize(("since", "heard"), [(1.0, True), (-1.0, False)])
def test_later_or_silent_members_of_a_region_get_no_request(since, heard):
    line = Transport(d=Frames(encode(YES)))
    here = with_member(forwarder(line), "evil", region="west", since=since, heard=heard)
    asyncio.run(here.to_region("west", ask()))
    assert line.called == ["d"]


def test_region_is_reached_by_any_of_its_live_servers():
    away = Error(Code.UNAVAILABLE, "connection refused")
    line = Transport(d=away, e=Frames(encode(YES)))
    assert asyncio.run(forwarder(line).to_region("west", ask())).answer == YES
    line = Transport(e=Frames(encode(YES)))
    asyncio.run(forwarder(line, d="failed").to_region("west", ask()))
    assert line.called == ["e"]


def test_region_without_live_servers_has_no_path():
    away = Error(Code.UNAVAILABLE, "connection refused")
    for region, line in (
        ("nowhere", Transport()),
        ("West", Transport()),
        ("west", Transport(d=away, e=away)),
    ):
        text = fails(forwarder(line).to_region(region, ask()), Code.REFUSED)
        assert text == "No path to region"


def test_write_lost_on_its_way_to_a_region_is_not_repeated():
    lost = Error(Code.UNKNOWN_OUTCOME, "broken")
    line = Transport(d=lost, e=lost)
    fails(forwarder(line).to_region("west", ask("PUT")), Code.UNKNOWN_OUTCOME)
    assert len(line.sent) == 1


@pytest.mark.parametrize("name", ["id-c", "c.global"])
def test_server_is_found_by_id_and_by_name_with_region(name: str):
    line = Transport(c=Frames(encode(YES)))
    here = forwarder(line)
    assert here.finds(name)
    asyncio.run(here.to_server(name, ask()))
    assert line.called == ["c"]


def test_name_leader_means_the_current_leader():
    assert forwarder(Transport(), "id-b").finds("leader")
    assert not forwarder(Transport(), "id-a").finds("leader")


@pytest.mark.parametrize("name", ["", "a", "id-a", "x", "d", "d.west", "c.global"])
def test_own_and_dead_and_foreign_servers_are_not_found(name: str):
    assert not forwarder(Transport(), c="failed").finds(name)


def test_server_is_not_found_by_name_without_region():
    assert not forwarder(Transport()).finds("c")


def test_unreachable_named_server_is_named_in_the_error():
    away = Error(Code.UNAVAILABLE, "connection refused")
    text = fails(forwarder(Transport(c=away)).to_server("id-c", ask()), Code.UNAVAILABLE)
    assert text == "server c cannot be reached: connection refused"


class Silent:
    """A line to a server that takes calls and answers none, or begins to and then falls silent."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)
        self.closed = False

    async def stream(self, target: Target, path: str, frames: object) -> Silent:
        if not self.frames:
            await asyncio.Event().wait()
        return self

    def __aiter__(self) -> Silent:
        return self

    async def __anext__(self) -> bytes:
        if not self.frames:
            await asyncio.Event().wait()
        return self.frames.pop(0)

    async def aclose(self) -> None:
        self.closed = True


def fail_after(seconds: float, here: Forwarder) -> None:
    """The list of members says after a while that b is gone."""
    roster = here._roster

    def fail() -> None:
        known = dict(roster.table.known)
        record = msgspec.structs.replace(known["id-b"].record, status="failed")
        known["id-b"] = Known(record, 0.0)
        roster.table = msgspec.structs.replace(roster.table, known=known)

    asyncio.get_running_loop().call_later(seconds, fail)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("method", "code"), [("GET", Code.NO_LEADER), ("PUT", Code.UNKNOWN_OUTCOME)]
)
async def test_call_ends_when_the_silent_server_has_failed(method, code):
    here = forwarder(Silent())  # type: ignore[arg-type]
    fail_after(7.0, here)
    with pytest.raises(Error) as caught:
        await here.to_leader(ask(method))
    assert caught.value.code is code
    assert 7.0 <= asyncio.get_running_loop().time() <= 7.5


@pytest.mark.virtual_time
async def test_call_to_a_live_server_has_no_time_limit():
    here = forwarder(Silent())  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(300):
            await here.to_leader(ask())


@pytest.mark.virtual_time
async def test_partial_answer_ends_when_the_silent_server_has_failed():
    line = Silent(encode(msgspec.structs.replace(YES, body=None)), b"one")
    here = forwarder(line)  # type: ignore[arg-type]
    relayed = await here.to_leader(ask())
    fail_after(7.0, here)
    assert await anext(relayed) == b"one"
    with pytest.raises(Error, match="does not answer any more"):
        await anext(relayed)
    await relayed.aclose()
    assert line.closed


class Leads:
    """Who leads, as the test says."""

    def __init__(self, line: object) -> None:
        self.here = forwarder(line)  # type: ignore[arg-type]
        self.leader = "id-b"
        self.here._leader_id = lambda: self.leader

    def change_after(self, seconds: float, leader: str) -> None:
        def change() -> None:
            self.leader = leader

        asyncio.get_running_loop().call_later(seconds, change)


@pytest.mark.virtual_time
@pytest.mark.parametrize("new", ["id-a", "id-c"])
@pytest.mark.parametrize(
    ("method", "code"), [("GET", Code.NO_LEADER), ("PUT", Code.UNKNOWN_OUTCOME)]
)
async def test_call_of_a_silent_leader_ends_soon_after_another_leads(method, code, new):
    leads = Leads(Silent())
    leads.change_after(1.6, new)
    with pytest.raises(Error) as caught:
        await leads.here.to_leader(ask(method))
    assert caught.value.code is code
    assert 2.0 <= asyncio.get_running_loop().time() <= 2.6


@pytest.mark.virtual_time
async def test_call_of_a_leader_continues_while_no_other_server_leads():
    leads = Leads(Silent())
    leads.change_after(1, "")
    leads.change_after(9.2, "id-c")
    leads.change_after(9.8, "id-b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await leads.here.to_leader(ask())


@pytest.mark.virtual_time
async def test_begun_answer_is_read_to_its_end_after_a_change_of_leader():
    leads = Leads(Slow(encode(msgspec.structs.replace(YES, body=None)), b"one", b"two"))
    relayed = await leads.here.to_leader(ask())
    leads.leader = "id-c"
    assert await rest(relayed) == [b"one", b"two"]


class Slow(Frames):
    """A line to a server that takes five seconds for each piece of a body."""

    async def stream(self, target: Target, path: str, frames: object) -> Slow:
        return self

    async def __anext__(self) -> bytes:
        if len(self.frames) < 3:
            await asyncio.sleep(5)
        return await super().__anext__()
