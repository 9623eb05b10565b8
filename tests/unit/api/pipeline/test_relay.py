"""A request as it is sent on, and an answer as it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.message import Request
from bellcow.api.pipeline.relay import Rest, Sent, ask_of, response_of
from bellcow.cluster.transport.forward import Relayed
from bellcow.model.forwarded import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEADERS = [(b"host", b"a:1"), (b"x-nomad-token", b"s"), (b"x-nomad-token", b"t")]


class Body:
    async def read(self, limit: int) -> bytes | None:
        return b"all"

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"


class Frames:
    closed = False

    def __aiter__(self) -> Frames:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


def asked(query: bytes = b"") -> Request:
    return Request("PUT", "/v1/a b", b"/v1/a%20b", query, HEADERS, "1.2.3.4")


def taken(raw: bytes) -> Sent:
    sent = Sent()
    sent.raw = raw
    return sent


def test_request_is_sent_on_as_it_stood_on_the_wire():
    ask = ask_of(asked(b"pretty&x=%20"), taken(b"body"))
    assert ask.target == b"/v1/a%20b?pretty&x=%20"
    assert (ask.method, ask.client, ask.body, ask.streams) == ("PUT", "1.2.3.4", b"body", False)
    assert ask.headers == tuple(HEADERS)


def test_no_body_an_empty_body_and_one_to_come_are_three_things():
    assert ask_of(asked(), Sent()).target == b"/v1/a%20b"
    forms = [Sent(), taken(b""), Sent(Rest(Body()))]
    told = [(ask.body, ask.streams) for ask in (ask_of(asked(), sent) for sent in forms)]
    assert told == [(None, False), (b"", False), (None, True)]
    assert Sent().chunks() is None


async def test_rest_of_a_body_records_whether_reading_has_begun():
    rest = Rest(Body())
    chunks = Sent(rest).chunks()
    assert chunks is not None
    assert not rest.begun
    assert [piece async for piece in chunks] == [b"one", b"two"]
    assert rest.begun
    other = Rest(Body())
    assert await other.read(10) == b"all"
    assert other.begun


async def test_body_is_read_once_and_only_when_it_is_to_be_decoded():
    sent, upload = Sent(Rest(Body()), limit=10), Sent(Rest(Body()))
    assert await sent.take()
    assert (sent.raw, sent.chunks()) == (b"all", None)
    assert not await sent.take()
    assert not await upload.take()
    assert (upload.raw, upload.chunks() is None) == (None, False)
    assert not await Sent().take()


def answer(body: bytes | None) -> Answer:
    return Answer(status=404, headers=((b"X-Nomad-Index", b"7"),), body=body)


def test_short_answer_is_a_body_that_nothing_is_done_to():
    response = response_of(Relayed(answer(b"abc"), Frames()))
    assert (response.status, response.body, response.stream) == (404, b"abc", None)
    assert response.headers == [(b"X-Nomad-Index", b"7")]
    assert response.packed


async def test_long_answer_is_a_stream_whose_end_closes_the_call():
    frames = Frames()
    response = response_of(Relayed(answer(None), frames))
    assert response.packed
    assert response.stream is not None
    assert [piece async for piece in response.stream] == []
    await response.stream.aclose()  # type: ignore[attr-defined]
    assert frames.closed
