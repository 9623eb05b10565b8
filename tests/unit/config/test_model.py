"""The declarations of the settings."""

from __future__ import annotations

import pytest

from bellcow.config import model
from bellcow.config.model import Settings
from bellcow.wire import Duration


def test_every_key_has_help_a_type_and_a_priority():
    for key in model.all_keys():
        assert key.help.endswith("."), key.path
        assert key.priority in {"A", "B", "L", "C"}
        assert (key.kind == "block") == (key.block is not None)


def test_keys_of_any_shape_have_no_effect():
    assert {key.priority for key in model.all_keys() if key.kind == "any"} == {"C"}


def test_paths_are_unique_and_lead_to_their_defaults():
    keys = model.all_keys()
    assert len({key.path for key in keys}) == len(keys)
    for key in keys:
        assert model.get(Settings(), key.path) == key.default


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
    assert model.get(Settings(), path) == default


def test_putting_a_value_changes_one_setting_and_no_other_tree():
    before = Settings()
    after = model.put(before, "server.server_join.retry_max", 3)
    assert model.get(after, "server.server_join.retry_max") == 3
    assert before == Settings()
    assert model.put(after, "server.server_join.retry_max", 0) == before


def test_settings_cannot_be_changed_in_place():
    settings = Settings()
    with pytest.raises(AttributeError, match="immutable"):
        settings.region = "west"
