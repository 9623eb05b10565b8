"""Three real servers: how long writes wait when leadership moves, what group commit gains, how fast
a cluster is there, what a follower's answer costs.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from bench.figure import Figure, at_least, at_most
from bench.wrk import Contender, Load, best_rate, compare, least_cpu_us, run, spelled
from tests.cluster.chaos.cluster import Cluster, wait_until
from tests.support import etcd

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import open_client
from bellcow.gocompat.duration import NS_PER_S, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.site import Options
    from bench.wrk import Outcome
    from tests.cluster.chaos.cluster import Server

SCHEDULER = "/v1/operator/scheduler/configuration"
BODY = '{"SchedulerAlgorithm":"binpack","PreemptionConfig":{"SystemSchedulerEnabled":true}}'
TURN_S = 2.0
PAUSE_S = 0.002  # between two writes of the client that watches the gap
CALM_S = 1.0  # before leadership moves
WRITERS = 200
KEY_WRITERS = 8
READERS = 64


def measure(options: Options) -> list[Figure]:
    with Cluster(3) as cluster:
        began = time.perf_counter()
        cluster.start()
        cluster.wait_for_leader()
        start_s = time.perf_counter() - began
        cluster.wait_until_healthy(3)
        figures = [
            Figure(
                name="three servers, nothing to leader", value=start_s, unit="s", gate=at_most(5)
            ),
            _rest(cluster),
            _group_commit(cluster, options),
            _stale(cluster, options),
            _default_reads(cluster, options),
            _one_write(cluster, options),
        ]
        figures += _gaps(cluster, 2 if options.quick else 10)
        figures += _growth(cluster)
    return [*figures, _key(options)]


def _key(options: Options) -> Figure:
    """What mutual TLS between the servers costs durable writes, beside a cluster without it."""
    with Cluster(3) as keyed, Cluster(3, key="") as plain:
        contenders = []
        for name, cluster in (("key", keyed), ("plain", plain)):
            cluster.start()
            leader = cluster.wait_for_leader()
            cluster.wait_until_healthy(3)
            contenders.append(Contender(name=name, load=_put(leader), pid=_pid(leader)))
        outcomes = compare(contenders, KEY_WRITERS, turns=options.turns, seconds=TURN_S)
    rates = {
        name: statistics.median(each.rate for each in found) for name, found in outcomes.items()
    }
    return Figure(
        name=f"durable PUTs on three servers with the key over without, {KEY_WRITERS} writers",
        value=rates["key"] / rates["plain"],
        unit="x rate",
        gate=at_least(0.8),
        reference=f"{rates['key']:,.0f}/s over {rates['plain']:,.0f}/s",
    )


def _rest(cluster: Cluster) -> Figure:
    """LastContact of healthy followers while nothing happens."""
    leader = cluster.wait_for_leader()
    worst = 0.0
    for _ in range(20):
        time.sleep(0.25)
        servers: list[dict[str, Any]] = leader.get("/v1/operator/autopilot/health").json()[
            "Servers"
        ]
        worst = max(worst, *(parse_duration(s["LastContact"]) * 1e3 / NS_PER_S for s in servers))
    return Figure(name="LastContact at rest, worst", value=worst, unit="ms", gate=at_most(150))


def _group_commit(cluster: Cluster, options: Options) -> Figure:
    leader = cluster.wait_for_leader()
    load = _put(leader)
    run(load, _pid(leader), 8, 1)
    pairs = [
        (run(load, _pid(leader), 1, TURN_S), run(load, _pid(leader), WRITERS, TURN_S))
        for _ in range(options.turns)
    ]
    alone, many = sorted(pairs, key=lambda pair: pair[1].rate / pair[0].rate)[len(pairs) // 2]
    return Figure(
        name=f"group commit on three members, {WRITERS} writers over 1",
        value=many.rate / alone.rate,
        unit="x rate",
        gate=at_least(8),
        reference=f"{many.rate:,.0f}/s over {alone.rate:,.0f}/s",
    )


def _stale(cluster: Cluster, options: Options) -> Figure:
    """What a follower pays for an answer from its memory, beside what the leader pays for one."""
    ours, base = _reads(cluster, f"{SCHEDULER}?stale", 8, options)
    return Figure(
        name="stale GET of a follower over the leader's",
        value=least_cpu_us(ours) / least_cpu_us(base),
        unit="x CPU",
        gate=at_most(1.3),
        reference=f"{spelled(ours)} over {spelled(base)}",
    )


def _default_reads(cluster: Cluster, options: Options) -> Figure:
    """Reads that a majority confirms: how many a follower answers beside the leader."""
    ours, base = map(best_rate, _reads(cluster, SCHEDULER, READERS, options))
    return Figure(
        name=f"default GET of a follower over the leader's, {READERS} readers",
        value=ours / base,
        unit="x rate",
        gate=at_least(0.85),
        reference=f"{ours:,.0f}/s over {base:,.0f}/s",
    )


def _reads(
    cluster: Cluster, path: str, connections: int, options: Options
) -> tuple[list[Outcome], list[Outcome]]:
    """The same GET of a follower and of the leader, in turns."""
    leader = cluster.wait_for_leader()
    follower = next(each for each in cluster.servers if each is not leader)
    contenders = [
        Contender(name=name, load=Load(url=_url(server, path)), pid=_pid(server))
        for name, server in (("leader", leader), ("follower", follower))
    ]
    outcomes = compare(contenders, connections, turns=options.turns, seconds=TURN_S)
    return outcomes["follower"], outcomes["leader"]


def _one_write(cluster: Cluster, options: Options) -> Figure:
    """What one client waits for a durable write, beside a bare transaction of the same member."""
    leader = cluster.wait_for_leader()
    load = _put(leader)
    pairs = []
    for _ in range(options.turns):
        bare_us = etcd.run(_bare_us(leader.data_dir / "server/raft"))
        pairs.append((run(load, _pid(leader), 1, TURN_S).p50_us, bare_us))
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Figure(
        name="durable PUT on three servers, 1 client, over a bare transaction of etcd",
        value=ours / bare,
        unit="x time",
        gate=at_most(1.4),
        reference=f"{ours:,.0f} us over {bare:,.0f} us",
    )


async def _bare_us(directory: Path) -> float:
    """The median time of a transaction that writes as much as a commit of one setting."""
    writes = [
        pb.RequestOp(request_put=pb.PutRequest(key=key, value=bytes(150)))
        for key in (b"bench-object", b"bench-head")
    ]
    times = []
    async with open_client(directory) as client:
        for _ in range(200):
            began = time.perf_counter()
            await client.txn(pb.TxnRequest(success=writes))
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


# What a client sees when leadership moves


class _Writer(threading.Thread):
    """Writes to one server without a pause to speak of; `longest` is what lay between two."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._done = threading.Event()
        self.written: list[float] = []

    def run(self) -> None:
        number = 0
        while not self._done.is_set():
            number += 1
            name = f"gap-{number % 50}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                if (
                    self._server.request("PUT", f"/v1/namespace/{name}", {"Name": name}).status
                    == 200
                ):
                    self.written.append(time.perf_counter())
            time.sleep(PAUSE_S)

    def stop(self) -> float:
        self._done.set()
        self.join()
        pairs = zip(self.written, self.written[1:], strict=False)
        return max(later - earlier for earlier, later in pairs)


def _gaps(cluster: Cluster, times: int) -> list[Figure]:
    ways: tuple[tuple[str, Callable[[Cluster, Server], None], float], ...] = (
        ("transfer", _transfer, 0.3),
        ("SIGTERM", _terminate, 0.5),
        ("kill -9", _kill, 2.0),
    )
    figures = []
    for name, move, limit in ways:
        gaps = [_gap(cluster, move) for _ in range(times)]
        figures.append(
            Figure(
                name=f"write gap, {name}, median of {times}",
                value=statistics.median(gaps),
                unit="s",
                gate=at_most(limit),
                reference=f"{min(gaps):.3f} to {max(gaps):.3f} s",
            )
        )
    return figures


def _gap(cluster: Cluster, move: Callable[[Cluster, Server], None]) -> float:
    """The longest time between two writes of a client of another server, while `move` happens."""
    cluster.wait_until_healthy(3)
    leader = cluster.wait_for_leader()
    writer = _Writer(next(each for each in cluster.servers if each is not leader))
    writer.start()
    time.sleep(CALM_S)
    before = len(writer.written)
    move(cluster, leader)
    wait_until(lambda: len(writer.written) > before + 20, 30, "writes again", cluster.tail)
    gap = writer.stop()
    if not leader.runs:
        leader.start()
    return gap


def _transfer(cluster: Cluster, leader: Server) -> None:
    servers = leader.get("/v1/operator/raft/configuration").json()["Servers"]
    others = {each.rpc_address for each in cluster.servers if each is not leader}
    heir = next(each["ID"] for each in servers if each["Address"] in others)
    leader.request("PUT", f"/v1/operator/raft/transfer-leadership?id={heir}")


def _terminate(cluster: Cluster, leader: Server) -> None:
    del cluster
    leader.stop()


def _kill(cluster: Cluster, leader: Server) -> None:
    del cluster
    leader.kill()


# One server more


def _growth(cluster: Cluster) -> list[Figure]:
    cluster.wait_until_healthy(3)
    leader = cluster.wait_for_leader()
    fourth = cluster.add()
    began = time.perf_counter()
    fourth.start()

    def entry(*, voter: bool) -> bool:
        servers = leader.get("/v1/operator/raft/configuration").json()["Servers"]
        return any(
            each["Address"] == fourth.rpc_address and each["Voter"] in {True, voter}
            for each in servers
        )

    wait_until(lambda: entry(voter=False), 30, "a fourth server", cluster.tail)
    there = time.perf_counter()
    wait_until(lambda: entry(voter=True), 60, "a fourth voter", cluster.tail)
    votes = time.perf_counter()
    return [
        Figure(
            name="a fourth server, from its start to a non-voter",
            value=there - began,
            unit="s",
            gate=at_most(2),
        ),
        Figure(
            name="and to a voter, stabilization of 1 s included",
            value=votes - there,
            unit="s",
            gate=at_most(6),
        ),
    ]


def _put(server: Server) -> Load:
    """Durable writes of one setting."""
    return Load(
        url=_url(server, SCHEDULER),
        method="PUT",
        headers={"Content-Type": "application/json"},
        body=BODY,
    )


def _url(server: Server, path: str) -> str:
    return f"http://{server.place.client_ip}:{server.place.http}{path}"


def _pid(server: Server) -> int:
    """Of the agent itself, also where the network namespace's command has started it."""
    assert server.process is not None
    return server.process.pid
