"""What must hold before the pinned version of uvicorn changes: we build on its private parts.

One test for each item, over a real socket. `tests/unit/api/http` tests each in depth.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
from typing import TYPE_CHECKING

import pytest
from tests.support.certificates import Authority
from tests.support.raw_http import FIXED, get, request, running, until
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from bellcow.config.tls import make_context

if TYPE_CHECKING:
    from pathlib import Path


def test_installed_version_is_the_pinned_one():
    assert importlib.metadata.version("uvicorn") == "0.54.0"


def test_names_that_we_build_on_exist():
    protocol = inspect.getsource(HttpToolsProtocol)
    for name in (
        "self.flow = FlowControl(transport)",
        "self.pipeline: deque",
        "self.cycle: ",
        "self.expect_100_continue",
        "self.server_state.total_requests += 1",
        "self.connections.add(self)",
        "self.connections.discard(self)",
        "self.timeout_keep_alive_task: TimerHandle | None = None",
        "cycle.run_asgi(app)",
        "self.pipeline.appendleft((self.cycle, app))",
    ):
        assert name in protocol
    cycle = inspect.getsource(RequestResponseCycle)
    for name in ("response_complete", "response_started", "waiting_for_100_continue", "more_body"):
        assert f"self.{name} = " in cycle


async def test_connection_is_kept():
    async with running() as site, site.connect() as client:
        for path in ("/json", "/slow", "/json", "/stream", "/json"):
            assert (await client.get(path)).status == 200
        assert site.app.asked[0].headers[0] == (b"host", b"test")


@pytest.mark.parametrize(
    "paths", [["/slow", "/json"], ["/json", "/slow"], ["/stream", "/json", "/slow", "/stream"]]
)
async def test_pipelined_requests_are_answered_in_order(paths: list[str]):
    async with running() as site, site.connect() as client:
        await client.send(b"".join(get(path) for path in paths))
        bodies = {"/slow": b"GET /slow", "/json": b'{"a":1}', "/stream": b"onethree"}
        for path in paths:
            assert (await client.answer()).body == bodies[path]


@pytest.mark.parametrize("path", ["/json", "/slow"])
async def test_answer_to_connection_close_ends_the_connection(path: str):
    async with running() as site, site.connect() as client:
        await client.send(get(path, "Connection: close"))
        assert (await client.answer()).headers[b"Connection"] == b"close"
        assert await client.rest() == b""


@pytest.mark.parametrize("path", ["/json", "/slow"])
async def test_http_1_0_closes(path: str):
    async with running() as site, site.connect() as client:
        await client.send(f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


async def test_head_has_no_body():
    async with running() as site, site.connect() as client:
        await client.send(request("HEAD", "/json") + get("/json"))
        assert (await client.answer(head=True)).status == 200
        assert (await client.answer()).body == b'{"a":1}'


async def test_get_may_have_a_body():
    async with running() as site, site.connect() as client:
        await client.send(request("GET", "/json", body=b"ignored") + get("/large"))
        assert (await client.answer()).body == FIXED["/json"]().body
        assert (await client.answer()).body == FIXED["/large"]().body


async def test_upload_may_be_chunked():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/upload", "Transfer-Encoding: chunked"))
        for _ in range(50):
            await client.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        await client.send(b"0\r\n\r\n" + get("/json"))
        assert (await client.answer()).body == b"500000"
        assert (await client.answer()).status == 200


async def test_continue_is_sent():
    async with running() as site, site.connect() as client:
        await client.send(request("PUT", "/a", "Expect: 100-continue", "Content-Length: 2"))
        assert await client.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert await client.reader.readline() == b"\r\n"
        await client.send(b"ab")
        assert (await client.answer()).body == b"got ab"


async def test_half_a_header_is_cut_off():
    async with running(header_s=0.05) as site, site.connect() as client:
        await client.send(get("/json")[:-10])
        assert await client.rest() == b""


async def test_lost_connection_ends_its_blocking_query():
    async with running() as site, site.connect() as client:
        await client.send(get("/wait"))
        await until(lambda: len(site.waiting) == 1)
        client.reset()
        await until(lambda: len(site.waiting) == 0)


async def test_stop_answers_blocking_queries():
    async with contextlib.AsyncExitStack() as stack:
        async with running() as site:
            client = await stack.enter_async_context(site.connect())
            await client.send(get("/wait"))
            await until(lambda: len(site.waiting) == 1)
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


@pytest.mark.parametrize("shown", [True, False])
async def test_client_certificate_is_required(tmp_path: Path, shown: bool):
    authority = Authority(tmp_path)
    pair = authority.sign()
    context = make_context(pair.cert, pair.key, authority.file, verify_client=True)
    trust = authority.client_context(authority.sign("client") if shown else None)

    async with running(tls=context, trust=trust) as site:
        answered = False
        with contextlib.suppress(OSError, EOFError):
            async with site.connect() as client:
                answered = await client.is_open()
        assert answered is shown


async def test_malformed_request_is_refused():
    async with running() as site, site.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")
        assert (await client.answer()).status == 400
        assert await client.rest() == b""
