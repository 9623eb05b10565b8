"""Many strangers at once, and whatever they put into their requests."""

from __future__ import annotations

import random
import resource
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from tests.abuse.rows import row
from tests.abuse.rows_http import LEADER, SCHEDULER
from tests.abuse.wire import request, talk

from bellcow.api.routes import catalog

if TYPE_CHECKING:
    from tests.abuse.site import Site

MIB = 1 << 20
UNFINISHED = (
    b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n{" % (SCHEDULER.encode(), MIB)
) + b" " * (MIB - 3)


def hold(site: Site, stack: ExitStack, count: int) -> None:
    """So many connections that have sent as much of a body as is taken from them, and wait."""
    for number in range(count):
        sock = stack.enter_context(site.connected(source=f"127.0.0.{2 + number // 100}"))
        sock.settimeout(0.01)
        left = memoryview(UNFINISHED)
        with suppress(OSError):  # taken no more, or refused
            while left:
                left = left[sock.send(left) :]


def grown_mib(site: Site, count: int) -> float:
    """Memory while `count` clients hold a body each."""
    before = site.process.memory_info().rss
    with ExitStack() as stack:
        hold(site, stack, count)
        assert site.get(LEADER).status == 200
        return (site.process.memory_info().rss - before) / MIB


@row("R1", "300 strangers with a megabyte each", needs="acl", settings={}, limit_s=30)
def strangers_with_bodies(site: Site) -> None:
    assert grown_mib(site, 300) < 50


@row("R2", "300 clients with a megabyte each where all may write", settings={}, limit_s=30)
def clients_with_bodies(site: Site) -> None:
    assert grown_mib(site, 300) < 50


@row("R3", "twelve addresses that take all connections", settings={}, limit_s=20)
def all_connections(site: Site) -> None:
    assert site.agent is not None
    resource.prlimit(site.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    site.process.send_signal(signal.SIGHUP)
    site.until(lambda: "event=reloaded" in site.log, "not reloaded")
    with ExitStack() as stack:
        for number in range(240):
            stack.enter_context(site.connected(source=f"127.0.0.{10 + number % 12}"))
        site.until(lambda: "too many connections" in site.log, "nothing is said")
        refused = talk(site.address, request("GET", LEADER))
        assert refused.status in {429, None}, refused
        assert site.process.num_fds() < 200
        between = site.raw_at(("127.0.0.1", site.agent.serf_port), request("GET", "/"))
        assert between.status is not None, "the servers' port is shut out"
    site.until(lambda: talk(site.address, request("GET", LEADER)).status == 200, "still full")
    assert site.log.count("too many connections") < 20


HEADERS = (
    *("Origin", "Host", "Accept-Encoding", "X-Nomad-Token", "Authorization", "Content-Type"),
    *("Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Range", "Expect", "Accept"),
    *("Connection", "Cookie", "Referer", "Sec-Fetch-Site", "X-Forwarded-For", "Content-Encoding"),
)
PARAMETERS = (
    *("index", "wait", "stale", "cas", "region", "prefix", "namespace", "pretty", "id", "address"),
    *("format", "type", "node", "prune", "force", "server_id", "plan", "partial", "filter", "x"),
)
ODD = (
    *(b"", b"http://[", b"[", b"]", b"http://", b"://", b"Bearer ", b"Bearer", b"gzip;q=", b"-"),
    *(b"gzip;q=1e999", b"gzip;q=nan", b"a" * 300, b"a" * 64 + b".b", b"\xff\xfe", b"%", b"%zz"),
    *(b"bytes=0-", b"*", b"\xc3\x28", b"1" * 400, b"-1", b"1e9", b"9h" * 200, b"[::1", b"a:b:c"),
    *("\u0130\u00df\u3002".encode(), b"xn--a", b"\xed\xa0\x80", b"=?", b"a..b", b".", b"-0.0ns"),
)
STREAMS = ("/v1/agent/monitor", "/v1/event/stream", "/v1/agent/pprof")


def odd_value(chance: random.Random) -> bytes:
    """One of the list, a mixture of two, or noise that a header may hold."""
    kind = chance.randrange(3)
    if kind == 0:
        return chance.choice(ODD)
    if kind == 1:
        return chance.choice(ODD)[:60] + chance.choice(ODD)[:60]
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 30)))
    return noise.translate(None, b"\r\n\0")


def odd_requests(count: int, seed: int) -> list[bytes]:
    """Of every route in turn, with odd parameters and headers."""
    chance = random.Random(seed)
    routes = [each for each in catalog.routes() if not each.path.startswith(STREAMS)]
    out = []
    for number in range(count):
        route = routes[number % len(routes)]
        path = route.path.partition("{")[0].rstrip("*").encode()
        path += quote_from_bytes(odd_value(chance)).encode() if route.tail else b""
        query = b"&".join(
            chance.choice(PARAMETERS).encode() + b"=" + quote_from_bytes(odd_value(chance)).encode()
            for _ in range(chance.randrange(3))
        )
        lines = [
            chance.choice(HEADERS).encode() + b": " + odd_value(chance)
            for _ in range(chance.randrange(1, 4))
        ]
        if not any(line.startswith(b"Host") for line in lines):
            lines.append(b"Host: localhost")
        first = b"%s %s?wait=1ms&%s HTTP/1.1" % (route.method.encode(), path, query)
        out.append(b"\r\n".join([first, *lines, b"Content-Length: 0", b"", b""]))
    return out


def fuzzed(site: Site, seed: int) -> None:
    for raw in odd_requests(1_500, seed):
        heard = site.raw(raw, enough=1)
        assert heard.status is not None, raw
    assert "request failed" not in site.log


# Nomad: a 500 is its plain refusal. A fault of ours is in the log, which the rules look at.
@row("R4", "odd headers and parameters", writes=True, local=True, faults={500, 501}, limit_s=60)
def odd_headers(site: Site) -> None:
    fuzzed(site, 1)


@row(
    "R5",
    "odd headers and parameters of strangers",
    needs="acl",
    settings={"limits": {"http_max_bad_tokens": 0}},
    faults={500, 501},
    limit_s=60,
)
def odd_headers_of_strangers(site: Site) -> None:
    fuzzed(site, 2)
