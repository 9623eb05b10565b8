"""Checks of the server's values: scheduler, engine, version, limits, and numbers below zero."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bellcow.config.checks.base import Given, make_problem, one_of, wrong
from bellcow.config.keys import Key, all_keys, get_value
from bellcow.config.problem import Phase, Problem, quoted
from bellcow.model.scheduler import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bellcow.config.model import Settings
    from bellcow.gocompat.duration import Duration

ENGINES = ("auto", "embedded", "etcd")
SCHEDULERS = ("service", "batch", "system", "sysbatch", "_core")
_SEMVER = re.compile(
    r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z.-]+)?",
    re.ASCII,
)
_SETUP = "server config setup failed: "
# Nomad accepts a negative number here in silence.
_NOT_NEGATIVE = (
    "server.bootstrap_expect",
    "server.num_schedulers",
    "server.retry_max",
    "server.server_join.retry_max",
    "server.raft_snapshot_threshold",
    "server.raft_trailing_logs",
    "server.default_scheduler_config.node_limit_for_feasibility_checks",
    "autopilot.max_trailing_logs",
    "autopilot.min_quorum",
    "limits.http_max_bad_tokens",
    "log_rotate_bytes",
    "log_rotate_max_files",
)
_OWN_DURATION_CHECKS = {
    "server.job_gc_interval",
    "limits.rpc_handshake_timeout",
    "limits.https_handshake_timeout",
    "autopilot.last_contact_threshold",
}


def check_scheduler(given: Given) -> Iterator[Problem]:
    config = given.settings.server.default_scheduler_config
    if config.scheduler_algorithm not in ALGORITHMS:
        message = f"invalid scheduler algorithm: {config.scheduler_algorithm}"
        key = "server.default_scheduler_config.scheduler_algorithm"
        yield wrong(message, key, allowed=one_of(ALGORITHMS))
    for name in given.settings.server.enabled_schedulers:
        if name not in SCHEDULERS:
            message = f"server.enabled_schedulers has no kind {quoted(name)}"
            yield wrong(message, "server.enabled_schedulers", allowed=one_of(SCHEDULERS))


def check_own_rules(given: Given) -> Iterator[Problem]:
    server = given.settings.server
    version = server.upgrade_version
    if version and not _SEMVER.fullmatch(version):
        message = f"server.upgrade_version is not a version: {quoted(version)}"
        yield wrong(message, "server.upgrade_version", allowed="must be like 1.2.3 or 1.2.3-rc1")
    if server.engine not in ENGINES:
        message = f"server.engine is unknown: {quoted(server.engine)}"
        yield wrong(message, "server.engine", allowed=one_of(ENGINES))
    elif server.engine == "embedded" and server.bootstrap_expect > 1:
        message = (
            f"server.engine embedded is one server, bootstrap_expect {server.bootstrap_expect}"
        )
        yield wrong(message, "server.engine", "server.bootstrap_expect", allowed="use auto or etcd")
    for key in _NOT_NEGATIVE:
        value = get_value(given.settings, key)
        if value is not None and value < 0:
            yield wrong(f"{key} must not be negative, got {value}", key)
    for duration in all_keys():
        yield from _check_duration(given.settings, duration)
    threshold = given.settings.autopilot.last_contact_threshold
    if threshold.ns <= 0:
        message = f"autopilot.last_contact_threshold must be longer than zero, got {threshold}"
        yield wrong(message, "autopilot.last_contact_threshold")
    rate = server.max_heartbeats_per_second
    if not 0 < rate < float("inf"):
        message = f"server.max_heartbeats_per_second must be above zero, got {rate}"
        yield wrong(message, "server.max_heartbeats_per_second")


def _check_duration(settings: Settings, key: Key) -> Iterator[Problem]:
    if key.kind != "duration" or key.path in _OWN_DURATION_CHECKS:
        return
    value: Duration = get_value(settings, key.path)
    if value.ns < 0:
        yield wrong(f"{key.path} must not be negative, got {value}", key.path)


def check_server_setup(given: Given) -> Iterator[Problem]:
    server, limits = given.settings.server, given.settings.limits
    if not 1 <= server.raft_multiplier <= 10:
        what = f"raft_multiplier cannot be {server.raft_multiplier}. Must be between 1 and 10"
        yield make_problem(Phase.AGENT, _SETUP + what, "server.raft_multiplier")
    if server.event_buffer_size < 0:
        what = "Invalid Config, event_buffer_size must be non-negative"
        yield make_problem(Phase.AGENT, _SETUP + what, "server.event_buffer_size")
    if server.job_gc_interval.ns <= 0:
        what = "job_gc_interval should be greater than 0s"
        yield make_problem(Phase.AGENT, _SETUP + what, "server.job_gc_interval")
    if limits.rpc_handshake_timeout.ns < 0:
        what = "rpc_handshake_timeout must be >= 0"
        yield make_problem(Phase.AGENT, _SETUP + what, "limits.rpc_handshake_timeout")
    connections = limits.rpc_max_conns_per_client
    if connections != 0 and connections <= 25:
        what = f"rpc_max_conns_per_client must be > 25; found: {connections}"
        yield make_problem(
            Phase.AGENT, _SETUP + what, "limits.rpc_max_conns_per_client", allowed="or 0"
        )
