"""The metrics of a server: their names, and where each value is read."""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING

import psutil

from bellcow.gocompat.duration import NS_PER_S
from bellcow.state.tables import RAFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bellcow.agent.metrics import Metrics
    from bellcow.api.http.limits import Clients
    from bellcow.api.pipeline.pipeline import Pipeline
    from bellcow.server import Server

# Nomad: alert rules name these. They are 0, as in a Nomad without jobs: bellcow schedules nothing.
NOTHING_SCHEDULED = (
    "nomad.nomad.blocked_evals.total_blocked",
    "nomad.nomad.blocked_evals.total_escaped",
    "nomad.nomad.blocked_evals.total_quota_limit",
    "nomad.nomad.broker.total_blocked",
    "nomad.nomad.broker.total_pending",
    "nomad.nomad.broker.total_ready",
    "nomad.nomad.broker.total_unacked",
    "nomad.nomad.broker.total_waiting",
    "nomad.nomad.heartbeat.active",
    "nomad.nomad.job_status.dead",
    "nomad.nomad.job_status.pending",
    "nomad.nomad.job_status.running",
    "nomad.nomad.plan.queue_depth",
    "nomad.nomad.vault.distributed_tokens_revoking",
    "nomad.nomad.vault.token_ttl",
)


def measure(metrics: Metrics, server: Server, pipeline: Pipeline) -> None:
    """Register every source. Each reads a number that its owner keeps anyway."""
    process = psutil.Process()
    tables, committer = server.tables, server.committer
    leads = server.leadership
    pauses = _Pauses()
    gauges = {
        "nomad.nomad.autopilot.healthy": lambda: float(server.autopilot.health.healthy),
        "nomad.nomad.autopilot.failure_tolerance": (
            lambda: float(server.autopilot.health.failure_tolerance)
        ),
        "nomad.raft.appliedIndex": lambda: float(tables.index),
        "nomad.raft.lastIndex": lambda: float(tables.index),
        "nomad.state.snapshotIndex": lambda: float(server.snapshots.last_index),
        "nomad.state.full": lambda: float(committer.full),
        "nomad.state.store_bytes": lambda: float(server.quota.used_bytes),
        "nomad.state.store_quota_bytes": (
            lambda: float(server.quota.quota_bytes if server.quota.used_bytes else 0)
        ),
        "nomad.raft.commitNumLogs": lambda: float(committer.last_batch),
        "nomad.nomad.blocking_queries": lambda: float(len(server.waiting)),
        "nomad.runtime.alloc_bytes": lambda: float(process.memory_info().rss),
        "nomad.runtime.num_goroutines": lambda: float(server.facts.tasks()),
        "nomad.runtime.open_files": lambda: float(process.num_fds()),
        "nomad.runtime.sys_bytes": lambda: float(process.memory_info().vms),
        "nomad.runtime.heap_objects": lambda: float(sys.getallocatedblocks()),
        "nomad.runtime.total_gc_runs": lambda: float(
            sum(generation["collections"] for generation in gc.get_stats())
        ),
        "nomad.runtime.total_gc_pause_ns": lambda: pauses.total_s * NS_PER_S,
        "nomad.runtime.gc_longest_pause_ms": lambda: pauses.longest_s * 1_000,
        **dict.fromkeys(NOTHING_SCHEDULED, _zero),
    }
    counters = {
        "nomad.nomad.rpc.request": lambda: float(pipeline.answered + pipeline.refused),
        "nomad.nomad.rpc.request_error": lambda: float(pipeline.refused),
        "nomad.nomad.rpc.query": lambda: float(pipeline.answered),
        "nomad.raft.apply": lambda: float(committer.commands),
        "nomad.raft.commits": lambda: float(committer.commits),
        "nomad.raft.state.leader": lambda: float(leads.claims),
        # Each new leader waits once, until a majority has its first entry.
        "nomad.raft.barrier": lambda: float(leads.claims),
        "nomad.serf.member.join": lambda: float(server.facts.log.reported("member_alive")),
        "nomad.serf.member.failed": lambda: float(server.facts.log.reported("member_failed")),
    }
    for name, read in gauges.items():
        metrics.gauge(name, read)
    for name, read in counters.items():
        metrics.counter(name, read)
    committer.on_commit = metrics.sample("nomad.raft.commitTime")
    server.mirror.on_apply = metrics.sample("nomad.raft.fsm.apply")
    pauses.on_pause = metrics.sample("nomad.runtime.gc_pause_ns")
    metrics.poll("nomad.raft.leader.lastContact", lambda: _contacts_ms(server))


def _contacts_ms(server: Server) -> Iterator[float]:
    """While this server leads: milliseconds since each other voter answered it."""
    if not server.leadership.is_leader:
        return
    raft = server.tables.one(RAFT)
    voters = {peer.id for peer in raft.servers if peer.voter} if raft else set()
    for server_id, (age_s, _) in server.roster.contacts().items():
        if server_id in voters:
            yield age_s * 1_000


def _zero() -> float:
    return 0.0


def measure_connections(metrics: Metrics, clients: Clients) -> None:
    """Register the connections of the HTTP port, which its limits count."""
    metrics.gauge("nomad.http.connections", lambda: float(clients.open))
    metrics.gauge("nomad.http.connections_limit", lambda: float(clients.total))
    metrics.counter("nomad.http.connections_refused", lambda: float(clients.refused))


class _Pauses:
    """The pauses of the garbage collector, in seconds; `on_pause` receives each in ns."""

    def __init__(self) -> None:
        self._began = 0.0
        self.longest_s = 0.0
        self.total_s = 0.0
        self.on_pause: Callable[[float], None] = lambda _: None
        gc.callbacks.append(self._seen)

    def _seen(self, phase: str, info: object) -> None:
        del info
        now = time.perf_counter()
        if phase == "start":
            self._began = now
            return
        took_s = now - self._began
        self.longest_s = max(self.longest_s, took_s)
        self.total_s += took_s
        self.on_pause(took_s * NS_PER_S)
