"""Which figures of a server are published, and under which names."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from bellcow.agent.metrics import Metrics
    from bellcow.api.limits import Clients
    from bellcow.api.pipeline import Pipeline
    from bellcow.server import Server


def measure(metrics: Metrics, server: Server, pipeline: Pipeline) -> None:
    """Register every source. All are read when asked for; nothing is counted for them."""
    process = psutil.Process()
    tables, committer = server.tables, server.committer
    leads = server.leadership
    gauges = {
        "nomad.nomad.autopilot.healthy": lambda: float(server.autopilot.health.healthy),
        "nomad.nomad.autopilot.failure_tolerance": (
            lambda: float(server.autopilot.health.failure_tolerance)
        ),
        "nomad.raft.appliedIndex": lambda: float(tables.index),
        "nomad.raft.lastIndex": lambda: float(tables.index),
        "nomad.state.snapshotIndex": lambda: float(server.snapshots.last_index),
        "nomad.state.full": lambda: float(committer.full),
        "nomad.state.store_bytes": lambda: float(server.room.used_bytes),
        "nomad.state.store_quota_bytes": (
            lambda: float(server.room.quota_bytes if server.room.used_bytes else 0)
        ),
        "nomad.raft.commitNumLogs": lambda: float(committer.last_batch),
        "nomad.nomad.blocking_queries": lambda: float(len(server.waiting)),
        "nomad.runtime.alloc_bytes": lambda: float(process.memory_info().rss),
        "nomad.runtime.num_goroutines": lambda: float(server.facts.tasks()),
        "nomad.runtime.open_files": lambda: float(process.num_fds()),
        "nomad.runtime.gc_longest_pause_ms": _Pauses().longest_ms,
    }
    counters = {
        "nomad.nomad.rpc.request": lambda: float(pipeline.answered + pipeline.refused),
        "nomad.nomad.rpc.request_error": lambda: float(pipeline.refused),
        "nomad.nomad.rpc.query": lambda: float(pipeline.answered),
        "nomad.raft.apply": lambda: float(committer.commands),
        "nomad.raft.commits": lambda: float(committer.commits),
        "nomad.raft.state.leader": lambda: float(leads.claims),
    }
    for name, read in gauges.items():
        metrics.gauge(name, read)
    for name, read in counters.items():
        metrics.counter(name, read)
    committer.on_commit = metrics.sample("nomad.raft.commitTime")


def measure_connections(metrics: Metrics, clients: Clients) -> None:
    """The connections of the HTTP port. They are counted anyway, for the limits."""
    metrics.gauge("nomad.http.connections", lambda: float(clients.open))
    metrics.gauge("nomad.http.connections_limit", lambda: float(clients.total))
    metrics.counter("nomad.http.connections_refused", lambda: float(clients.refused))


class _Pauses:
    """The longest pause of the garbage collector so far, milliseconds."""

    def __init__(self) -> None:
        self._began = 0.0
        self._longest = 0.0
        gc.callbacks.append(self._seen)

    def _seen(self, phase: str, info: object) -> None:
        del info
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        else:
            self._longest = max(self._longest, now - self._began)

    def longest_ms(self) -> float:
        return self._longest * 1_000
