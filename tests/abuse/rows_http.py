"""Section A: HTTP itself. The protocol's own tests, with short deadlines, are in tests/unit/api."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import json
import random
import ssl
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from tests.abuse.rows import left_out, row
from tests.abuse.wire import elsewhere, in_parallel, request, reset, talk
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.abuse.site import Site
    from tests.harness import Answer

OPERATOR = "/v1/operator"
LEADER = "/v1/status/leader"
AUTOPILOT = f"{OPERATOR}/autopilot/configuration"
SCHEDULER = f"{OPERATOR}/scheduler/configuration"
RAFT = f"{OPERATOR}/raft/configuration"
PEER = f"{OPERATOR}/raft/peer"
SNAPSHOT = f"{OPERATOR}/snapshot"
LICENSE = f"{OPERATOR}/license"
HEALTH = f"{OPERATOR}/autopilot/health"

# What a method that an endpoint has not gets, and the methods that it has.
METHODS: dict[str, tuple[set[str], int, str]] = {
    RAFT: ({"GET"}, 405, ""),
    PEER: ({"DELETE"}, 404, "Invalid method"),
    AUTOPILOT: ({"GET", "PUT"}, 404, "Invalid method"),
    HEALTH: ({"GET"}, 404, "Invalid method"),
    SCHEDULER: ({"GET", "PUT", "POST"}, 405, "Invalid method"),
    LICENSE: ({"GET", "PUT"}, 405, "Invalid method"),
    SNAPSHOT: ({"GET", "PUT", "POST"}, 405, "Invalid method"),
}


def refused(site: Site, raw: bytes, *statuses: int) -> None:
    """The one answer has one of these statuses, and the connection ends."""
    heard = site.raw(raw)
    assert heard.status in statuses, heard.data[:300]
    assert heard.closed, heard


@row("A1", "a header block of 2 MB")
def huge_headers(site: Site) -> None:
    refused(site, request("GET", LEADER, {"X-Big": "x" * (2 << 20)}, close=False), 431)
    many = [(f"X-{number}", "y" * 60) for number in range(30_000)]
    refused(site, request("GET", LEADER, many, close=False), 431)
    assert site.raw(request("GET", LEADER, {"X-Big": "x" * 50_000})).status == 200


@row("A2", "Content-Length and Transfer-Encoding together")
def two_framings(site: Site) -> None:
    both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    for pairs in (both, both[::-1]):
        raw = request("PUT", AUTOPILOT, pairs, close=False) + b"0\r\n\r\nGET /v1/regions HTTP/1.1"
        refused(site, raw, 400)


@row("A3", "two different Content-Length")
def two_lengths(site: Site) -> None:
    pairs = [("Content-Length", "2"), ("Content-Length", "3")]
    refused(site, request("PUT", AUTOPILOT, pairs, close=False) + b"{}x", 400)


@row("A4", "a Content-Length that is no number")
def odd_lengths(site: Site) -> None:
    for length in ("-1", "abc", "1e3", "0x10", "5,5", "9" * 30, "+5", ""):
        raw = request("PUT", AUTOPILOT, {"Content-Length": length}, close=False)
        refused(site, raw + b"{}", 400)


@row("A5", "HTTP/1.1 without Host, or with two")
def hosts(site: Site) -> None:
    refused(site, request("GET", LEADER, host=None, close=False), 400)
    refused(site, request("GET", LEADER, {"Host": "127.0.0.1"}, close=False), 400)


@row("A6", "a TLS ClientHello on the plain port")
def hello_to_plain(site: Site) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    heard = site.raw(outgoing.read(), patience_s=5)
    assert heard.closed
    assert heard.status in {400, None}


def with_certificates(folder: Path) -> dict[str, Any]:
    """Settings of a server that asks for certificates, and beside them those of the clients."""
    authority, other = Authority(folder), Authority(folder, "other")
    server = authority.sign("server")
    authority.sign("client")
    authority.sign("late", expired=True)
    other.sign("stranger")
    files = {"ca_file": authority.file, "cert_file": server.cert, "key_file": server.key}
    shakes = {"https_handshake_timeout": "1s"}
    return {"tls": {"http": True, "verify_https_client": True, **files}, "limits": shakes}


def client(site: Site, name: str = "", *, old: bool = False) -> ssl.SSLContext:
    assert site.agent is not None
    folder = site.agent.folder
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name:
        context.load_cert_chain(str(folder / f"{name}.pem"), str(folder / f"{name}-key.pem"))
    if old:
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def over_tls(site: Site, context: ssl.SSLContext) -> bytes:
    """What a GET over TLS gets; b"" when the handshake is refused, at once or at the first read."""
    with (
        site.connected(source=elsewhere()) as sock,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(sock, server_hostname="localhost") as secured,
    ):
        secured.sendall(request("GET", LEADER))
        return secured.recv(65536)
    return b""


@row(
    "A7",
    "a TLS listener meets plain HTTP, old TLS and certificates that are not good",
    settings=(with_certificates),
)
def handshakes(site: Site) -> None:
    assert over_tls(site, client(site, "client")).startswith(b"HTTP/1.1 200")
    bad = [
        lambda: talk(site.address, request("GET", LEADER)).data,
        lambda: over_tls(site, client(site)),
        lambda: over_tls(site, client(site, "stranger")),
        lambda: over_tls(site, client(site, "late")),
        lambda: over_tls(site, client(site, "client", old=True)),
    ]
    for number, attempt in enumerate(bad, 1):
        assert b"HTTP/1.1" not in attempt()
        site.until(
            lambda number=number: site.log.count("TLS handshake failed") == number,
            f"not one log line for attempt {number}: {site.log[-500:]}",
        )
    assert over_tls(site, client(site, "client")).startswith(b"HTTP/1.1 200")


left_out("A7-role", "roles in certificates matter between servers: rows_peers.py")


@row("A8-tls", "a TLS handshake that is never finished", settings=with_certificates)
def silent_handshake(site: Site) -> None:
    for start in (b"", b"\x16\x03\x01\x02\x00"):
        heard = talk(site.address, start)
        assert heard.closed
        assert 0.8 < heard.seconds < 3, heard


@row("A8", "a connection that says nothing", limit_s=14)
def silence(site: Site) -> None:
    heard = talk(site.address, b"", patience_s=13)
    assert heard.closed
    assert not heard.data
    assert 8 < heard.seconds < 12, heard


@row("A9", "headers, a JSON body and an archive, one byte a second", needs="acl", limit_s=70)
def drip(site: Site) -> None:
    token = {"X-Nomad-Token": site.token}
    slow = {
        "headers": (request("GET", LEADER)[:-2], b"X: y\r\n" * 20, None, (8, 13)),
        "body": (_start("PUT", AUTOPILOT, token), b" " * 60, 408, (28, 35)),
        "archive": (_start("PUT", SNAPSHOT, token), b"\x1f" * 60, 408, (28, 65)),
    }
    found: dict[str, tuple[int | None, float]] = {}
    threads = [
        threading.Thread(target=_drip, args=(site, start, rest, found, name))
        for name, (start, rest, _, _) in slow.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, (_, _, status, (least, most)) in slow.items():
        got, seconds = found[name]
        assert got == status, (name, got, seconds)
        assert least < seconds < most, (name, seconds)


def _start(method: str, target: str, headers: dict[str, str]) -> bytes:
    return request(method, target, {**headers, "Content-Length": "1024"})


def _drip(
    site: Site, start: bytes, rest: bytes, found: dict[str, tuple[int | None, float]], name: str
) -> None:
    began = time.monotonic()
    heard = b""
    with site.connected() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(start)
        sock.settimeout(1.0)
        for byte in rest:
            try:
                piece = sock.recv(65536)
            except TimeoutError:
                sock.send(bytes([byte]))
                continue
            heard += piece
            if not piece:
                break
    status = int(heard.split(b" ")[1]) if heard else None
    found[name] = status, time.monotonic() - began


@row(
    "A10",
    "25 connections with a limit of 20",
    settings={"limits": {"http_max_conns_per_client": 20}},
)
def crowd(site: Site) -> None:
    ask = request("GET", LEADER, close=False)
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(site.connected()) for _ in range(20)]
        for sock in first:
            sock.sendall(ask)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(5):
            extra = talk(site.address, b"")
            assert extra.status == 429, extra
            assert extra.closed
            assert extra.answers[0].text.lower().startswith("too many")
        for sock in first:
            sock.sendall(ask)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    site.until(lambda: site.get(LEADER).status == 200, "the count does not go down")


@row("A11", "1,000 connections opened and closed", local=True)
def hurry(site: Site) -> None:
    before = site.process.num_fds()
    for number in range(1000):
        with site.connected() as sock:
            if number % 3 == 0:
                sock.sendall(request("GET", LEADER, close=False))
            elif number % 3 == 1:
                reset(sock)
    site.until(lambda: abs(site.process.num_fds() - before) <= 5, "descriptors are left open")


@row(
    "A12", "the client goes away in the middle of an answer", needs="acl", settings={}, writes=True
)
def gone_in_the_middle(site: Site) -> None:
    fill(site)
    token = {"X-Nomad-Token": site.token}
    ask = request("GET", SNAPSHOT, token, close=False)
    for how in (reset, lambda sock: sock.close()):
        for _ in range(3):
            with site.connected(receive_buffer=4096) as sock:
                sock.sendall(ask)
                assert sock.recv(100)
                how(sock)
    with site.connected() as sock:
        sock.sendall(request("GET", "/v1/agent/monitor?log_level=debug", token, close=False))
        assert sock.recv(100)
        reset(sock)
    # All places for saves at once are free again.
    began = time.monotonic()
    assert site.get(SNAPSHOT).status == 200
    assert time.monotonic() - began < 2
    site.until(lambda: not site.process.open_files() or _no_temp(site), "a file is still open", 2)


def _no_temp(site: Site) -> bool:
    return not any("deleted" in file.path for file in site.process.open_files())


def fill(site: Site, count: int = 16) -> None:
    """Put some megabytes into the state that no compression makes small."""
    noise = random.Random(1)
    for number in range(count):
        text = base64.b64encode(noise.randbytes(300_000)).decode()
        answer = site.put(f"/v1/acl/policy/big-{number}", big_policy(f"big-{number}", text))
        assert answer.status == 200, answer


def big_policy(name: str, text: str) -> dict[str, str]:
    return {"Name": name, "Rules": f'# {text}\noperator {{ policy = "read" }}\n'}


left_out("A12-events", "there is no event stream yet")


@row("A13", "100 requests in one write, good and bad")
def pipelined(site: Site) -> None:
    kinds = [
        (request("GET", LEADER, close=False), 200),
        (request("PUT", AUTOPILOT, body=b"{", close=False), 400),
        (request("PATCH", RAFT, close=False), 405),
        (request("GET", "/v1/nothing", close=False), 404),
        (request("PUT", SCHEDULER, body=b'{"SchedulerAlgorithm":"x"}', close=False), 400),
    ]
    order = [kinds[(number * 7 + number // 5) % 5] for number in range(99)]
    raw = b"".join(each for each, _ in order) + request("GET", LEADER)
    heard = site.raw(raw)
    assert heard.statuses == [status for _, status in order] + [200]
    assert heard.closed
    broken = site.raw(b"".join(each for each, _ in order[:9]) + b"\0\0nonsense\r\n\r\n")
    assert broken.statuses == [status for _, status in order[:9]] + [400]


PATHS = {
    f"{OPERATOR}/../operator/raft/configuration": 301,
    "/v1//operator/raft/configuration": 301,
    "//v1/operator/raft/configuration": 301,
    f"{OPERATOR}/./raft/configuration": 301,
    f"{OPERATOR}%2fraft%2fconfiguration": 200,
    f"{OPERATOR}/raft%2Fconfiguration": 200,
    "/v1/%6fperator/raft/configuration": 200,
    f"{OPERATOR}/raft/configuration/": 200,
    f"{AUTOPILOT}/": 404,
    f"{SNAPSHOT}/": 404,
    f"{AUTOPILOT}%00": 404,
    f"{AUTOPILOT}%20": 404,
    f"{OPERATOR}/x/..%2fraft/configuration": 404,
    f"{OPERATOR}/x%2f..%2fraft%2fconfiguration": 404,
    f"{OPERATOR}%252fraft%252fconfiguration": 404,
    "/v1/Operator/raft/configuration": 404,
    "/v1/" + "a" * 8192: 404,
    "/" + "%41" * 2700: 404,
    "/..": 301,
    "/v1/%": 400,
    "/v1/%zz": 400,
}


@row("A14", "tricks with the path", needs="acl")
def paths(site: Site) -> None:
    for target, status in PATHS.items():
        answer = site.get(target)
        assert answer.status == status, (target[:80], answer)
        # The right is asked for by what the path means, however it is spelled.
        without = site.get(target, token="")
        assert without.status == (403 if status == 200 else status), (target[:80], without)
        if status == 301:
            place = answer.header("Location") or ""
            assert place.startswith("/"), place
            assert not place.startswith("//"), place


@row("A15", "methods that an endpoint does not have", needs="acl")
def methods(site: Site) -> None:
    for target, (has, status, text) in METHODS.items():
        for method in ("HEAD", "OPTIONS", "PATCH", "POST", "DELETE", "PUT", "BREW", "get", "TRACE"):
            if method in has:
                continue
            raw = request(method, target, body=b"" if method == "PATCH" else None)
            heard = site.raw(raw, heads=(method == "HEAD",))
            answer = heard.one()
            assert answer.status == status, (method, target, answer)
            assert answer.text == ("" if method == "HEAD" else text), (method, target, answer)
            assert answer.header("Allow") is None
            names = [name.lower() for name, _ in answer.headers]
            assert not [name for name in names if name.startswith("access-control")]


@row("A16", "a page of another site makes a browser write")
def cross_site(site: Site) -> None:
    evil = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    for method, target in (
        ("PUT", AUTOPILOT),
        ("POST", SCHEDULER),
        ("DELETE", f"{PEER}?id=x"),
        ("PUT", SNAPSHOT),
        ("PUT", "/v1/namespace/x"),
        ("POST", "/v1/agent/join?address=127.0.0.1:1"),
    ):
        for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://"):
            answer = site.ask(method, target, b"{}", headers={**evil, "Origin": origin})
            assert answer.status == 403, (method, target, origin, answer)
    own = {"Origin": "http://localhost"}
    assert site.put(AUTOPILOT, b"{", headers=own).status == 400


@row("A16-token", "with a token the Origin does not matter, without one it does", needs="acl")
def cross_site_with_token(site: Site) -> None:
    evil = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    anonymous = {"Name": "anonymous", "Rules": 'operator { policy = "write" }'}
    site.put("/v1/acl/policy/anonymous", json.dumps(anonymous).encode())
    assert site.put(f"{AUTOPILOT}?cas=0", b"{}", token="").text == "false"
    refused = site.put(f"{AUTOPILOT}?cas=0", b"{}", headers=evil, token="")
    assert "cross-site" in refused.text
    site.ask("DELETE", "/v1/acl/policy/anonymous")
    assert site.put(f"{AUTOPILOT}?cas=0", b"{}", headers=evil).text == "false"
    assert site.put(AUTOPILOT, b"{}", headers=evil, token="").status == 403


@row(
    "A17",
    "a name that is not ours in Host (DNS rebinding)",
    settings={"http_allowed_hosts": ["Good.Example"]},
)
def rebinding(site: Site) -> None:
    port = site.address[1]
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.x",
        "",
        "localhost@evil.example",
        "evil\texample",
        "[",
        "a" * 5000,
        "single.global.x",
    ):
        answer = site.get(LEADER, host=host)
        assert answer.status in {400, 421}, (host, answer)
        assert len(answer.body) < 300
    for host in (
        "localhost",
        f"LOCALHOST:{port}",
        "127.0.0.1",
        f"[::1]:{port}",
        "10.1.2.3:80",
        "single",
        "single.global",
        "good.example:1",
    ):
        assert site.get(LEADER, host=host).status == 200, host


@row("A18", "a compressed JSON body, and a bomb of it")
def compressed_body(site: Site) -> None:
    for body in (gzip.compress(b"{}"), gzip.compress(bytes(64 << 20), 9)):
        for coding in ("gzip", "deflate", "br", "gzip, gzip"):
            answer = site.put(AUTOPILOT, body, headers={"Content-Encoding": coding})
            assert answer.status in {400, 415}, answer


@row("A19", "compressed answers, 50 at once", needs="acl", settings={}, writes=True)
def compressed_answers(site: Site) -> None:
    answer = site.put("/v1/acl/policy/big", big_policy("big", "0123456789abcdef" * 25_000))
    assert answer.status == 200, answer
    packed = {"Accept-Encoding": "gzip"}
    found: list[Answer] = []
    ask = functools.partial(site.get, "/v1/acl/policy/big", headers=packed)
    crowd = threading.Thread(target=lambda: found.extend(in_parallel(50, ask)))
    crowd.start()
    began = time.monotonic()
    assert site.get(LEADER).status == 200
    assert time.monotonic() - began < 1
    crowd.join()
    assert {each.header("Content-Encoding") for each in found} == {"gzip"}
    assert len(found) == 50
    assert len({gzip.decompress(each.body) for each in found}) == 1
    saved = site.get(SNAPSHOT, headers={"Accept-Encoding": "gzip"})
    assert saved.header("Content-Encoding") is None


left_out("A19-100MB", "no state of this version makes an answer of 100 MB; 50 of 0.8 MB stand in")
