"""What comes first: the token, and only then the body. Nothing is kept or parsed for strangers."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec
from tests.support.http_here import Here, here

from bellcow.api.pipeline import body as bodies
from bellcow.api.route import SMALL_LIMIT
from bellcow.api.routes import catalog
from bellcow.gocompat import json as decoding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from bellcow.api.route import Route

SCHEDULER = "/v1/operator/scheduler/configuration"
UNKNOWN = "11111111-2222-3333-4444-555555555555"
SPREAD = b'{"SchedulerAlgorithm": "spread"}'


class Untouched:
    """A body, and whether anybody asked for it."""

    def __init__(self, content: bytes = b"{") -> None:
        self._content = content
        self.touched = False

    async def read(self, limit: int) -> bytes | None:
        self.touched = True
        return self._content

    async def chunks(self) -> AsyncIterator[bytes]:
        self.touched = True
        yield self._content


async def put(
    site: Here, path: str, body: Untouched, token: str = "", method: str = "PUT"
) -> tuple[int, bytes]:
    request = site.request(method, path, token)
    request.headers.append((b"transfer-encoding", b"chunked"))
    answer = await site.pipeline.answer(request, body)
    return answer.status, answer.body


async def bootstrapped(site: Here) -> str:
    request = site.request("PUT", "/v1/acl/bootstrap")
    answer = await site.pipeline.answer(request, Untouched())
    return str(msgspec.json.decode(answer.body)["SecretID"])


def takes_a_body(route: Route) -> bool:
    return route.method in {"PUT", "POST"} and (
        route.body is not None or route.path == "/v1/operator/snapshot"
    )


async def test_body_of_a_client_without_the_right_is_touched_on_no_route():
    async with here(acl=True) as site:
        await bootstrapped(site)
        routes = [route for route in catalog.routes() if takes_a_body(route)]
        assert len(routes) > 10
        for route in routes:
            if not route.token:
                continue
            for token in ("", UNKNOWN):
                body = Untouched()
                path = route.path.partition("{")[0] + ("name" if route.tail else "")
                status, text = await put(site, path, body, token, route.method)
                assert status in {400, 403}, (route.path, text)
                assert text in {b"Permission denied", b"ACL token not found"}, route.path
                assert not body.touched, route.path


def test_route_that_reads_a_body_from_anybody_reads_little():
    open_routes = [each for each in catalog.routes() if takes_a_body(each) and not each.token]
    assert {each.path for each in open_routes} == {"/v1/acl/bootstrap"}
    assert all(each.body_rules.limit <= SMALL_LIMIT for each in open_routes)


async def test_wrong_body_is_reported_to_a_client_that_may_write():
    async with here(acl=True) as site:
        root = await bootstrapped(site)
        status, text = await put(site, SCHEDULER, Untouched(), root)
        assert (status, text) == (400, b"Error parsing scheduler config: unexpected EOF")
        assert (await put(site, SCHEDULER, Untouched(SPREAD), root))[0] == 200


async def test_token_that_ends_while_its_body_comes_writes_nothing():
    async with here(acl=True) as site:
        root = await bootstrapped(site)
        created = site.request("PUT", "/v1/acl/token", root)
        content = b'{"Name": "second", "Type": "management"}'
        created.headers.append((b"content-length", b"%d" % len(content)))
        answer = await site.pipeline.answer(created, Untouched(content))
        token = msgspec.json.decode(answer.body)

        class Slow(Untouched):
            async def read(self, limit: int) -> bytes | None:
                path = f"/v1/acl/token/{token['AccessorID']}"
                gone = await site.pipeline.answer(site.request("DELETE", path, root), Untouched())
                assert gone.status == 200
                return SPREAD

        status, text = await put(site, SCHEDULER, Slow(), token["SecretID"])
        assert (status, text) == (403, b"ACL token not found")


async def test_body_is_decoded_on_threads_that_files_and_snapshots_do_not_share(
    monkeypatch: pytest.MonkeyPatch,
):
    names: list[str] = []

    def seen(kind: type, raw: bytes | None) -> decoding.Decoded:
        names.append(threading.current_thread().name)
        return decoding.decode(kind, raw)

    monkeypatch.setattr(bodies, "decode", seen)
    async with here() as site:
        body = Untouched(SPREAD[:-1] + b', "X": "' + b"x" * 8_000 + b'"}')
        assert (await put(site, SCHEDULER, body))[0] == 200
        assert (await put(site, SCHEDULER, Untouched(SPREAD)))[0] == 200
        names.append(await asyncio.to_thread(lambda: threading.current_thread().name))
    large, small, files = names
    assert large.startswith("decode")
    assert small == threading.main_thread().name
    assert not files.startswith(("decode", "pack"))
