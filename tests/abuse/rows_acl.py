"""Section B: tokens and rights.

Matching of policies against a slow reference: tests/unit/acl/test_policy.py. Rights at a follower,
a non-voter and another region: test_three_servers.py.
"""

from __future__ import annotations

import contextlib
import re
import stat
import statistics
import threading
import time
from typing import TYPE_CHECKING

from tests.abuse.rows import left_out, row
from tests.abuse.rows_http import (
    AUTOPILOT,
    HEALTH,
    LEADER,
    LICENSE,
    OPERATOR,
    PEER,
    RAFT,
    SCHEDULER,
    SNAPSHOT,
)
from tests.abuse.wire import in_parallel, request

if TYPE_CHECKING:
    from tests.abuse.site import Site

UNKNOWN = "ACL token not found"
DENIED = "Permission denied"
TRANSFER = f"{OPERATOR}/raft/transfer-leadership"

# Method, target, body, and what a token with read, with write and a management token get. None of
# these changes anything: the writes carry an index that is not the present one, or are wrong.
RIGHTS: list[tuple[str, str, bytes | None, int, int, int]] = [
    ("GET", RAFT, None, 403, 403, 200),
    ("DELETE", f"{PEER}?id=nope", None, 403, 403, 500),
    ("PUT", TRANSFER, None, 403, 403, 400),
    ("GET", AUTOPILOT, None, 200, 200, 200),
    ("PUT", f"{AUTOPILOT}?cas=0", b"{}", 403, 200, 200),
    ("GET", HEALTH, None, 200, 200, 200),
    ("GET", SCHEDULER, None, 200, 200, 200),
    ("PUT", f"{SCHEDULER}?cas=0", b"{}", 403, 200, 200),
    ("POST", f"{SCHEDULER}?cas=0", b"{}", 403, 200, 200),
    ("GET", LICENSE, None, 200, 200, 200),
    ("PUT", LICENSE, b"x", 403, 400, 400),
    ("GET", SNAPSHOT, None, 403, 403, 200),
    ("PUT", SNAPSHOT, b"x", 403, 403, 500),
    ("POST", SNAPSHOT, b"x", 403, 403, 500),
]


@row("B1", "no token on each operator endpoint", needs="acl")
def no_token(site: Site) -> None:
    for method, target, body, *_ in RIGHTS:
        for query in ("", "&stale", "&pretty", "&region=global"):
            joint = target if "?" in target or not query else f"{target}?"
            answer = site.ask(method, joint + query, body, token="")
            assert (answer.status, answer.text.strip()) == (403, DENIED), (method, target, answer)


@row("B2", "a token that is no UUID", needs="acl")
def odd_token(site: Site) -> None:
    for token in ("abc", "x", "0" * 35, "0" * 37, "é" * 18, "' OR 1=1 --", "*", "../../etc/passwd"):
        for method, target, body, *_ in RIGHTS[::4]:
            answer = site.ask(method, target, body, token=token)
            status = 400 if target == SNAPSHOT else 403
            assert (answer.status, answer.text) == (status, UNKNOWN), (token, answer)
    assert site.get(SNAPSHOT, token="abc").status == 400


@row("B3", "a well-formed token that nobody has", needs="acl")
def unknown_token(site: Site) -> None:
    for method, target, body, *_ in RIGHTS:
        answer = site.ask(method, target, body, token=site.wrong_token())
        status = 400 if target == SNAPSHOT else 403
        assert (answer.status, answer.text) == (status, UNKNOWN), (method, target, answer)


@row("B4", "the token in the query", needs="acl")
def token_in_query(site: Site) -> None:
    for token in (site.token, site.wrong_token(4)):
        for name in ("token", "X-Nomad-Token", "access_token"):
            answer = site.get(f"{RAFT}?{name}={token}", token="")
            assert (answer.status, answer.text) == (403, DENIED), answer


@row("B5", "Authorization: Bearer, alone and beside the other header", needs="acl")
def bearer(site: Site) -> None:
    good, bad = site.token, site.wrong_token(5)
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {good}"}
        assert site.get(RAFT, token="", headers=headers).status == 200
    for value in (good, f"Basic {good}", f"Token {good}", "Bearer", "Bearer "):
        answer = site.get(RAFT, token="", headers={"Authorization": value})
        assert (answer.status, answer.text) == (403, DENIED), value
    assert site.get(RAFT, headers={"Authorization": f"Bearer {good}"}).status == 200
    assert site.get(RAFT, headers={"Authorization": f"Bearer {bad}"}).status == 403
    assert site.get(RAFT, token=bad, headers={"Authorization": f"Bearer {good}"}).status == 403


@row("B6", "tokens of 100 KB and 1 MB, with NUL, with line breaks; two tokens", needs="acl")
def odd_headers(site: Site) -> None:
    for size in (60_000, 100_000, 1_000_000):
        raw = request("GET", RAFT, {"X-Nomad-Token": "a" * size})
        assert site.raw(raw).status in {403, 431}, size
    for token in (b"a\0b", b"a\rb", b"a\nb", b"\x7f" * 36, b"\xff" * 36, b"\x01" * 36):
        raw = (
            b"GET %b HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: %b\r\nConnection: close\r\n\r\n"
        )
        assert site.raw(raw % (RAFT.encode(), token)).status in {400, 403}, token
    good, bad = ("X-Nomad-Token", site.token), ("X-Nomad-Token", site.wrong_token(6))
    assert site.raw(request("GET", RAFT, [good, good])).status == 200
    for pair in ([good, bad], [bad, good]):
        assert site.raw(request("GET", RAFT, pair)).status == 403
    folded = request("GET", RAFT, {"X-Nomad-Token": f"\r\n {site.token}"})
    assert site.raw(folded).status in {200, 400}


@row("B7", "every endpoint with every kind of token", needs="acl", writes=True, faults={500})
def rights(site: Site) -> None:
    read = site.make_token("b7-read", 'operator { policy = "read" }')
    write = site.make_token("b7-write", 'operator { policy = "write" }')
    none = site.make_token("b7-none", 'agent { policy = "write" }')
    gone = site.make_token("b7-gone", 'operator { policy = "write" }')
    site.ask("DELETE", f"/v1/acl/token/{site.accessor_of(gone)}")
    before = site.digest()
    for method, target, body, by_read, by_write, by_management in RIGHTS:
        unknown = 400 if target == SNAPSHOT else 403
        for token, status in (
            ("", 403),
            (none, 403),
            (gone, unknown),
            (read, by_read),
            (write, by_write),
            (site.token, by_management),
        ):
            answer = site.ask(method, target, body, token=token)
            assert answer.status == status, (method, target, token[:4], answer)
            if status == 403:
                assert answer.text in {DENIED, UNKNOWN}
    assert site.digest() == before
    site.forget("b7-read", "b7-write", "b7-none", "b7-gone")


left_out("B7-expired", "tokens of this version have no end of life")


@row("B8", "the token is deleted while its blocking query is open", needs="acl", writes=True)
def deleted_while_waiting(site: Site) -> None:
    token = site.make_token("b8", 'operator { policy = "read" }')
    accessor = site.accessor_of(token)
    index = int(site.get("/v1/acl/policies", token=token).header("X-Nomad-Index") or 0)
    found = []
    target = f"/v1/acl/policies?index={index}&wait=60s"
    thread = threading.Thread(target=lambda: found.append(site.get(target, token=token)))
    thread.start()
    time.sleep(0.2)
    assert not found, "it did not wait"
    site.ask("DELETE", f"/v1/acl/token/{accessor}")
    site.ask("DELETE", "/v1/acl/policy/b8")
    thread.join(1.0)
    assert found, "the query goes on"
    assert (found[0].status, found[0].text) == (403, UNKNOWN)


@row(
    "B8-monitor",
    "the token is deleted while it follows the log",
    needs="acl",
    writes=True,
)
def deleted_while_following(site: Site) -> None:
    token = site.make_token("b8m", 'agent { policy = "read" }')
    target = "/v1/agent/monitor?log_level=debug&plain=true"
    with site.connected() as sock:
        sock.sendall(request("GET", target, {"X-Nomad-Token": token}, close=False))
        assert b"200 OK" in sock.recv(65536)
        site.forget("b8m")
        time.sleep(1.0)
        site.get(RAFT, token=site.wrong_token(8))  # something to tell
        time.sleep(0.2)
        sock.settimeout(0.5)
        heard = b""
        with contextlib.suppress(TimeoutError):
            while piece := sock.recv(65536):
                heard += piece
        assert heard.endswith(b"0\r\n\r\n"), "the stream is still open"
        assert b"request refused" not in heard


left_out("B8-events", "there is no event stream yet")


@row("B9", "the same check with stale and for another region", needs="acl", faults={500})
def elsewhere(site: Site) -> None:
    for query in ("stale", "stale=true", "consistent", "stale&region=global"):
        assert site.get(f"{RAFT}?{query}", token="").status == 403
        assert site.get(f"{RAFT}?{query}", token=site.wrong_token(9)).status == 403
    answer = site.get(f"{RAFT}?region=nowhere", token="")
    assert (answer.status, answer.text) == (500, "No path to region")


left_out("B9-forwarded", "needs several servers: test_three_servers.py")


@row("B10", "a right for job-a used for job-ab", needs="acl", writes=True)
def prefixes(site: Site) -> None:
    names = ("job-a", "job-ab", "job", "job-a-b")
    for name in names:
        assert site.put(f"/v1/namespace/{name}", {"Name": name}).status == 200
    exact = site.make_token("b10", 'namespace "job-a" { policy = "read" }')
    seen = [each["Name"] for each in site.get("/v1/namespaces", token=exact).json()]
    assert seen == ["job-a"]
    for name in names:
        status = 200 if name == "job-a" else 403
        assert site.get(f"/v1/namespace/{name}", token=exact).status == status
        assert site.get(f"/v1/jobs?namespace={name}", token=exact).status == status
    assert site.get("/v1/namespace/JOB-A", token=exact).status == 403
    everywhere = site.make_token("b10-all", 'namespace "*" { policy = "read" }')
    assert len(site.get("/v1/namespaces", token=everywhere).json()) >= len(names)
    site.forget("b10", "b10-all")
    for name in names:
        site.ask("DELETE", f"/v1/namespace/{name}")


left_out("B10-events", "there is no event stream yet")


@row(
    "B11",
    "time tells nothing about a token",
    needs="acl",
    settings={"limits": {"http_max_bad_tokens": 0}},
)
def timing(site: Site) -> None:
    right_start = site.secrets.add(site.token[:18] + "0" * 18)
    wrong_start = site.wrong_token(11)
    spans: dict[str, list[float]] = {right_start: [], wrong_start: []}
    with site.connected() as sock:
        for _ in range(1000):
            for token, found in spans.items():
                raw = request("GET", RAFT, {"X-Nomad-Token": token}, close=False)
                began = time.perf_counter()
                sock.sendall(raw)
                assert sock.recv(65536).startswith(b"HTTP/1.1 403")
                found.append(time.perf_counter() - began)
    first, second = (statistics.median(found) for found in spans.values())
    assert abs(first - second) < 0.2 * max(first, second), (first, second)


@row("B11-files", "secrets are kept where only their owner reads", needs="acl", local=True)
def files(site: Site) -> None:
    assert site.agent is not None
    for path in site.agent.data_dir.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, (path, oct(mode))


@row(
    "B12", "bootstrap again, and by eight at the same moment", needs="acl", settings={}, writes=True
)
def bootstraps(site: Site) -> None:
    again = site.put("/v1/acl/bootstrap", token="")
    found = re.fullmatch(r"ACL bootstrap already done \(reset index: (\d+)\)", again.text)
    assert again.status == 400
    assert found, again
    # The file that the operator writes to allow one more stands for the first time.
    assert site.agent is not None
    (site.agent.data_dir / "server" / "acl-bootstrap-reset").write_text(found[1])
    answers = in_parallel(8, lambda: site.put("/v1/acl/bootstrap", token=""))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    winner = next(answer for answer in answers if answer.status == 200)
    secret = site.secrets.add(winner.json()["SecretID"])
    assert site.get(RAFT, token=secret).status == 200
    made = [each for each in site.get("/v1/acl/tokens").json() if each["Type"] == "management"]
    assert len(made) == 2


left_out("B12-servers", "needs several servers: test_three_servers.py")


@row(
    "B14",
    "more wrong tokens than one address may send",
    needs="acl",
    settings={"limits": {"http_max_bad_tokens": 30}},
)
def guessing(site: Site) -> None:
    wrong = [request("GET", RAFT, {"X-Nomad-Token": site.wrong_token(n)}) for n in range(40)]
    statuses = [site.raw(raw).status for raw in wrong]
    assert statuses == [403] * 30 + [429] * 10
    last = site.raw(wrong[0]).one()
    assert last.status == 429
    assert last.header("Retry-After") == "10"
    # Another way in is no way around it.
    own = site.get("/v1/acl/token/self", token=site.wrong_token(41))
    assert own.status == 429, own
    assert site.get(RAFT).status == 200, "a known token must still work"
    assert site.get(RAFT, token="").status == 403
    elsewhere = site.raw(wrong[0], source="127.0.0.2")
    assert elsewhere.status == 403, "another address must not suffer"
    assert site.get(LEADER).status == 200
