"""The door that answers from memory and the one that may await give the same answers."""

from __future__ import annotations

import asyncio
import gzip
import re

import pytest
from tests.harness import exchange
from tests.support.http_here import Here, here

from bellcow.api.message import Response, Wait
from bellcow.api.routes.catalog import routes
from bellcow.errors import Code, Error

# What the connection or the client library adds; the answer itself is all the rest.
CONNECTION = {"date", "connection", "content-length", "transfer-encoding"}
SEEN_MOVING = re.compile(rb'("(?:Value|Timestamp|goroutines|UsedMB)"): ?("[^"]*"|[0-9.e+-]+)')
PROMETHEUS = re.compile(rb"(?m)^([a-z_A-Z]+(?:\{.*\})?) (?:[0-9.e+-]+|NaN)$")
# What has been counted so far, until the first interval of metrics ends.
COUNTED = re.compile(rb'"(?:Counters|Samples)":\s*\[[^\]]*\]')
TAILS = {"{name}": "default", "{accessor}": "0" * 36, "{rest}": "zzz", "*": "", "{action}": "list"}
STREAMS = {"/v1/agent/monitor"}  # ends only with its client

GETS = sorted({route.path for route in routes() if route.method == "GET"} - STREAMS)
VARIANTS = [
    "",
    "?pretty",
    "?stale",
    "?region=nowhere",
    "?wait=zz",
    "?index=x",
    "?format=prometheus",
]
ODDITIES = [
    "/v1/nothing",
    "/v1/operator/raft",
    "//v1/regions",
    "/v1/operator/raft/configurationXYZ",
    "/v1/acl/policy/",
    "/v1/namespace/none",
    "/v1/acl/policy/none",
    "/v1/agent/health?type=client",
    "/v1/agent/health?type=bogus",
]


def concrete(path: str) -> str:
    for tail, value in TAILS.items():
        path = path.replace(tail, value)
    return path


TARGETS = [concrete(path) + variant for path in GETS for variant in VARIANTS] + ODDITIES


def steady(body: bytes) -> bytes:
    """The body without figures that change from one look to the next."""
    return PROMETHEUS.sub(rb"\1 N", SEEN_MOVING.sub(rb"\1: N", COUNTED.sub(b"", body)))


def facts(status: int, headers: list[tuple[str, str]], body: bytes) -> tuple[object, ...]:
    kept = sorted((k.lower(), v) for k, v in headers if k.lower() not in CONNECTION)
    if dict(kept).get("digest"):
        # An archive is made anew each time, with the time in it.
        kept = [(name, value) for name, value in kept if name != "digest"]
        body = body[:2]
    return status, kept, steady(body)


async def by_socket(server: Here, target: str, headers: dict[str, str]) -> tuple[object, ...]:
    answer = await asyncio.to_thread(exchange, server.port, "GET", target, headers)
    packed = answer.header("Content-Encoding") == "gzip"
    body = gzip.decompress(answer.body) if packed else answer.body
    return facts(answer.status, answer.headers, body)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("acl", [False, True])
async def test_every_get_has_the_same_answer_by_socket_and_by_asgi(acl, packed):
    wrong = []
    async with here(acl=acl) as server, server.client() as client:
        token = ""
        if acl:
            token = (await client.put("/v1/acl/bootstrap")).json()["SecretID"]
        headers = {"X-Nomad-Token": token} if acl else {}
        headers["Accept-Encoding"] = "gzip" if packed else "identity"
        for target in TARGETS:
            quick = await by_socket(server, target, headers)
            request = client.build_request("GET", "http://localhost/", headers=headers)
            request.url = request.url.copy_with(raw_path=target.encode())
            answer = await client.send(request)
            slow = facts(answer.status_code, list(answer.headers.items()), answer.content)
            if quick != slow:
                wrong.append(f"{target}: {quick} != {slow}")
    assert wrong == []


def test_every_read_that_does_not_await_is_answered_from_memory():
    async def test() -> dict[str, object]:
        async with here() as server:
            found: dict[str, object] = {}
            for route in routes():
                if route.method != "GET" or route.path in STREAMS:
                    continue
                request = server.request("GET", concrete(route.path))
                found[route.path] = server.pipeline.answer_now(request) is not None
            return found

    found = asyncio.run(test())
    slow = {path for path, quick in found.items() if not quick}
    # Too big to compress at once, read from disk, made in a thread, or held for a leader.
    assert slow <= {
        "/",
        "/ui/{name}",
        "/v1/agent/health",
        "/v1/agent/host",
        "/v1/agent/pprof/{profile}",
        "/v1/operator/autopilot/health",
        "/v1/operator/snapshot",
    }


def test_without_a_leader_only_stale_reads_are_answered():
    async def test() -> dict[str, tuple[int, bytes]]:
        async with here() as server:
            leadership = server.server.leadership
            lost = _NoLeader(leadership)
            pipeline = server.copy_with(leadership=lost)
            out = {}
            for target in (
                "/v1/operator/raft/configuration",
                "/v1/operator/autopilot/configuration",
                "/v1/operator/scheduler/configuration",
                "/v1/operator/snapshot",
                "/v1/operator/license",
                "/v1/status/leader",
                "/v1/status/peers",
                "/v1/operator/autopilot/health",
                "/v1/regions",
                "/v1/agent/health",
            ):
                for query in ("", "?stale", "?stale=false"):
                    answer = await pipeline.answer(server.request("GET", target + query), _NoBody())
                    if answer.stream is not None:
                        await answer.stream.aclose()  # type: ignore[attr-defined]
                    out[target + query] = (answer.status, answer.body)
            return out

    answers = asyncio.run(test())
    for target in ("raft", "autopilot", "scheduler"):
        path = f"/v1/operator/{target}/configuration"
        assert answers[f"{path}?stale"][0] == 200
        assert answers[path] == (500, b"No cluster leader")
        assert answers[f"{path}?stale=false"] == (500, b"No cluster leader")
    assert b'"Leader":true' not in answers["/v1/operator/raft/configuration?stale"][1]
    scheduler = answers["/v1/operator/scheduler/configuration?stale"][1]
    assert b'"KnownLeader":false' in scheduler
    for path in ("/v1/operator/snapshot", "/v1/operator/license"):
        assert answers[f"{path}?stale"][0] == 200
        assert answers[path] == (500, b"No cluster leader")
    assert answers["/v1/status/leader?stale"] == (200, b'""')
    assert answers["/v1/status/leader"] == (500, b"No cluster leader")
    assert answers["/v1/status/peers?stale"][0] == 200
    health = "/v1/operator/autopilot/health"
    assert answers[health] == (500, b"No cluster leader")
    assert answers[f"{health}?stale"][0] in {200, 429}
    assert answers["/v1/regions"] == (200, b'["global"]')
    no_leader = b'{"server":{"ok":false,"message":"No cluster leader"}}'
    assert answers["/v1/agent/health"] == (500, no_leader)
    assert answers["/v1/agent/health?stale"] == (
        500,
        b'{"server":{"ok":false,"message":"no leader"}}',
    )


@pytest.mark.parametrize(
    "target",
    ["/v1/operator/scheduler/configuration", "/v1/status/leader", "/v1/agent/health"],
)
async def test_a_read_is_held_until_a_leader_appears(target):
    async with here() as server:
        request = server.request("GET", target)
        at_once = await server.pipeline.answer(request, _NoBody())
        late = _LateLeader(server.server.leadership)
        pipeline = server.copy_with(leadership=late)
        assert pipeline.answer_now(request) is None
        held = await pipeline.answer(request, _NoBody())
        assert late.asked
        assert (held.status, held.body) == (200, at_once.body)


async def test_a_write_is_held_until_a_leader_appears():
    async with here() as server:
        late = _LateLeader(server.server.leadership)
        request = server.request("PUT", "/v1/system/gc")
        assert (await server.copy_with(leadership=late).answer(request, _NoBody())).status == 200
        assert late.asked


class _LateLeader:
    """A leadership that comes when somebody has waited for it."""

    def __init__(self, real: object) -> None:
        self.epoch = real.epoch  # type: ignore[attr-defined]
        self.leader_id = real.leader_id  # type: ignore[attr-defined]
        self.is_leader = False
        self.asked = False

    async def wait_for_leader(self) -> None:
        self.asked = True
        await asyncio.sleep(0)
        self.is_leader = True


class _NoLeader:
    """The leadership as it looks when nobody has it, and the wait for it is over."""

    is_leader = False
    leader_id = ""

    def __init__(self, real: object) -> None:
        self.epoch = real.epoch  # type: ignore[attr-defined]

    async def wait_for_leader(self) -> None:
        raise Error(Code.NO_LEADER, "No cluster leader")


class _NoBody:
    async def read(self, limit: int) -> bytes | None:
        return None


async def test_a_blocking_query_is_answered_alike_on_both_paths():
    async with here() as server:
        target = "/v1/namespaces?index=1&wait=50ms"
        now = server.pipeline.answer_now(server.request("GET", target))
        assert isinstance(now, Wait)
        later = await server.pipeline.answer(server.request("GET", target), _NoBody())
        last = server.pipeline.answer_now(server.request("GET", target), last=True)
        assert isinstance(last, Response)
        assert (later.status, later.headers, later.body) == (
            last.status,
            last.headers,
            last.body,
        )
