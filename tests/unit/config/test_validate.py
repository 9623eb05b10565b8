"""Every check of the settings: what is refused, at which moment, in which words."""

from __future__ import annotations

import pytest
from tests.support.settings_checks import check, errors, warnings

from bellcow.config.checks.agent import LOG_LEVELS
from bellcow.config.checks.tls import TLS_CIPHERS, TLS_VERSIONS
from bellcow.config.keys import all_keys, put_value
from bellcow.config.model import Settings
from bellcow.config.problem import Phase
from bellcow.config.validate import validate
from bellcow.gocompat.duration import Duration

ISSUER = "ed25519:UL8oSBztkwE1kw0pRbNDoYAUvSTQjLsYYj8T5jLSu5A"


def test_a_good_server_has_no_problem():
    assert check() == []


def test_dev_needs_nothing():
    assert check({"server.enabled": True}, dev=True, base={}) == []


_SETUP = "server config setup failed: "
_CHECK = [
    ({"server.enabled": False}, "Must specify either server, client or dev mode for the agent."),
    ({"data_dir": ""}, "Must specify data directory"),
    ({"data_dir": "rel"}, "data-dir must be given as an absolute path: got rel"),
    ({"plugin_dir": "p"}, "plugin-dir must be given as an absolute path: got p"),
    ({"client.alloc_dir": "a"}, "alloc-dir must be given as an absolute path: got a"),
    ({"client.state_dir": "s"}, "state-dir must be given as an absolute path: got s"),
    ({"server.data_dir": "s"}, "server data-dir must be given as an absolute path: got s"),
    ({"region": "a\0b"}, "Region contains invalid characters"),
    ({"datacenter": "a\0b"}, "Datacenter contains invalid characters"),
    ({"region": ""}, "region must not be empty"),
    ({"server.encrypt": "!!!"}, "Invalid encryption key: illegal base64 data at input byte 0"),
    (
        {"server.default_scheduler_config.scheduler_algorithm": "random"},
        "invalid scheduler algorithm: random",
    ),
    (
        {"server.enabled_schedulers": ("batch", "cron")},
        'server.enabled_schedulers has no kind "cron"',
    ),
    (
        {"log_level": "LOUD"},
        "Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERROR]",
    ),
    (
        {"log_level": "WARNING"},
        "Invalid log level: WARNING. Valid log levels are: [TRACE DEBUG INFO WARN ERROR]",
    ),
    (
        {"enable_syslog": True, "syslog_facility": "LOCAL9"},
        "Syslog setup failed: invalid syslog facility: LOCAL9",
    ),
    (
        {"http_api_response_headers": {"X House": "1"}},
        'http_api_response_headers has a name that no header can have: "X House"',
    ),
    (
        {"http_api_response_headers": {"X-House": "1\r\nX-Other: 2"}},
        (
            "http_api_response_headers has a value for X-House that no header can have: "
            '"1\\r\\nX-Other: 2"'
        ),
    ),
    (
        {"http_api_response_headers": {"X-Price": "1 \u20ac"}},
        'http_api_response_headers has a value for X-Price that no header can have: "1 \u20ac"',
    ),
    (
        {"license.issuers": (ISSUER, "ed25519:short")},
        (
            "license.issuers: 'ed25519:short' is not a license issuer: "
            "it looks like ed25519:KEY, as `bellcow license keygen` prints it"
        ),
    ),
    ({"server.upgrade_version": "abc"}, 'server.upgrade_version is not a version: "abc"'),
    ({"server.upgrade_version": "1.2"}, 'server.upgrade_version is not a version: "1.2"'),
    ({"server.upgrade_version": "1.02.3"}, 'server.upgrade_version is not a version: "1.02.3"'),
    ({"server.engine": "raft"}, 'server.engine is unknown: "raft"'),
    (
        {"server.engine": "embedded"},
        "server.engine embedded is one server, bootstrap_expect 3",
    ),
    ({"server.bootstrap_expect": -1}, "server.bootstrap_expect must not be negative, got -1"),
    ({"server.num_schedulers": -1}, "server.num_schedulers must not be negative, got -1"),
    (
        {"autopilot.max_trailing_logs": -1},
        "autopilot.max_trailing_logs must not be negative, got -1",
    ),
    ({"autopilot.min_quorum": -2}, "autopilot.min_quorum must not be negative, got -2"),
    (
        {"autopilot.server_stabilization_time": Duration.parse("-1s")},
        "autopilot.server_stabilization_time must not be negative, got -1s",
    ),
    (
        {"autopilot.last_contact_threshold": Duration(0)},
        "autopilot.last_contact_threshold must be longer than zero, got 0s",
    ),
    ({"acl.token_ttl": Duration(-1)}, "acl.token_ttl must not be negative, got -1ns"),
    ({"limits.http_max_bad_tokens": -1}, "limits.http_max_bad_tokens must not be negative, got -1"),
    (
        {"server.max_heartbeats_per_second": 0.0},
        "server.max_heartbeats_per_second must be above zero, got 0.0",
    ),
    ({"ports.rpc": 4646}, "ports.http and ports.rpc are both 4646"),
    ({"ports.http": 4648}, "ports.http and ports.serf are both 4648"),
    ({"ports.serf": 4647}, "ports.rpc and ports.serf are both 4647"),
    ({"ports.http": 65536}, "ports.http is out of range: 65536"),
    ({"ports.http": -1}, "ports.http is out of range: -1"),
    (
        {"client.enabled": True, "server.enabled": False},
        "client.enabled is not supported: bellcow runs servers, and has no node agent yet",
    ),
    (
        {"bind_addr": "127.0.0.1"},
        (
            "Failed to parse HTTP advertise address (, 127.0.0.1, 4646, false): Defaulting "
            "advertise to localhost is unsafe, please set advertise manually"
        ),
    ),
]
_LATER = [
    (
        {"server.encrypt": "YWJj"},
        Phase.AGENT,
        "failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes",
    ),
    (
        {"server.raft_multiplier": 11},
        Phase.AGENT,
        f"{_SETUP}raft_multiplier cannot be 11. Must be between 1 and 10",
    ),
    (
        {"server.raft_multiplier": 0},
        Phase.AGENT,
        f"{_SETUP}raft_multiplier cannot be 0. Must be between 1 and 10",
    ),
    (
        {"server.raft_protocol": 9},
        Phase.AGENT,
        "server setup failed: Failed to start Raft: Protocol version 9 must be >= 1 and <= 3",
    ),
    (
        {"server.event_buffer_size": -1},
        Phase.AGENT,
        f"{_SETUP}Invalid Config, event_buffer_size must be non-negative",
    ),
    (
        {"server.job_gc_interval": Duration(0)},
        Phase.AGENT,
        f"{_SETUP}job_gc_interval should be greater than 0s",
    ),
    (
        {"limits.rpc_handshake_timeout": Duration(-1)},
        Phase.AGENT,
        f"{_SETUP}rpc_handshake_timeout must be >= 0",
    ),
    (
        {"limits.rpc_max_conns_per_client": 25},
        Phase.AGENT,
        f"{_SETUP}rpc_max_conns_per_client must be > 25; found: 25",
    ),
    (
        {"tls.tls_min_version": "tls9"},
        Phase.AGENT,
        'server setup failed: unsupported TLS version "tls9"',
    ),
    (
        {"tls.tls_cipher_suites": "TLS_RSA_WITH_AES_128_CBC_SHA, X"},
        Phase.AGENT,
        'server setup failed: unsupported TLS cipher "X"',
    ),
    (
        {"limits.https_handshake_timeout": Duration(-1)},
        Phase.HTTP,
        "https_handshake_timeout must be >= 0",
    ),
    (
        {"limits.http_max_conns_per_client": -1},
        Phase.HTTP,
        "http_max_conns_per_client must be >= 0",
    ),
    (
        {"telemetry.prefix_filter": ("+a", "nomad.raft")},
        Phase.TELEMETRY,
        "Filter rule must begin with either '+' or '-': \"nomad.raft\"",
    ),
    (
        {"telemetry.prefix_filter": ("",)},
        Phase.TELEMETRY,
        "Cannot have empty filter rule in prefix_filter",
    ),
    (
        {"server.server_join.retry_join": ("a",), "server.server_join.start_join": ("b",)},
        Phase.JOIN,
        "retry_join and start_join cannot both be defined",
    ),
    (
        {"server.retry_join": ("a",), "server.start_join": ("b",)},
        Phase.JOIN,
        "retry_join and start_join cannot both be defined",
    ),
    (
        {"client.server_join.start_join": ("a",)},
        Phase.JOIN,
        "start_join is not supported for Nomad clients",
    ),
]


@pytest.mark.parametrize(("changes", "message"), _CHECK)
def test_a_wrong_setting_is_refused_before_the_start_is_announced(changes, message):
    assert errors(changes) == [(Phase.CHECK, message)]


@pytest.mark.parametrize(("changes", "phase", "message"), _LATER)
def test_a_setting_is_refused_at_the_step_at_which_nomad_does(changes, phase, message):
    assert errors(changes) == [(phase, message)]


@pytest.mark.parametrize(
    "changes",
    [
        {"log_level": "warn"},
        {"server.upgrade_version": "1.2.3"},
        {"server.upgrade_version": "v1.2.3-rc.1+build.5"},
        {"server.engine": "etcd"},
        {"server.engine": "embedded", "server.bootstrap_expect": 0},
        {"server.num_schedulers": 0},
        {"server.raft_multiplier": 10},
        {"server.event_buffer_size": 0},
        {"limits.rpc_max_conns_per_client": 0},
        {"limits.rpc_max_conns_per_client": 26},
        {"limits.http_max_conns_per_client": 0},
        {"limits.http_max_bad_tokens": 0},
        {"limits.https_handshake_timeout": Duration(0)},
        {"server.encrypt": "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="},
        {"tls.tls_cipher_suites": ",".join(sorted(TLS_CIPHERS))},
        {"telemetry.prefix_filter": ("+a", "-b")},
        {"ports.http": 0, "ports.rpc": 0, "ports.serf": 0},
        {
            "ports.rpc": 4646,
            "addresses.http": "10.0.0.5",
            "addresses.rpc": "10.0.0.6",
            "addresses.serf": "10.0.0.6",
        },
        {"server.enabled_schedulers": ()},
        {"license.issuers": (ISSUER,)},
        {"http_api_response_headers": {"X-A": "", "X-B": "caf\u00e9, \t tabbed"}},
        *({"tls.tls_min_version": version} for version in TLS_VERSIONS),
        *({"log_level": level} for level in LOG_LEVELS),
    ],
)
def test_a_setting_at_the_limit_is_accepted(changes):
    assert check(changes) == []


def test_problems_come_in_the_order_of_the_start_and_all_at_once():
    found = errors(
        {
            "limits.http_max_conns_per_client": -1,
            "server.raft_multiplier": 0,
            "telemetry.prefix_filter": ("x",),
            "log_level": "LOUD",
            "data_dir": "rel",
        }
    )
    assert [phase for phase, _ in found] == [
        Phase.CHECK,
        Phase.CHECK,
        Phase.TELEMETRY,
        Phase.AGENT,
        Phase.HTTP,
    ]


def test_every_problem_names_settings_that_exist():
    paths = {key.path for key in all_keys()}
    cases = [changes for changes, _ in _CHECK] + [changes for changes, _, _ in _LATER]
    for changes in cases:
        for problem in check(changes):
            assert problem.keys
            assert set(problem.keys) <= paths


def test_unknown_keys_of_the_client_are_listed_among_those_without_effect():
    found = validate(put_value(Settings(), "client.enabled", True), unknown=("client.zzz",))
    assert "WARNING: these settings have no effect: client.zzz" in [p.message for p in found]


@pytest.mark.parametrize(
    "path",
    [
        "telemetry.statsd_address",
        "telemetry.datadog_address",
        "tls.tls_prefer_server_cipher_suites",
        "server.heartbeat_grace",
    ],
)
def test_keys_without_effect_yet_are_listed_too(path):
    (warning,) = warnings(origins={path: "a.hcl:1"})
    assert warning == f"WARNING: these settings have no effect: {path}"


def test_settings_without_effect_are_one_warning():
    origins = {
        "vault": "a.hcl:1",
        "client.node_class": "a.hcl:2",
        "client.enabled": "a.hcl:3",
        "region": "a.hcl:4",
        "client.meta": "-meta",
    }
    assert warnings(origins=origins) == [
        "WARNING: these settings have no effect: client.node_class, vault"
    ]
