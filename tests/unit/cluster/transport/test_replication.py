"""The source of commits: which voter is asked, and which answers are accepted."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.loop import simulate

from bellcow.cluster.members.schedule import Target
from bellcow.cluster.transport import replication
from bellcow.cluster.transport.replication import Voters
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import COMMITS_PATH, STATE_PATH, decode, encode
from bellcow.store.follow_messages import (
    Behind,
    Commits,
    CommitsRequest,
    Gone,
    StateBegin,
    StateRequest,
    decode_answer,
    encode_chunk,
)
from bellcow.store.protocol import Change, Head, Reload, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.virtual_time

HERD = Cluster("herd", 1)
OTHER = Cluster("herd", 2)
OWN = Head(index=4, commit="c4")
NEXT = Change(Head(index=5, commit="c5", prev="c4", ops=1), {("t", "a"): b"1"})
ITEMS = [[(("t", "a"), b"1")], [(("t", "b"), b"2"), (("u", "c"), b"3")]]


def target(name: str) -> Target:
    return Target(server_id=name, address=(name, 4648), region="global")


def refuses(message: str = "this server has no vote") -> Callable[[], object]:
    def answer() -> object:
        raise Error(Code.REFUSED, message)

    return answer


class Frames:
    def __init__(self, pieces: list[object]) -> None:
        self._pieces = iter(pieces)
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                await asyncio.sleep(3_600)
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class Lines:
    """Lines to voters that answer as the test says."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.leader_index = 0
        self.asked: list[str] = []
        self.frames: list[Frames] = []

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        assert path == COMMITS_PATH
        assert decode(body, CommitsRequest) == CommitsRequest(HERD, "c4", 4)
        self.asked.append(target.server_id)
        answer = self.answers[target.server_id]
        if answer is None:
            await asyncio.sleep(3_600)
        if callable(answer):
            answer = answer()
        return answer if isinstance(answer, bytes) else encode(answer)

    async def stream(self, target: Target, path: str, frames: list[bytes]) -> Frames:
        assert path == STATE_PATH
        assert [decode(each, StateRequest) for each in frames] == [StateRequest(HERD)]
        self.asked.append(target.server_id)
        answer = self.answers[target.server_id]
        if answer is None:
            await asyncio.sleep(3_600)
        if callable(answer):
            answer = answer()
        self.frames.append(Frames(answer))
        return self.frames[-1]

    def source(self, *names: str) -> Voters:
        targets = [target(name) for name in names or self.answers]
        return Voters(self, lambda: targets, lambda: self.leader_index)


def commits_from(lines: Lines, source: Voters | None = None):
    return simulate((source or lines.source()).commits(HERD, OWN))


def test_commits_of_the_first_voter_are_returned():
    lines = Lines(a=Commits(HERD, (NEXT,)), b=Gone(HERD))
    assert commits_from(lines) == (NEXT,)
    assert lines.asked == ["a"]


def test_no_new_commits_is_no_failure():
    assert commits_from(Lines(a=Commits(HERD, ()))) == ()


def test_missing_history_is_a_reload():
    assert commits_from(Lines(a=Gone(HERD))) == Reload()


@pytest.mark.parametrize(
    "bad",
    [
        refuses(),
        Behind(HERD),
        Commits(OTHER, (NEXT,)),
        Gone(OTHER),
        b"",
        b"\xc1",
        None,
    ],
    ids=["refuses", "behind", "other epoch", "other epoch gone", "empty", "garbled", "silent"],
)
async def test_failing_voter_is_replaced_by_the_next_which_is_kept(bad):
    lines = Lines(a=bad, b=Commits(HERD, (NEXT,)))
    source = lines.source()
    first = await source.commits(HERD, OWN)
    lines.answers["a"] = Commits(HERD, ())
    second = await source.commits(HERD, OWN)
    assert (first, second, lines.asked) == ((NEXT,), (NEXT,), ["a", "b", "b"])


def test_voters_that_are_all_behind_are_no_failure():
    assert commits_from(Lines(a=Behind(HERD), b=refuses())) is None


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (refuses(), "a:4648: this server has no vote"),
        (Gone(OTHER), "a:4648: serves cluster herd, epoch 2, and not herd, epoch 1"),
        (b"\xc1", "a:4648: this is no answer of a voter"),
        (None, "a:4648: no answer in time"),
    ],
)
def test_failure_of_all_voters_names_one_and_its_reason(bad, text):
    with pytest.raises(Unavailable, match=text):
        commits_from(Lines(a=bad))


async def test_replication_without_voters_fails_with_that_reason():
    source = Voters(Lines(), list, lambda: 0)
    with pytest.raises(Unavailable, match="no voter is known"):
        await source.commits(HERD, OWN)
    with pytest.raises(Unavailable, match="no voter is known"):
        async with source.state(HERD):
            pass


async def test_kept_voter_may_leave_the_list():
    lines = Lines(a=refuses(), b=Commits(HERD, (NEXT,)), c=Commits(HERD, ()))
    targets = [target("a"), target("b")]
    source = Voters(lines, lambda: targets, lambda: 0)
    await source.commits(HERD, OWN)
    targets[:] = [target("c")]
    assert (await source.commits(HERD, OWN), lines.asked) == ((), ["a", "b", "c"])


def stream_of(head: Head = OWN, cluster: Cluster = HERD) -> list[object]:
    return [encode(StateBegin(cluster, head)), *map(encode_chunk, ITEMS)]


async def state_from(source: Voters):
    async with source.state(HERD) as state:
        return state.head, [chunk async for chunk in state.chunks]


async def test_state_arrives_in_chunks_and_its_stream_is_closed():
    lines = Lines(a=stream_of())
    assert await state_from(lines.source()) == (OWN, ITEMS)
    assert lines.frames[0].closed


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (refuses("not loaded"), "not loaded"),
        (None, "no answer in time"),
        ([], "an empty stream"),
        ([b"\xc1"], "no answer of a voter"),
        (stream_of(cluster=OTHER), "epoch 2, and not herd, epoch 1"),
        ([*stream_of(), b"\xc1"], "no answer of a voter"),
        ([*stream_of()[:2], Error(Code.UNAVAILABLE, "ended before its end")], "ended before"),
        ([*stream_of()[:2], None], "no answer in time"),
    ],
    ids=["refused", "silent", "empty", "garbled", "other", "garbled chunk", "cut", "stuck"],
)
async def test_incomplete_state_is_an_error_and_the_next_voter_is_asked(bad, text):
    lines = Lines(a=bad, b=stream_of())
    source = lines.source()
    with pytest.raises(Unavailable, match=text):
        await state_from(source)
    assert all(frames.closed for frames in lines.frames)
    assert await state_from(source) == (OWN, ITEMS)
    assert lines.asked == ["a", "b"]


async def test_next_voter_is_asked_after_a_state_that_the_store_refuses():
    lines = Lines(a=stream_of(), b=stream_of())
    source = lines.source()
    with pytest.raises(Unavailable, match="lower"):
        async with source.state(HERD):
            raise Unavailable("a lower index")
    await state_from(source)
    assert (lines.asked, lines.frames[0].closed) == (["a", "b"], True)


async def test_state_comes_from_the_voter_without_the_history():
    lines = Lines(a=refuses(), b=Gone(HERD))
    source = lines.source()
    assert await source.commits(HERD, OWN) == Reload()
    lines.answers["b"] = stream_of()
    await state_from(source)
    assert lines.asked == ["a", "b", "b"]


class Rounds(Lines):
    """Voters that wait for something to tell, as real ones do."""

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        if self.answers[target.server_id] == Commits(HERD, ()):
            await asyncio.sleep(2)
        return await super().post(target, path, body)


async def test_voter_without_the_leader_s_commits_is_replaced_by_the_next():
    lines = Rounds(cut=Commits(HERD, ()), good=Commits(HERD, (NEXT,)), leader=Gone(HERD))
    lines.leader_index = 5
    source = lines.source()
    assert ([await source.commits(HERD, OWN) for _ in range(2)], lines.asked) == (
        [(NEXT,), (NEXT,)],
        ["cut", "good", "good"],
    )


async def test_leader_is_asked_when_no_other_voter_has_its_commits():
    lines = Rounds(a=refuses(), cut=Commits(HERD, ()), leader=Commits(HERD, ()))
    source = lines.source()
    first = await source.commits(HERD, OWN)
    lines.answers |= {"a": Commits(HERD, ()), "leader": Commits(HERD, (NEXT,))}
    lines.leader_index = 5
    assert (first, await source.commits(HERD, OWN), lines.asked) == (
        (),
        (NEXT,),
        ["a", "cut", "cut", "a", "leader"],
    )


@pytest.mark.parametrize("index", [0, 4])
async def test_voter_with_the_leader_s_index_is_kept(index):
    lines = Rounds(a=Commits(HERD, ()), b=Commits(HERD, (NEXT,)))
    lines.leader_index = index
    assert (await lines.source().commits(HERD, OWN), lines.asked) == ((), ["a"])


async def test_voter_that_answers_at_once_gets_time_to_receive_the_commit():
    lines = Lines(a=Commits(HERD, ()), b=Commits(HERD, (NEXT,)))
    lines.leader_index = 5
    assert (await lines.source().commits(HERD, OWN), lines.asked) == ((), ["a"])


@pytest.mark.parametrize(("size", "here"), [(100, True), (1 << 20, False)])
def test_large_answer_is_decoded_in_a_thread(monkeypatch, size, here):
    threads = []

    def noted(data: bytes):
        threads.append(threading.get_ident())
        return decode_answer(data)

    monkeypatch.setattr(replication, "decode_answer", noted)
    change = msgspec.structs.replace(NEXT, changes={("t", "a"): bytes(size)})
    source = Lines(a=Commits(HERD, (change,))).source()
    assert asyncio.run(source.commits(HERD, OWN)) == (change,)
    assert [each == threading.get_ident() for each in threads] == [here]
