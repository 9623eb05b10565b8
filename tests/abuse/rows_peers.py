"""Section D, and F10: the port between servers, the peers, and the consensus process beside us.

Each refusal on the port leaves the servers that are known as they were, and one line in the log.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.abuse.rows import left_out, row
from tests.abuse.rows_http import AUTOPILOT
from tests.abuse.wire import elsewhere, request, talk
from tests.harness import BELLCOW, Answer
from tests.sim.net import itself
from tests.support.certificates import Authority
from tests.support.etcd import PROGRAM, WHY
from tests.support.wires import keyed

from bellcow.cluster.members.exchange import HELLO_PATH
from bellcow.model.hello import Cluster, Hello, Record, encode_hello

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.abuse.site import Site

PEER = "/v1/operator/raft/peer"
MEMBERS = "/v1/agent/members"
KEY = bytes(range(32))
ENCRYPT = base64.b64encode(KEY).decode()
NAME = "server.global.nomad"


# Peers over the API


@row("D1", "a peer to remove that is named twice, or not at all")
def no_peer(site: Site) -> None:
    wanted = "Must specify either ?id with the server's ID or ?address with IP:port of peer"
    assert site.ask("DELETE", PEER).status == 400
    assert wanted in site.ask("DELETE", PEER).text
    both = site.ask("DELETE", f"{PEER}?id=a&address=b")
    assert (both.status, both.text.strip()) == (400, "Must specify only one of ?id or ?address")


@row("D2", "a peer that nobody knows", faults={500})
def unknown_peer(site: Site) -> None:
    for query in ("address=1.2.3.4:4647", "id=d3b07384-d113-4ec6-a7d9-2f5b8f3a9d11"):
        answer = site.ask("DELETE", f"{PEER}?{query}")
        assert answer.status == 500
        assert "was not found in the Raft configuration" in answer.text


@row("D3", "removing the only voter", faults={500})
def only_voter(site: Site) -> None:
    (peer,) = site.get("/v1/operator/raft/configuration").json()["Servers"]
    for query in (f"id={peer['ID']}", f"address={peer['Address']}"):
        answer = site.ask("DELETE", f"{PEER}?{query}")
        assert answer.status in {409, 500}, answer
        assert "voter" in answer.text, answer


@row("D5", "ids of peers with line ends, quotes, dots and ten thousand letters", faults={500})
def odd_peers(site: Site) -> None:
    for odd in ("a%0d%0aX-Evil:%201", "%22%27", "../../etc/passwd", "x" * 10_000, "%00", "%ff"):
        for kind in ("id", "address"):
            answer = site.ask("DELETE", f"{PEER}?{kind}={odd}")
            assert answer.status in {400, 500}, answer
            assert answer.header("X-Evil") is None
            assert len(answer.body) < 1000


for _name in ("D4", "D6", "D7", "D8"):
    left_out(_name, "needs several servers: test_three_servers.py")


# The port between servers


def port(site: Site) -> tuple[str, int]:
    assert site.agent is not None
    return "127.0.0.1", site.agent.serf_port


def stranger(cluster: str = "another", ahead_s: int = 0) -> bytes:
    """A hello that is well formed, and refused for its cluster by whoever believes it."""
    me = itself("stranger", rpc=("127.0.0.1", 1), serf=("127.0.0.1", 1))
    record = Record(
        itself=me, start_ns=time.time_ns() + ahead_s * 10**9, status="alive", status_seq=0
    )
    return encode_hello(
        Hello(
            region="global",
            cluster=Cluster(cluster, 0),
            sender=record,
            others=(),
            leader="",
            raft=None,
            since_leader_ms=None,
        )
    )


def refused(site: Site, reason: str, attempt: Callable[[], object]) -> None:
    """An attempt that changes nothing and is said once, with its reason."""
    members = site.get(MEMBERS).body
    size = len(site.log)
    attempt()
    site.until(lambda: reason in site.log[size:], f"nothing of {reason!r}: {site.log[size:]}")
    assert site.get(MEMBERS).body == members
    said = [line for line in site.log[size:].splitlines() if reason in line]
    assert len(said) == 1, said


def answered(site: Site, raw: bytes, status: int) -> Answer:
    answer = site.raw_at(port(site), raw).one()
    assert answer.status == status, answer
    return answer


KEYED: Any = {"server": {"encrypt": ENCRYPT}}


def with_key(key: bytes) -> Any:
    """The context of a caller that has this key."""
    context = keyed(key).call_with
    assert context is not None
    context.check_hostname = False
    return context


def over_context(site: Site, context: Any, raw: bytes) -> bytes:
    """What is answered; b"" when the handshake is refused."""
    with (
        socket.create_connection(port(site), 5, (elsewhere(), 0)) as sock,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(sock, server_hostname=NAME) as secured,
    ):
        secured.sendall(raw)
        return bytes(secured.recv(65536))
    return b""


@row("D9", "callers that do not have the key, or are of another cluster", settings=KEYED)
def wrong_key(site: Site) -> None:
    site.secrets.add(ENCRYPT)
    raw = request("POST", HELLO_PATH, body=stranger())
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    other = with_key(bytes(32))
    other.verify_mode = ssl.CERT_NONE
    for context in (bare, other):
        for path in (HELLO_PATH, "/v1/internal/forward", "/v1/internal/state", "/nothing"):
            asked = request("POST", path, body=stranger())
            assert over_context(site, context, asked) == b""
        refused(site, "TLS handshake failed", lambda c=context: over_context(site, c, raw))
    refused(site, "HTTP without TLS", lambda: talk(port(site), raw))
    mine = with_key(KEY)
    wrong = request("POST", HELLO_PATH, body=b"\x91" * 100_000)
    for reason, status, sent in (
        ("another cluster", b"409", raw),
        ("this is not a hello", b"400", wrong),
        ("nothing of this name", b"404", request("POST", "/nothing", body=b"x")),
    ):

        def attempt(sent: bytes = sent, status: bytes = status) -> None:
            assert over_context(site, mine, sent).startswith(b"HTTP/1.1 " + status)

        refused(site, reason, attempt)


@row("D9-region", "a server that names two regions for itself, or the id of this one", settings={})
def impostor(site: Site) -> None:
    from msgspec import msgpack

    (peer,) = site.get("/v1/operator/raft/configuration").json()["Servers"]
    hello = msgpack.decode(stranger())
    hello["region"] = "eu"
    raw = request("POST", HELLO_PATH, body=msgpack.encode(hello))
    refused(site, "two regions", lambda: answered(site, raw, 400))
    hello = msgpack.decode(stranger())
    hello["cluster"] = None
    hello["sender"]["itself"]["server_id"] = peer["ID"]
    raw = request("POST", HELLO_PATH, body=msgpack.encode(hello))
    members = site.get(MEMBERS).body
    assert site.raw_at(port(site), raw).one().status in {200, 409}
    assert site.get(MEMBERS).body == members


@row("D10", "a clock that is minutes off", settings=KEYED)
def other_clock(site: Site) -> None:
    """It is heard like any other: what a caller proves holds at every time."""
    mine = with_key(KEY)
    for seconds in (600, -600):
        raw = request("POST", HELLO_PATH, body=stranger(ahead_s=seconds))
        answer = over_context(site, mine, raw)
        assert answer.startswith(b"HTTP/1.1 409"), answer
        assert b"another cluster" in answer


@row(
    "D-half-open",
    "connections to the servers' port that say nothing, or half",
    settings={},
    limit_s=20,
)
def half_open(site: Site) -> None:
    head = request("POST", HELLO_PATH, {"Content-Length": "100"})
    for raw in (b"", head[:30], head + b"x"):
        heard = talk(port(site), raw, patience_s=9)
        assert heard.closed
        assert heard.seconds < 7, heard
        assert all(status in {400, 408} for status in heard.statuses)


@row("D-large", "two gigabytes for the servers' port, announced or in chunks", settings={})
def large(site: Site) -> None:
    announced = request("POST", HELLO_PATH, {"Content-Length": str(2 << 30)}) + bytes(1 << 20)
    refused(site, "larger than", lambda: answered(site, announced, 413))
    start = request("POST", HELLO_PATH, {"Transfer-Encoding": "chunked"})
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    began = time.monotonic()
    # What comes after the refusal is thrown away for a moment, so that the client reads it.
    with (
        socket.create_connection(port(site), 5, (elsewhere(), 0)) as sock,
        contextlib.suppress(ConnectionError),
    ):
        sock.sendall(start)
        while time.monotonic() < began + 4:
            sock.sendall(chunk)
    assert time.monotonic() < began + 3


# Certificates


def with_names(folder: Path) -> dict[str, Any]:
    """Mutual TLS between servers, and certificates of everybody who is not one of ours."""
    ours, theirs = Authority(folder), Authority(folder, "theirs")
    ours.sign("server", dns=NAME)
    ours.sign("client", dns="client.global.nomad")
    ours.sign("eu", dns="server.eu.nomad")
    ours.sign("late", dns=NAME, expired=True)
    theirs.sign("other", dns=NAME)
    files = {"cert_file": "server.pem", "key_file": "server-key.pem", "ca_file": "ca.pem"}
    paths = {key: str(folder / name) for key, name in files.items()}
    return {"tls": {"rpc": True, "verify_server_hostname": True, **paths}}


def over_tls(site: Site, name: str, raw: bytes) -> bytes:
    """What a caller with this certificate gets; b"" when the handshake is refused."""
    assert site.agent is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(site.agent.folder / "ca.pem"))
    if name:
        cert, key = (str(site.agent.folder / f"{name}{end}.pem") for end in ("", "-key"))
        context.load_cert_chain(cert, key)
    with (
        socket.create_connection(port(site), 5, (elsewhere(), 0)) as sock,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(sock, server_hostname=NAME) as secured,
    ):
        secured.sendall(raw)
        return secured.recv(65536)
    return b""


@row("D9-tls", "callers without the right certificate on the servers' port", settings=with_names)
def wrong_certificates(site: Site) -> None:
    raw = request("POST", HELLO_PATH, body=stranger())
    ours = over_tls(site, "server", raw)
    assert ours.startswith(b"HTTP/1.1 409"), ours  # it is heard, and of another cluster
    for name in ("", "other", "late"):
        refused(site, "TLS handshake failed", lambda name=name: unheard(site, name, raw))
    refused(site, "TLS handshake failed", lambda: talk(port(site), raw))
    for name, reason in (("client", "certificate is not one of"), ("eu", "certificate is not one")):
        assert over_tls(site, name, raw).startswith(b"HTTP/1.1 403")
        site.until(lambda reason=reason: reason in site.log, f"nothing of {reason!r}")
        assert over_tls(site, name, request("GET", "/nothing")).startswith(b"HTTP/1.1 403")


def unheard(site: Site, name: str, raw: bytes) -> None:
    assert over_tls(site, name, raw) == b""


# The consensus process

ON_ETCD: Any = {"server": {"engine": "etcd"}}

if not PROGRAM:
    left_out("F10", WHY)
else:

    def pid_of_etcd(site: Site) -> int:
        assert site.agent is not None
        return int((site.agent.data_dir / "server" / "raft" / "etcd.pid").read_text())

    def writes(site: Site) -> bool:
        return site.put(AUTOPILOT, {}).status == 200

    @row(
        "F10",
        "the consensus process dies, stands still, is started twice",
        settings=ON_ETCD,
        writes=True,
        faults={500},
        limit_s=90,
    )
    def consensus_process(site: Site) -> None:
        site.until(lambda: writes(site), "no write at all")
        os.kill(pid_of_etcd(site), signal.SIGKILL)
        site.until(lambda: "etcd exited unexpectedly" in site.log, "nobody saw it end")
        site.until(lambda: writes(site), "no write after the end of etcd")
        pid = pid_of_etcd(site)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        assert site.get(f"{AUTOPILOT}?stale").status == 200
        os.kill(pid, signal.SIGCONT)
        site.until(lambda: writes(site), "no write after etcd stood still")
        assert site.agent is not None
        second = subprocess.run(
            [BELLCOW, "agent", f"-config={site.agent.config_path}", "-log-level=info"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert "in use" in second.stderr
        site.until(lambda: writes(site), "no write after the second start")
