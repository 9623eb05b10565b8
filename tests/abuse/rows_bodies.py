"""Section C: query parameters and JSON bodies.

The decoder against a slow reference: tests/unit/gocompat/test_json.py.
"""

from __future__ import annotations

import functools
import resource
import time
from contextlib import ExitStack, suppress

from tests.abuse.rows import left_out, row
from tests.abuse.rows_http import AUTOPILOT, LEADER, RAFT, SCHEDULER, SNAPSHOT
from tests.abuse.site import MIB, Site
from tests.abuse.wire import in_parallel, request

BY_AUTOPILOT = "Error parsing autopilot config: "
BY_SCHEDULER = "Error parsing scheduler config: "
BY_CAS = "Error parsing cas value: strconv.ParseUint: parsing "
JSON_LIMIT = 1 << 20


def refused(site: Site, target: str, body: bytes | None, text: str, status: int = 400) -> None:
    """A PUT of this body is refused with a text that begins so."""
    answer = site.put(target, body)
    assert answer.status == status, (body and body[:80], answer)
    assert answer.text.startswith(text), (body and body[:80], answer)
    assert len(answer.body) < 1000, len(answer.body)


def both(site: Site, body: bytes | None, text: str = "") -> None:
    """Refused by both configurations, each with its own prefix."""
    refused(site, AUTOPILOT, body, BY_AUTOPILOT + text)
    refused(site, SCHEDULER, body, BY_SCHEDULER + text)


@row("C1", "a cas that is no index")
def odd_cas(site: Site) -> None:
    odd = {"-1": "-1", "abc": "abc", "": "", "1.5": "1.5", "0x10": "0x10", "%2B1": "+1", "+1": " 1"}
    for sent, shown in odd.items():
        for target in (AUTOPILOT, SCHEDULER):
            text = f'{BY_CAS}"{shown}": invalid syntax'
            refused(site, f"{target}?cas={sent}", b"{}", text)
    for sent in ("18446744073709551616", "9" * 23, "1" * 4000):
        answer = site.put(f"{SCHEDULER}?cas={sent}", b"{}")
        assert answer.status == 400
        assert answer.text.endswith(": value out of range")
        assert len(answer.text) < 300
    for sent in ("%C2%B2", "%D9%A3", "1_000", "1%00", "%F0%9D%9F%99"):
        refused(site, f"{SCHEDULER}?cas={sent}", b"{}", BY_CAS)
    assert site.put(f"{SCHEDULER}?cas=18446744073709551615", b"{}").json()["Updated"] is False


@row("C2", "an index and a wait that are none")
def odd_waits(site: Site) -> None:
    for target in (AUTOPILOT, SCHEDULER, RAFT, SNAPSHOT, "/v1/namespaces"):
        for query, text in (
            ("index=-5", "Invalid index"),
            ("index=abc", "Invalid index"),
            ("index=18446744073709551616", "Invalid index"),
            ("wait=abc", "Invalid wait time"),
            ("wait=5", "Invalid wait time"),
            ("wait=5%20s", "Invalid wait time"),
            ("wait=99999999999h", "Invalid wait time"),
            ("index=x&wait=x", "Invalid wait time"),
        ):
            answer = site.get(f"{target}?{query}")
            assert (answer.status, answer.text) == (400, text), (target, query, answer)
    assert site.get(f"{SCHEDULER}?wait=-5s&index=").status == 200


@row("C3", "a wait of years")
def long_wait(site: Site) -> None:
    forever = "index=99999999&wait=99999h"
    for target in (AUTOPILOT, SCHEDULER, RAFT):
        assert site.get(f"{target}?{forever}", patience_s=1).status == 200, "it may not block"
    with site.connected() as sock:
        sock.sendall(request("GET", f"/v1/namespaces?{forever}", close=False))
        sock.settimeout(0.3)
        with suppress(TimeoutError):
            assert not sock.recv(100), "answered at once"
    began = time.monotonic()
    assert site.get("/v1/namespaces?index=99999999&wait=500ms").status == 200
    assert 0.49 < time.monotonic() - began < 1.5


left_out(
    "C3-cap", "300 s are too long for a test here: tests/contract/test_http_blocking.py has the cap"
)


@row(
    "C4",
    "5,000 blocking queries at once",
    settings={"limits": {"http_max_conns_per_client": 0}},
    limit_s=20,
)
def many_waits(site: Site) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(5000, soft - 500)
    ask = request("GET", "/v1/namespaces?index=99999&wait=60s", close=False)
    site.get("/v1/namespaces")
    before = site.process.memory_info().rss
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(site.connected()).sendall(ask)
        site.until(lambda: site.process.num_fds() > count, "not all are held", 10)
        each = (site.process.memory_info().rss - before) / count
        assert each < 20 * 1024, f"{each:.0f} bytes a query"
        spans = []
        for _ in range(5):
            began = time.monotonic()
            assert site.get(LEADER).status == 200
            spans.append(time.monotonic() - began)
        assert min(spans) < 0.1, spans
    site.until(lambda: site.process.num_fds() < 100, "connections are left open", 10)


@row("C5", "a region that is none", faults={500})
def regions(site: Site) -> None:
    for region in ("../../etc", "nowhere", "GLOBAL", "global%00", "%F0%9F%90%84", "a" * 5000):
        for target in (SCHEDULER, AUTOPILOT, RAFT, SNAPSHOT):
            answer = site.get(f"{target}?region={region}")
            assert (answer.status, answer.text) == (500, "No path to region"), answer


@row("C6", "an empty body")
def empty(site: Site) -> None:
    both(site, None, "Request body is empty")
    both(site, b"", "Request body is empty")
    both(site, b" \r\n\t", "EOF")
    answer = site.put(SCHEDULER, b"", chunked=True)
    assert (answer.status, answer.text) == (400, f"{BY_SCHEDULER}EOF")


@row("C7", "the body null")
def null(site: Site) -> None:
    for body in (b"null", b" null ", b"null{}", b"null x"):
        both(site, body)


@row("C8", "a body that is no object")
def no_object(site: Site) -> None:
    for body, kind in (
        (b"[]", "array"),
        (b'"x"', "string"),
        (b"5", "number"),
        (b"true", "bool"),
        (b"[{}]", "array"),
    ):
        both(site, body, f"json: cannot unmarshal {kind} into Go value of type ")


@row("C9", "broken JSON")
def broken(site: Site) -> None:
    for body, text in (
        (b"{", "unexpected EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a":', "unexpected EOF"),
        (b'{"a":"', "unexpected EOF"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
        (b'{"MinQuorum":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a":1 "b":2}', ""),
        (b'{"a":01}', ""),
        (b'{"a":.5}', ""),
        (b'{"a":tru}', ""),
        (b'{"a":"\x01"}', ""),
        (b'{"a":"\\x"}', ""),
        (b'{"a":[1,]}', ""),
        (b"}", ""),
        (b"\xff", ""),
        (b"{,}", ""),
        (b'{"CleanupDeadServers":5,"a":}', "invalid character '}' looking for beginning of value"),
    ):
        both(site, body, text)


@row("C10", "an object followed by what is none", writes=True)
def trailing(site: Site) -> None:
    good = b'{"CleanupDeadServers":true}'
    for junk in (b" trailing", b"{}", b"]", b"\xff\xfe", b"\0", b"{" * 1000):
        answer = site.put(AUTOPILOT, good + junk)
        assert (answer.status, answer.text) == (200, "true"), (junk, answer)


@row("C11", "keys twice, unknown, in other case; values in other case", writes=True)
def keys(site: Site) -> None:
    body = b'{"SchedulerAlgorithm":"spread","SCHEDULERALGORITHM":"binpack","Wrong":1,"pReEmPt":{}}'
    answer = site.put(SCHEDULER, body)
    assert answer.status == 200, answer
    assert "Wrong" in (answer.header("Warning") or "")
    assert site.get(SCHEDULER).json()["SchedulerConfig"]["SchedulerAlgorithm"] == "binpack"
    refused(site, SCHEDULER, b'{"SchedulerAlgorithm":"SPREAD"}', "invalid scheduler algorithm: ")
    both(site, b'{"Wrong":1,"AlsoWrong":{"SchedulerAlgorithm":"spread"}}', "no key of the body")


@row("C12", "values of another type")
def types(site: Site) -> None:
    field = "json: cannot unmarshal {} into Go struct field {} of type {}"
    for body, said in (
        (b'{"CleanupDeadServers":"true"}', ("string", ".CleanupDeadServers", "bool")),
        (b'{"CleanupDeadServers":1}', ("number", ".CleanupDeadServers", "bool")),
        (b'{"LastContactThreshold":200}', ("number", ".LastContactThreshold", "string")),
        (b'{"LastContactThreshold":{}}', ("object", ".LastContactThreshold", "string")),
        (b'{"MinQuorum":"3"}', ("string", ".MinQuorum", "uint")),
        (b'{"MinQuorum":[3]}', ("array", ".MinQuorum", "uint")),
    ):
        refused(site, AUTOPILOT, body, BY_AUTOPILOT + field.format(*said))
    preemption = "PreemptionConfig.PreemptionConfig.SystemSchedulerEnabled"
    for body, said in (
        (b'{"PreemptionConfig":[]}', "SchedulerConfiguration.PreemptionConfig"),
        (b'{"PreemptionConfig":{"SystemSchedulerEnabled":"no"}}', preemption),
        (b'{"SchedulerAlgorithm":1}', "SchedulerConfiguration.SchedulerAlgorithm"),
        (b'{"CreateIndex":-1}', "SchedulerConfiguration.CreateIndex"),
    ):
        answer = site.put(SCHEDULER, body)
        assert answer.status == 400
        assert said in answer.text, (said, answer)


@row("C13", "durations that make every server unhealthy")
def zero_durations(site: Site) -> None:
    for value in ("-5s", "0s", "", "0", "-1ns", "-0s"):
        body = {"LastContactThreshold": value}
        answer = site.put(AUTOPILOT, body)
        assert answer.status == 400
        assert "LastContactThreshold" in answer.text
    answer = site.put(AUTOPILOT, {"ServerStabilizationTime": "-5s"})
    assert answer.status == 400
    assert "ServerStabilizationTime" in answer.text


@row("C14", "durations, bad and good", writes=True)
def durations(site: Site) -> None:
    for text, said in (
        ("99999999999h", 'time: invalid duration "99999999999h"'),
        ("1e9s", 'time: unknown unit "e" in duration "1e9s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5 s", 'time: unknown unit " s" in duration "5 s"'),
        ("∞", 'time: invalid duration "\\xe2\\x88\\x9e"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        (".", 'time: invalid duration "."'),
        ("5s\n", ""),
        ("٣s", 'time: invalid duration "\\xd9\\xa3s"'),
        ("1" * 100_000 + "s", ""),
        ("s" * 100_000, ""),
        ("1ns" * 300_000, ""),
    ):
        answer = site.put(AUTOPILOT, {"ServerStabilizationTime": text})
        assert answer.status == 400, (text[:40], answer)
        assert answer.text.startswith(BY_AUTOPILOT + said), (text[:40], answer)
        assert len(answer.text) < 1000, (text[:40], len(answer.text))
    for text, shown in (
        ("1.5h", "1h30m0s"),
        ("1us", "1µs"),
        ("1µs", "1µs"),
        ("1μs", "1µs"),
        ("-0s", "0s"),
        ("+5s", "5s"),
        (".5s", "500ms"),
        ("1h1h", "2h0m0s"),
        ("99999h", "99999h0m0s"),
        ("", "0s"),
        ("0", "0s"),
    ):
        assert site.put(AUTOPILOT, {"ServerStabilizationTime": text}).status == 200, text
        assert site.get(AUTOPILOT).json()["ServerStabilizationTime"] == shown, text
    assert site.put(AUTOPILOT, {"MinQuorum": 0}).text == "true"


@row("C15", "numbers, bad and good", writes=True)
def numbers(site: Site) -> None:
    for number in ("-1", str(1 << 64), "9" * 400, "1.5", "1e3", "1E400", "-0.0"):
        answer = site.put(AUTOPILOT, b'{"MaxTrailingLogs":%b}' % number.encode())
        said = "json: cannot unmarshal number "
        assert answer.status == 400
        assert answer.text.startswith(BY_AUTOPILOT + said + number[:64]), answer
        assert answer.text.endswith(" into Go struct field .MaxTrailingLogs of type uint64")
    both(site, b'{"CreateIndex":"5"}', "json: cannot unmarshal string into Go struct field ")
    assert site.put(AUTOPILOT, b'{"MaxTrailingLogs":18446744073709551615}').text == "true"
    assert site.get(AUTOPILOT).json()["MaxTrailingLogs"] == (1 << 64) - 1
    assert site.put(AUTOPILOT, b'{"MaxTrailingLogs":null}').text == "true"
    assert site.get(AUTOPILOT).json()["MaxTrailingLogs"] == 250


@row("C16", "names of algorithms that are none, with what does not print")
def algorithms(site: Site) -> None:
    said = "invalid scheduler algorithm: "
    for text in (b"bogus", b"bin\\u0000pack", b"\\u202espread", b"\xff\xfe", b" binpack", b"<b>"):
        answer = site.put(SCHEDULER, b'{"SchedulerAlgorithm":"%b"}' % text)
        assert answer.status == 400, (text, answer)
        assert answer.text.startswith(said), answer
        assert answer.text.isprintable(), answer
    long = site.put(SCHEDULER, {"SchedulerAlgorithm": "x" * 100_000})
    assert long.text == said + "x" * 64
    both(site, b"\xef\xbb\xbf{}")
    both(site, b"\xff\xfe{\0}\0")


@row("C17", "a body a hundred thousand deep")
def deep(site: Site) -> None:
    for opening in (b"[", b'{"a":', b'{"PreemptionConfig":', b'[{"a":'):
        both(site, opening * 50_000, "exceeded max depth")
    both(site, b'{"x":%b' % (b"[" * 100_000), "exceeded max depth")
    both(site, b'{"x":%b%b,"MinQuorum":-1' % (b"[" * 511, b"]" * 511))


@row("C18", "a body of 20 MB")
def large(site: Site) -> None:
    body = b'{"CleanupDeadServers":true,"x":"' + b"y" * (20 * MIB) + b'"}'
    for target in (AUTOPILOT, SCHEDULER):
        for chunked in (False, True):
            raw = request("PUT", target, body=body, chunked=chunked)
            heard = site.raw(raw)
            assert heard.status == 413, heard.data[:300]
    early = request("PUT", AUTOPILOT, {"Content-Length": str(20 * MIB)}, close=False)
    heard = site.raw(early, patience_s=2)
    assert heard.status == 413, "refused before the body is sent"
    limit = b'{"x":"%b"}'
    assert site.put(AUTOPILOT, limit % (b"y" * (JSON_LIMIT - 8))).status == 400
    assert site.put(AUTOPILOT, limit % (b"y" * (JSON_LIMIT - 7))).status == 413
    endless = request("PUT", AUTOPILOT, {"Transfer-Encoding": "chunked"}, close=False)
    assert site.raw(endless + b"1\r\nx\r\n" * 1_200_000).status == 413


@row("C19", "numbers and characters that JSON does not have")
def not_json(site: Site) -> None:
    for text in (b"NaN", b"Infinity", b"-Infinity", b"-0", b"0x10", b"1_000", b"+1", b"1."):
        both(site, b'{"MinQuorum":%b,"CreateIndex":%b}' % (text, text))
    answer = site.put(SCHEDULER, b'{"SchedulerAlgorithm":"\\ud800"}')
    assert answer.status == 400


@row("C20", "bodies of other formats")
def formats(site: Site) -> None:
    form = "application/x-www-form-urlencoded"
    parts = "multipart/form-data; boundary=x"
    for kind, body in (
        ("application/yaml", b"CleanupDeadServers: true\n"),
        ("application/yaml", b"!!python/object/apply:os.system ['true']\n"),
        (form, b"CleanupDeadServers=true"),
        (parts, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{}\r\n--x--\r\n'),
        ("application/xml", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"),
        ("application/msgpack", b"\x81\xa1a\x01"),
        ("application/hcl", b"cleanup_dead_servers = true"),
    ):
        answer = site.put(AUTOPILOT, body, headers={"Content-Type": kind})
        assert answer.status == 400, (kind, answer)
        assert answer.text.startswith(BY_AUTOPILOT)


@row("C21", "100 writes at once with the same index", writes=True)
def same_index(site: Site) -> None:
    now = site.get(SCHEDULER).json()["SchedulerConfig"]
    put = functools.partial(site.put, f"{SCHEDULER}?cas={now['ModifyIndex']}")
    answers = in_parallel(50, lambda: put({"SchedulerAlgorithm": "spread"}))
    answers += in_parallel(50, lambda: put({"SchedulerAlgorithm": "spread"}))
    found = [answer.json() for answer in answers]
    assert [answer.status for answer in answers] == [200] * 100
    won = [each for each in found if each["Updated"]]
    assert len(won) == 1
    indexes = sorted(each["Index"] for each in found)
    assert indexes == list(range(indexes[0], indexes[0] + 100)), "an index is lost or given twice"
    stored = site.get(SCHEDULER).json()["SchedulerConfig"]
    assert stored["ModifyIndex"] == won[0]["Index"]
    assert site.put(SCHEDULER, {"SchedulerAlgorithm": "binpack"}).status == 200
