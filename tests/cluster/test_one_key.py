"""Servers that share one key: they come to terms, nobody else gets a word, and the key changes."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster.chaos.cluster import KEY, Cluster, wait_until
from tests.harness import until
from tests.support.etcd import needs_etcd

from bellcow.model.membership_calls import FORWARD_PATH, STATE_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.chaos.cluster import Server
    from tests.cluster.chaos.wires import Place

pytestmark = [needs_etcd, pytest.mark.slow]
OTHER = "YW5vdGhlciBrZXkgdGhhbiB0aGUgb25lIG9mIHRoZW0="
SECRET = "only-for-those-who-may"  # what a stranger must not read
KNOCK = """
import http.client, ssl, sys, socket
import grpc
from bellcow.etcd import etcd_pb2 as pb
host, rpc, serf, *paths = sys.argv[1:]

def ask(port, path, tls):
    bare = ssl._create_unverified_context()
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    line = kind(host, int(port), timeout=5, **({"context": bare} if tls else {}))
    try:
        line.request("POST" if path.startswith("/v1") else "GET", path, body=b"x")
        answer = line.getresponse()
        return f"{answer.status} {answer.read().decode('latin-1').strip()}"
    except (OSError, http.client.HTTPException) as error:
        return f"nothing: {type(error).__name__}"

def read(tls):
    target = f"{host}:{rpc}"
    if tls:
        pem = ssl.get_server_certificate((host, int(rpc))).encode()
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(pem))
    else:
        channel = grpc.insecure_channel(target)
    call = channel.unary_unary(
        "/etcdserverpb.KV/Range",
        request_serializer=pb.RangeRequest.SerializeToString,
        response_deserializer=pb.RangeResponse.FromString,
    )
    try:
        return str(call(pb.RangeRequest(key=b"\\0", range_end=b"\\0"), timeout=5))
    except grpc.RpcError as error:
        return f"nothing: {error.code().name}"

for tls in (False, True):
    print("kv", tls, read(tls))
    for path in ("/members", "/version", "/raft"):
        print(path, tls, ask(rpc, path, tls))
    for path in paths:
        print(path, tls, ask(serf, path, tls))
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(3) as made:
        made.start()
        made.wait_for_leader()
        made.wait_until_healthy(3)
        yield made


def knock(neighbor: Place, server: Server) -> list[str]:
    """What somebody on another machine of the network hears from a server's ports."""
    place = server.place
    words = [place.server_ip, str(place.rpc), str(place.serf)]
    words += ["/v1/internal/hello", STATE_PATH, FORWARD_PATH, "/nothing"]
    done = subprocess.run(
        [*neighbor.command_prefix, sys.executable, "-c", KNOCK, *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_neighbor_without_the_key_hears_nothing_from_any_port(cluster: Cluster) -> None:
    leader = cluster.wait_for_leader()
    body = {"Name": "hidden", "Description": SECRET}
    assert leader.request("PUT", "/v1/namespace/hidden", body).status == 200
    neighbor = cluster.wires.place(4)
    for server in cluster.servers:
        heard = knock(neighbor, server)
        assert len(heard) == 16
        for line in heard:
            assert SECRET not in line
            answer = line.split(" ", 2)[2]
            assert answer.startswith(("nothing", "400 Client sent an HTTP request to an HTTPS"))
    assert all(server.runs for server in cluster.servers)
    cluster.wait_until_healthy(3)


def members(server: Server) -> dict[str, str]:
    found = server.get("/v1/agent/members").json()["Members"]
    return {each["Name"].partition(".")[0]: each["Status"] for each in found}


def said(server: Server, event: str, *parts: str) -> bool:
    return any(
        each.get("event") == event and all(part in str(each) for part in parts)
        for each in server.events()
    )


def failures(cluster: Cluster) -> Counter[str]:
    """How often each server was reported to have failed."""
    events = (event for server in cluster.servers for event in server.events())
    return Counter(each["name"] for each in events if each.get("event") == "member_failed")


def test_a_server_with_another_key_is_refused_and_both_sides_say_why(cluster: Cluster) -> None:
    stranger = cluster.add()
    stranger.key = OTHER
    stranger.start()
    wait_until(
        lambda: said(stranger, "hello_failed", "`encrypt` must be the same on all servers"),
        30,
        "why it was refused",
        cluster.tail,
    )
    address = stranger.place.server_ip
    wait_until(
        lambda: any(said(each, "tls_handshake_failed", address) for each in cluster.servers[:3]),
        30,
        "who was refused",
        cluster.tail,
    )
    for server in cluster.servers[:3]:
        assert set(members(server)) == {"s1", "s2", "s3"}


def test_each_start_has_a_certificate_of_its_own(cluster: Cluster) -> None:
    for server in cluster.servers:
        file = server.data_dir / "server/peer-tls/cert.pem"
        before = file.read_bytes()
        server.stop()
        server.start()
        cluster.wait_for_leader()
        cluster.wait_until_healthy(3)
        assert file.read_bytes() != before


class Writer(threading.Thread):
    """Writes to whoever answers, and remembers what was acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self._done = threading.Event()
        self.written: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._done.wait(0.02):
            number += 1
            server = self._cluster.servers[number % 3]
            name = f"n{number}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = server.request("PUT", f"/v1/namespace/{name}", {"Name": name})
                if answer.status == 200:
                    self.written.append(name)

    def end(self) -> list[str]:
        self._done.set()
        self.join()
        return self.written


def voters(server: Server) -> set[str]:
    found: list[dict[str, Any]] = server.get("/v1/operator/raft/configuration").json()["Servers"]
    return {each["Node"].partition(".")[0] for each in found if each["Voter"]}


def test_the_key_changes_in_three_rounds_under_load_and_no_vote_is_lost(cluster: Cluster) -> None:
    writer = Writer(cluster)
    writer.start()
    for keys in ([KEY, OTHER], [OTHER, KEY], [OTHER]):
        for server in cluster.servers:
            before = failures(cluster)
            server.stop()
            text = ", ".join(f'"{key}"' for key in keys)
            (server.data_dir / "server/serf.keyring").write_text(f"[{text}]")
            server.start()
            cluster.wait_for_leader()
            cluster.wait_until_healthy(3)
            until(lambda s=server: voters(s) == {"s1", "s2", "s3"}, "three voters")
            # On a slow machine the one that restarts is away for long enough to fail.
            assert set(failures(cluster) - before) <= {f"{server.name}.global"}
    written = writer.end()
    assert len(written) > 50
    there = {each["Name"] for each in cluster.wait_for_leader().get("/v1/namespaces").json()}
    assert there.issuperset(written)
    for server in cluster.servers:
        assert not said(server, "server_change_started", "remove")


def test_a_clock_that_is_a_minute_off_changes_nothing(cluster: Cluster) -> None:
    """Of a follower and of the leader; for what only the wall clock tells, see the pages."""
    leader = cluster.wait_for_leader()
    for server in (next(each for each in cluster.servers if each is not leader), leader):
        if not server.have_own_clock():
            pytest.skip("libfaketime is not installed")
        server.stop()
        server.start()
        server.move_clock(90)
        cluster.wait_for_leader()
        cluster.wait_until_healthy(3)
    deadline = time.monotonic() + 12  # longer than it takes to lose a server that is not heard
    while time.monotonic() < deadline:
        for server in cluster.servers:
            assert server.request("PUT", "/v1/namespace/x", {"Name": "x"}).status == 200
            assert set(members(server).values()) == {"alive"}
        time.sleep(0.5)
