"""Which bodies are read, by whom, and what is refused of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.message import Request
from bellcow.api.pipeline.body import DECODE_NOW_LIMIT, Decoders, unread
from bellcow.api.route import BodyRules, Route, Serve
from bellcow.errors import Code, Error, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Thing(msgspec.Struct, rename="pascal"):
    name: str = ""

    def problem(self) -> Error | None:
        return invalid("bad name") if self.name == "bad" else None


class Content:
    async def read(self, limit: int) -> bytes | None:
        return b"x"[:limit]

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"x"


def route(body: Any = Thing, method: str = "PUT", **rules: Any) -> Route:
    return Route(
        method=method,
        path="/v1/x",
        need=Need.ANONYMOUS,
        serve=Serve.LOCAL,
        handler=print,
        summary="",
        body=body,
        body_rules=BodyRules(prefix="wrong: ", **rules),
    )


def called(method: str = "PUT", length: int = 1) -> Call:
    headers = [(b"content-length", b"%d" % length)]
    call = Call(None, Request(method, "/v1/x", b"/v1/x", b"", headers), "")  # type: ignore[arg-type]
    call.content = Content()
    return call


def arguments(declared: Route, raw: bytes | None, call: Call | None = None) -> tuple[Any, ...]:
    decoders = Decoders()
    try:
        return asyncio.run(decoders.arguments(declared, call or called(), raw))
    finally:
        decoders.close()


def test_body_of_a_route_that_declares_one_is_taken_up_to_its_limit():
    sent = unread(route(), called())
    assert asyncio.run(sent.take())
    assert sent.raw == b"x"


def test_upload_is_left_to_the_handler():
    call = called()
    sent = unread(route(None), call)
    assert call.content is sent.rest
    assert not asyncio.run(sent.take())


@pytest.mark.parametrize(("method", "length"), [("GET", 1), ("DELETE", 1), ("PUT", 0)])
def test_body_that_no_one_asks_for_is_ignored(method: str, length: int):
    call = called(method, length)
    assert unread(route(None, method), call).rest is None


def test_handler_gets_what_it_declares():
    assert arguments(route(None), b"x") == ()
    assert arguments(route(bytes), b"x") == (b"x",)
    assert arguments(route(bytes), None) == (b"",)
    assert arguments(route(optional=True), None) == (None,)
    assert arguments(route(), b'{"Name": "a"}') == (Thing("a"),)
    long = b"a" * DECODE_NOW_LIMIT
    assert arguments(route(), b'{"Name": "%s"}' % long) == (Thing(long.decode()),)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"nope", "wrong: "),
        (b"null", "wrong: the body is null; send an object"),
        (b'{"x": 1, "y\\n": 2}', "wrong: no key of the body is known: x, y?; known are Name"),
        (b'{"Name": "bad"}', "bad name"),
    ],
)
def test_wrong_body_is_refused(raw: bytes, text: str):
    with pytest.raises(Error) as caught:
        arguments(route(strict=True), raw)
    assert caught.value.message.startswith(text)
    assert caught.value.code is Code.INVALID


def test_unknown_keys_beside_known_ones_are_warned_about():
    call = called()
    arguments(route(strict=True), b'{"Name": "a", "x": 1}', call)
    assert call.warnings == ('299 - "unknown keys ignored: x"',)
