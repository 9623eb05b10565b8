"""The ASGI callable under other servers: the request that the app gets, and the answer sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.raw_http import FIXED, FixedApp

from bellcow.api.http.asgi import AsgiBody, asgi
from bellcow.api.http.budget import Budget
from bellcow.api.http.limits import HttpLimits
from bellcow.api.message import Request, Response
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def client(app: Any, limits: HttpLimits | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(asgi(app, limits), client=("192.0.2.7", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


class Noting(FixedApp):
    async def _answer(self, request: Request, body: Any) -> Response:
        self.asked.append(request)
        return await super()._answer(request, body)


@pytest.mark.parametrize("path", sorted(set(FIXED) - {"/split"}))
async def test_answer_has_the_status_headers_and_body_of_the_app(path: str):
    async with client(FixedApp()) as http:
        got = await http.get(path)
    want = FIXED[path]()
    assert (got.status_code, got.content) == (want.status, want.body)
    assert got.headers["vary"] == "Accept-Encoding"
    for name, value in want.headers:
        assert got.headers[name.decode()] == value.decode()


async def test_app_gets_the_request_as_it_was_sent():
    app = Noting()
    async with client(app) as http:
        await http.get("/v1/a%2Fb?x=1&y", headers={"X-Nomad-Token": "t"})
    request = app.asked[0]
    assert (request.method, request.path, request.raw_path) == (
        "GET",
        "/v1/a/b",
        b"/v1/a%2Fb",
    )
    assert (request.raw_query, request.client, request.secure) == (b"x=1&y", "192.0.2.7", False)
    assert request.header(b"x-nomad-token") == b"t"


async def test_stream_is_sent_and_closed():
    app = FixedApp()
    async with client(app) as http:
        assert (await http.get("/stream")).text == "onethree"
    assert app.closed.is_set()


async def test_answer_to_head_has_no_body():
    async with client(FixedApp()) as http:
        got = await http.head("/json")
    assert (got.content, got.headers["content-length"]) == (b"", "10")


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "nothing"), (b"", "nothing"), (b"abc", "got abc"), (b"x" * 1000, "got " + "x" * 1000)],
)
async def test_body_is_read_whole(content: bytes | None, text: str):
    async with client(FixedApp()) as http:
        assert (await http.put("/a", content=content)).text == text


async def test_body_over_the_limit_is_refused():
    async with client(FixedApp()) as http:
        assert (await http.put("/a", content=b"x" * 1001)).status_code == 413
        assert (await http.put("/a", content=pieces(600))).status_code == 413


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(2):
        yield b"x" * size


async def test_empty_chunked_body_is_a_body():
    async with client(FixedApp()) as http:
        assert (await http.put("/a", content=pieces(0))).text == "got "


async def test_upload_is_read_in_pieces():
    async with client(FixedApp()) as http:
        assert (await http.put("/upload", content=pieces(5000))).text == "10000"


async def test_other_protocols_than_http_raise():
    with pytest.raises(RuntimeError, match="websocket"):
        await asgi(FixedApp())({"type": "websocket"}, None, None)


def body_of(
    *messages: dict[str, Any], limits: HttpLimits, each_s: float = 0.0, budget: Budget | None = None
) -> AsgiBody:
    """A body whose messages arrive `each_s` apart. After the last one nothing arrives."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        await asyncio.sleep(each_s)
        return left.pop(0)

    headers = [(b"transfer-encoding", b"chunked")]
    request = Request("PUT", "/", b"/", b"", headers)
    return AsgiBody(request, receive, limits, budget or Budget(1_000, "too many"))


def piece(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


@pytest.mark.virtual_time
async def test_late_body_is_a_timeout():
    body = body_of(piece(b"x"), limits=HttpLimits(body_s=0.02))
    with pytest.raises(Error) as caught:
        await body.read(100)
    assert caught.value.code is Code.TIMEOUT


@pytest.mark.virtual_time
async def test_client_that_leaves_within_its_body_is_an_error():
    body = body_of(piece(b"x"), {"type": "http.disconnect"}, limits=HttpLimits())
    with pytest.raises(Error, match="unexpected EOF"):
        await body.read(100)


async def _count(body: AsgiBody, digest_s: float = 0.0) -> int:
    total = 0
    async for data in body.chunks():
        total += len(data)
        await asyncio.sleep(digest_s)
    return total


FAST = HttpLimits(upload_window_s=0.2, upload_bytes_per_s=500)  # 100 bytes a window


@pytest.mark.virtual_time
async def test_upload_without_progress_is_a_timeout():
    with pytest.raises(Error) as caught:
        await _count(body_of(piece(b"x" * 10), limits=FAST))
    assert caught.value.code is Code.TIMEOUT


@pytest.mark.virtual_time
async def test_least_speed_is_an_average_over_the_window():
    slow = [piece(b"x" * 400, more=i < 4) for i in range(5)]
    assert await _count(body_of(*slow, limits=FAST, each_s=0.11)) == 2000


@pytest.mark.virtual_time
async def test_time_between_two_reads_does_not_count_as_the_clients():
    few = [piece(b"x", more=i < 1) for i in range(2)]
    assert await _count(body_of(*few, limits=FAST), digest_s=0.25) == 2


@pytest.mark.virtual_time
async def test_unfinished_bodies_share_a_budget_and_release_it():
    budget, limits = Budget(100, "too many"), HttpLimits(body_s=5.0)
    first = asyncio.ensure_future(body_of(piece(b"x" * 60), limits=limits, budget=budget).read(100))
    await asyncio.sleep(1.0)
    with pytest.raises(Error) as caught:
        await body_of(piece(b"x" * 60), limits=limits, budget=budget).read(100)
    assert caught.value.code is Code.TOO_MANY
    assert budget.held == 60
    with pytest.raises(Error):
        await first
    assert budget.held == 0
    whole = piece(b"x" * 100, more=False)
    assert await body_of(whole, limits=limits, budget=budget).read(100) == b"x" * 100
    assert budget.held == 0
