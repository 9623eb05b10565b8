"""What the list of bad inputs does not name: found by looking for what it forgot."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.abuse.rows import row
from tests.abuse.rows_http import AUTOPILOT, LEADER, OPERATOR, PEER, RAFT, SCHEDULER, SNAPSHOT
from tests.abuse.wire import request

from bellcow.api.routes import catalog

if TYPE_CHECKING:
    from tests.abuse.site import Site

LEADER_S = 1.0  # no request may keep another waiting for longer

BREAKS = ("%0d%0aX-Evil:%201", "%0aX-Evil:%201", "%0d", "%00", "%e2%80%a8X-Evil:1", "%c4%8aX-Evil")
# Names in scripts, directions and forms that a name may not have; decoded, as a person reads them.
ODD_NAMES = (
    "Kuh",
    "牛",
    "🐄",
    "a\u202eb",
    "e\u0301",
    "\u00e9",
    "\ufeffx",
    "\u0000",
    "\ud7ff",
    "a" * 3000,
    "../x",
    "a/b",
    "%41",
    "a b",
    "'\"<>&",
    "\u212a",
    "x\u0085y",
    "..",
    ".",
    "-",
)
PREFIXES = ("/v1/acl/policy/", "/v1/acl/token/", "/v1/namespace/", "/ui/")


def every_path() -> list[str]:
    """A path of every route, the tails filled in."""
    begun = (each.path.split("{")[0].rstrip("*") for each in catalog.routes())
    return sorted({f"{path}x" if path.endswith("/") and path != "/" else path for path in begun})


@row(
    "X1",
    "line breaks in what comes back in a header or a text",
    needs="acl",
    faults={500},
    limit_s=20,
)
def injection(site: Site) -> None:
    targets = ["/v1/x/../{}?{}", "//{}/x", f"{PEER}?id={{}}", f"{PEER}?address={{}}"]
    targets += [prefix + "{}" for prefix in PREFIXES]
    targets += [f"{SCHEDULER}?{name}={{}}" for name in ("cas", "region", "index", "wait")]
    targets += ["/v1/agent/force-leave?node={}&prune={}", "/v1/agent/join?address={}"]
    for target in targets:
        for text in BREAKS:
            for method in ("GET", "PUT", "DELETE"):
                if method == "PUT" and target.startswith("/v1/agent/"):
                    continue  # these would ask a name server
                answer = site.ask(method, target.format(text, text))
                names = {name.lower() for name, _ in answer.headers}
                assert "x-evil" not in names, (method, target, text, answer.headers)
                for _, value in answer.headers:
                    assert value.isprintable(), (method, target, text, value)
    for key in ("a\r\nX-Evil: 1", "a\n", "é" * 500, '"', "\\", "\x00", "\x7f", "\u2028"):
        answer = site.put(f"{AUTOPILOT}?cas=0", {key: 1, "MinQuorum": 1})
        assert answer.status == 200, (key, answer)
        warning = answer.header("Warning") or ""
        assert warning.startswith('299 - "'), (key, answer.headers)
        assert warning.isprintable()
        assert len(warning) < 400
    assert site.ask("GET", "/v1/status//leader").header("Location") == LEADER


@row("X2", "control characters on their way into the log", needs="acl", faults={500})
def into_the_log(site: Site) -> None:
    # The general rules look at the log after each row; here as much as possible gets into it.
    odd = "%1b%5b31m%07%08%0a[ERROR]%20nomad:%20all%20is%20lost%e2%80%ae%c2%9b"
    for target in (f"/v1/acl/policy/{odd}", f"{PEER}?id={odd}", f"{RAFT}?region={odd}", f"/{odd}"):
        for token in ("", site.wrong_token(200)):
            site.get(target, token=token)
            site.ask("DELETE", target, token=token)
    plain = site.get("/v1/agent/members", token="", host="x\x1b[2J")
    assert plain.status in {400, 403, 421}
    site.raw(b"\x1b]0;owned\x07 / HTTP/1.1\r\n\r\n")
    site.raw(request("GET", LEADER, {"X-Nomad-Token": "\x1b[31m"}))
    site.put(SCHEDULER, b'{"SchedulerAlgorithm":"\\u001b[31m\\n"}')


@row("X3", "thousands of query parameters")
def many_parameters(site: Site) -> None:
    for query in (
        "&".join(f"p{number}={number}" for number in range(4000)),
        "a&" * 20_000,
        "&" * 50_000,
        "=" * 50_000,
        "cas=1&" * 5000,
        "%41=" * 10_000,
        "a" * 50_000,
        ";" * 50_000,
    ):
        began = time.monotonic()
        answer = site.get(f"{SCHEDULER}?{query}")
        assert answer.status == 200, (query[:40], answer)
        assert time.monotonic() - began < 1


@row("X4", "ten thousand unknown keys, and values a thousand deep")
def many_keys(site: Site) -> None:
    unknown = {f"key{number}": number for number in range(10_000)}
    answer = site.put(f"{AUTOPILOT}?cas=0", {**unknown, "MinQuorum": 1})
    assert (answer.status, answer.text) == (200, "false"), answer
    assert len(answer.header("Warning") or "") < 400
    answer = site.put(AUTOPILOT, unknown)
    assert answer.status == 400, answer
    assert len(answer.text) < 1000
    deep = b'{"x":%b1%b,"MinQuorum":1}'
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        shallow = deep % (opening * 400, closing * 400)
        assert site.put(f"{AUTOPILOT}?cas=0", shallow).text == "false"
        deeper = deep % (opening * 5000, closing * 5000)
        assert site.put(f"{AUTOPILOT}?cas=0", deeper).status == 400
    keys = b"{" + b",".join(b'"MinQuorum":%d' % n for n in range(5_000)) + b"}"
    assert site.put(f"{AUTOPILOT}?cas=0", keys).text == "false"
    keys = b"{" + b",".join(b'"MinQuorum":%d' % n for n in range(30_000)) + b"}"
    assert site.put(f"{AUTOPILOT}?cas=0", keys).status == 400
    assert site.put(f"{AUTOPILOT}?cas=0", {"a" * 500_000: 1, "MinQuorum": 1}).text == "false"


@row("X5", "odd bodies that are slow to read do not stop the others", limit_s=15)
def slow_bodies(site: Site) -> None:
    for body in (
        b'{"x":[' + b"1," * 500_000 + b'1],"CleanupDeadServers":1}',
        b'{"x":[' + b"[]," * 340_000 + b'1],"CleanupDeadServers":1}',
        b"[" + b'"\xff",' * 200_000,
    ):
        with site.connected() as sock:
            sock.sendall(request("PUT", AUTOPILOT, body=body))
            spans = []
            for _ in range(5):
                began = time.monotonic()
                assert site.get(LEADER).status == 200
                spans.append(time.monotonic() - began)
            assert max(spans) < LEADER_S, spans
            assert sock.recv(65536).startswith(b"HTTP/1.1 400")
    began = time.monotonic()
    assert site.get(f"{SCHEDULER}?wait={'1h' * 30_000}").status in {200, 400}
    assert time.monotonic() - began < LEADER_S


@row(
    "X6",
    "names of every script in every place where a name stands",
    needs="acl",
    faults={500},
    limit_s=20,
)
def odd_names(site: Site) -> None:
    for name in ODD_NAMES:
        sent = quote(name, safe="")
        for prefix in PREFIXES:
            for method in ("GET", "DELETE"):
                answer = site.ask(method, prefix + sent)
                assert answer.status in {200, 301, 400, 403, 404, 405, 500}, (method, name, answer)
        for target in ("/v1/acl/policy/", "/v1/namespace/"):
            answer = site.put(target + sent, {"Name": name, "Rules": 'node { policy = "read" }'})
            if name in {"Kuh", "-"}:
                assert answer.status == 200, (target, name, answer)
                site.ask("DELETE", target + sent)
            else:
                assert answer.status in {301, 400, 404, 500}, (target, name, answer)
        for target in (f"{PEER}?id={sent}", f"{PEER}?address={sent}"):
            answer = site.ask("DELETE", target)
            assert answer.status == 500, (name, answer)
            assert answer.text.endswith("was not found in the Raft configuration"), answer
            assert len(answer.text) < 1000, len(answer.text)
        for target in ("/v1/namespaces?prefix=", "/v1/acl/tokens?prefix=", "/v1/jobs?namespace="):
            assert site.get(target + sent).status in {200, 400, 403, 500}


@row("X7", "text of another encoding in the target")
def encodings(site: Site) -> None:
    for target, status in (
        (f"{SCHEDULER}?cas=%", 200),
        (f"{SCHEDULER}?%zz=1", 200),
        (f"{SCHEDULER}?x=%ff%fe", 200),
        (f"{SCHEDULER}?x=%c3%28", 200),
        (f"{SCHEDULER}?x=%ed%a0%80", 200),
        (f"{SCHEDULER}?x=%u0041", 200),
        (f"{OPERATOR}/%ff", 404),
        (f"{OPERATOR}/scheduler/configuratio%6E", 200),
        (f"{OPERATOR}/scheduler/configuration%E2%80%8B", 404),
        (f"{OPERATOR}/scheduler%5cconfiguration", 404),
        (f"{SCHEDULER}#fragment", 404),
        (f"{SCHEDULER}%3fcas=1", 404),
    ):
        answer = site.get(target)
        assert answer.status in {status, 400}, (target, answer)
    for raw in (b"GET /v1/\xff HTTP/1.1", b"GET /v1/\xc3\xa9 HTTP/1.1", b"GET /v1/ x HTTP/1.1"):
        heard = site.raw(raw + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert heard.status in {400, 404}, (raw, heard.data[:200])


@row("X8", "transfer codings other than chunked")
def codings(site: Site) -> None:
    body = b"2\r\n{}\r\n0\r\n\r\n"
    for coding in (
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "chunked, chunked",
        "x",
        "xchunked",
        " chunked,",
        "chunked;q=1",
    ):
        heard = site.raw(
            request("PUT", f"{AUTOPILOT}?cas=0", {"Transfer-Encoding": coding}, close=False) + body,
            patience_s=1.5,
        )
        assert set(heard.statuses) <= {200, 400, 501}, (coding, heard.data[:300])
        # Whatever it takes the body for, it must not take it for a request.
        assert len(heard.statuses) <= 1, (coding, heard.data[:500])


@row("X9", "requests of HTTP/0.9, 1.0, 2 and of none", faults={505})
def versions(site: Site) -> None:
    for raw, statuses in (
        (b"GET /v1/status/leader\r\n", {400, None}),
        (b"GET /v1/status/leader HTTP/0.9\r\n\r\n", {400, 505}),
        (b"GET /v1/status/leader HTTP/1.0\r\n\r\n", {200, 400}),
        (b"GET /v1/status/leader HTTP/1.2\r\nHost: localhost\r\n\r\n", {400, 505}),
        (b"GET /v1/status/leader HTTP/2.0\r\nHost: localhost\r\n\r\n", {400, 505}),
        (b"GET /v1/status/leader http/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /v1/status/leader HTTP/1.1 x\r\nHost: localhost\r\n\r\n", {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
        (b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n", {400}),
        (b"\x00" * 100, {400}),
        (b"GET\t/v1/status/leader\tHTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /v1/status/leader HTTP/1.1\nHost: localhost\n\n", {200, 400}),
        (b"GET /v1/status/leader HTTP/1.1\r\nHost : localhost\r\n\r\n", {400}),
        (b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", {200, 400, 421}),
        (b"GET /v1/status/leader HTTP/1.1\r\n: empty\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", {400}),
    ):
        heard = site.raw(raw, patience_s=2, enough=1)
        assert heard.status in statuses, (raw, heard.data[:200])


@row("X10", "absolute targets, CONNECT and the asterisk")
def absolute(site: Site) -> None:
    for method, target, statuses in (
        ("GET", f"http://localhost{SCHEDULER}", {200}),
        ("GET", f"http://evil.example{SCHEDULER}", {400}),
        ("GET", f"https://user:pass@localhost:1{SCHEDULER}?pretty", {400}),
        ("GET", "http://localhost", {307, 400}),
        ("GET", "http://", {307, 400}),
        ("GET", "http:///v1/status/leader", {200, 400}),
        ("GET", "ftp://localhost/etc/passwd", {400}),
        ("GET", "file:///etc/passwd", {400}),
        ("CONNECT", "localhost:22", {400, 404, 405}),
        ("CONNECT", "169.254.169.254:80", {400, 404, 405}),
        ("OPTIONS", "*", {200, 400, 404, 405}),
        ("GET", "*", {400, 404}),
        ("GET", "v1/status/leader", {400}),
        ("GET", "?x", {400}),
        ("GET", "\\v1\\status\\leader", {400}),
    ):
        heard = site.raw(request(method, target))
        assert heard.status in statuses, (method, target, heard.data[:300])


@row("X11", "Expect in its variants")
def expectations(site: Site) -> None:
    for value in ("100-continue", "100-Continue", "200-ok", "100-continue, x", "", "x" * 1000):
        for body in (b"{", None):
            raw = request("PUT", AUTOPILOT, {"Expect": value}, body=body)
            heard = site.raw(raw)
            assert [status for status in heard.statuses if status != 100] in ([400], [417]), value
    early = request("PUT", AUTOPILOT, {"Expect": "100-continue", "Content-Length": "99999999"})
    assert site.raw(early, patience_s=2).statuses == [413], "not asked to send what is too much"


@row("X12", "trailers and chunk extensions", writes=True, limit_s=20)
def trailers(site: Site) -> None:
    start = request("PUT", AUTOPILOT, {"Transfer-Encoding": "chunked"})
    for rest, statuses in (
        (b"2\r\n{}\r\n0\r\nX-Nomad-Token: x\r\n\r\n", {200}),
        (b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n", {200, 400}),
        (b"2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", {200, 400}),
        (b"2;a=b\r\n{}\r\n0;c\r\n\r\n", {200, 400}),
        (b'2;a="\r\n\r\n{}\r\n0\r\n\r\n', {400}),
        (b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", {400, 413, 431}),
        (b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", {200, 400, 431}),
        (b"0x2\r\n{}\r\n0\r\n\r\n", {400}),
        (b"-2\r\n{}\r\n0\r\n\r\n", {400}),
        (b"fffffffffffffffff\r\n{}\r\n", {400}),
        (b"ffffffffffffffff\r\n{}\r\n", {400, 413}),
        (b"2\r\n{}x\r\n0\r\n\r\n", {400}),
        (b"2\n{}\n0\n\n", {400, 200}),
        (b"zz\r\n", {400}),
    ):
        heard = site.raw(start + rest, patience_s=3)
        assert len(heard.statuses) <= 1, (rest[:60], heard.data[:500])
        assert set(heard.statuses) <= statuses, (rest[:60], heard.data[:300])
    anonymous = request("GET", SNAPSHOT, {"Transfer-Encoding": "chunked"})
    assert site.raw(anonymous + b"0\r\nHost: evil.example\r\n\r\n").status in {200, 400}


@row("X13", "the same parameter twice", faults={500})
def doubles(site: Site) -> None:
    now = site.get(SCHEDULER).json()["SchedulerConfig"]["ModifyIndex"]
    first = site.put(f"{SCHEDULER}?cas=0&cas={now}", b"{}")
    assert first.json()["Updated"] is False, "the first of two counts"
    assert site.get(f"{SCHEDULER}?region=nowhere&region=global").status == 500
    assert site.get(f"{SCHEDULER}?region=global&region=nowhere").status == 200
    assert site.get(f"{SCHEDULER}?REGION=nowhere").status == 200
    assert site.ask("DELETE", f"{PEER}?id=&id=x").status == 500
    assert site.ask("DELETE", f"{PEER}?id=x&address=y").status == 400


@row("X14", "pretty, and gzip, on everything", needs="acl", faults={500, 501}, limit_s=20)
def pretty(site: Site) -> None:
    packed = {"Accept-Encoding": "gzip"}
    for path in every_path():
        if path.startswith(("/v1/agent/monitor", SNAPSHOT)):
            continue
        plain = site.get(path)
        for query in ("?pretty", "?pretty=1", "?pretty=false", "?pretty&pretty=0"):
            answer = site.get(path + query, headers=packed)
            assert answer.status == plain.status, (path, query, answer)
            if not plain.body:
                assert answer.header("Content-Encoding") is None, path
                continue
            assert answer.header("Content-Encoding") == "gzip", path
            body = gzip.decompress(answer.body)
            if plain.header("Content-Type") == "application/json":
                assert body.endswith(b"\n"), (path, body[-50:])
                assert _shape(json.loads(body)) == _shape(plain.json()), path
            elif path != "/v1/metrics":
                assert body == plain.body, path


def _shape(value: object) -> object:
    """What an answer looks like, without figures that change from one to the next."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    return type(value)


@row(
    "X15", "HEAD, and methods nobody has, on everything", needs="acl", faults={500, 501}, limit_s=20
)
def heads(site: Site) -> None:
    token = {"X-Nomad-Token": site.token}
    for path in every_path():
        for secret in (token, {}):
            raw = request("HEAD", path, secret)
            heard = site.raw(raw, heads=(True,))
            assert heard.closed, (path, heard)
            head, _, body = heard.data.partition(b"\r\n\r\n")
            assert not body, (path, head, body)
            # Nomad: HEAD is no GET, and most paths have none.
            assert heard.status in {200, 204, 301, 307, 400, 403, 404, 405, 501}, (path, head)
        for method in ("PROPFIND", "LOCK", "A", "M-SEARCH", "SOURCE", "X" * 2000):
            answer = site.raw(request(method, path, token, body=b"")).one()
            assert answer.status in {400, 403, 404, 405, 500, 501}, (method[:9], path, answer)


@row("X16", "ranges, conditions and other headers that change an answer elsewhere")
def conditions(site: Site) -> None:
    plain = site.get(SCHEDULER)
    for name, value in (
        ("Range", "bytes=0-1"),
        ("Range", "bytes=" + "0-1," * 5000),
        ("If-None-Match", "*"),
        ("If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", SNAPSHOT),
        ("X-Forwarded-For", "10.0.0.1\t, x"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=evil;host=evil.example"),
        ("Content-Type", "application/x-java-serialized-object"),
        ("Accept", "text/html;q=-1"),
        ("Accept-Encoding", "gzip;q=nan"),
        ("Accept-Encoding", "gzip;q=" + "9" * 5000),
        ("Accept-Encoding", ", ;;q=, gzip;q=0" * 500),
        ("Upgrade", "websocket"),
        ("Upgrade", "h2c"),
        ("Connection", "X-Nomad-Token"),
        ("Cookie", "a=" + "b" * 20_000),
        ("Keep-Alive", "timeout=99999999"),
    ):
        answer = site.get(SCHEDULER, headers={name: value})
        assert answer.status == 200, (name, value[:40], answer)
        if answer.header("Content-Encoding") is None:
            assert answer.body == plain.body, (name, value[:40])
        assert b"evil" not in answer.body


@row("X17", "policies that are slow or deep to read", needs="acl", faults={500}, limit_s=20)
def policies(site: Site) -> None:
    for rules in (
        "namespace " * 40_000,
        "{" * 100_000,
        'namespace "a" {' * 20_000,
        'namespace "' + "*" * 100_000 + '" { policy = "read" }',
        "x = [" * 100_000,
        '"' * 100_000,
        "/*" * 100_000,
        "<<EOF\n" * 20_000,
        "# " + "x" * 400_000,
        "\0" * 100_000,
        'operator { policy = "' + "é" * 100_000 + '" }',
        "${" * 100_000,
        'namespace "a" { capabilities = [' + '"x",' * 50_000 + "] }",
    ):
        began = time.monotonic()
        answer = site.put("/v1/acl/policy/x17", {"Name": "x17", "Rules": rules})
        assert answer.status in {400, 404, 413}, (rules[:40], answer)
        assert len(answer.body) < 10_000, (rules[:40], len(answer.body))
        assert time.monotonic() - began < 2, rules[:40]
    answer = site.put("/v1/acl/policy/x17", {"Name": "x17", "Description": "d" * 500_000})
    assert answer.status in {400, 404}
    body = {"Name": "n" * 300_000, "Type": "client", "Policies": ["p"] * 60_000}
    assert site.put("/v1/acl/token", body).status in {400, 413}


@row("X18", "a secret where its accessor should be", needs="acl")
def secret_in_path(site: Site) -> None:
    # The log names the paths of refused requests: this slip must not fill it with secrets.
    other = site.wrong_token(18)
    for token in (site.token, other):
        for secret in (site.token, ""):
            answer = site.get(f"/v1/acl/token/{token}", token=secret)
            assert answer.status in {403, 404}, answer
