"""The declarations of the settings."""

from __future__ import annotations

import pytest

from bellcow.config.keys import get_value
from bellcow.config.model import Settings
from bellcow.gocompat.duration import Duration


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("region", "global"),
        ("datacenter", "dc1"),
        ("bind_addr", "0.0.0.0"),
        ("ports.http", 4646),
        ("ports.rpc", 4647),
        ("ports.serf", 4648),
        ("log_level", "INFO"),
        ("server.enabled", False),
        ("server.bootstrap_expect", 0),
        ("server.engine", "auto"),
        ("server.raft_protocol", 3),
        ("server.raft_multiplier", 1),
        ("server.num_schedulers", None),
        ("server.heartbeat_grace", Duration.parse("10s")),
        ("server.min_heartbeat_ttl", Duration.parse("10s")),
        ("server.max_heartbeats_per_second", 50.0),
        ("server.job_gc_interval", Duration.parse("5m")),
        ("server.job_gc_threshold", Duration.parse("4h")),
        ("server.node_gc_threshold", Duration.parse("24h")),
        ("server.server_join.retry_interval", Duration.parse("30s")),
        ("server.default_scheduler_config.preemption_config.system_scheduler_enabled", True),
        ("acl.token_ttl", Duration.parse("30s")),
        ("limits.https_handshake_timeout", Duration.parse("5s")),
        ("limits.http_max_conns_per_client", 100),
        ("limits.http_max_bad_tokens", 100),
        ("tls.tls_min_version", "tls12"),
        ("autopilot.cleanup_dead_servers", True),
        ("autopilot.last_contact_threshold", Duration.parse("200ms")),
        ("autopilot.max_trailing_logs", 250),
        ("autopilot.server_stabilization_time", Duration.parse("10s")),
        ("telemetry.collection_interval", Duration.parse("1s")),
        ("telemetry.filter_default", True),
        ("telemetry.metrics_require_token", False),
        ("license.issuers", ()),
        ("http_allowed_hosts", ()),
    ],
)
def test_a_default_is_the_documented_one(path, default):
    assert get_value(Settings(), path) == default


def test_settings_cannot_be_changed_in_place():
    settings = Settings()
    with pytest.raises(AttributeError, match="immutable"):
        settings.region = "west"
