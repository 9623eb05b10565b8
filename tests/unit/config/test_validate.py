"""Every check of the settings: what is refused, at which moment, in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.sim.certificates import Authority

from bellcow.config.addresses import Machine
from bellcow.config.keys import all_keys, put_value
from bellcow.config.model import Settings
from bellcow.config.problem import Phase
from bellcow.config.tls import http_context, peer_contexts, try_handshake
from bellcow.config.validate import LOG_LEVELS, TLS_CIPHERS, TLS_VERSIONS, validate
from bellcow.errors import Error
from bellcow.wire import Duration

MACHINE = Machine({"eth0": ("10.0.0.5",)}, lambda host: (host,))
ISSUER = "ed25519:UL8oSBztkwE1kw0pRbNDoYAUvSTQjLsYYj8T5jLSu5A"
KEY = "b29vb29vb29vb29vb29vbw=="
GOOD = {
    "data_dir": "/d",
    "server.enabled": True,
    "server.bootstrap_expect": 3,
    "server.encrypt": KEY,
}


def check(changes=None, *, dev=False, origins=None, base=GOOD):
    settings = Settings()
    for path, value in (base | (changes or {})).items():
        settings = put_value(settings, path, value)
    return validate(settings, origins=origins, dev=dev, machine=MACHINE)


def errors(*args, **more):
    return [
        (problem.phase, problem.message) for problem in check(*args, **more) if not problem.warning
    ]


def warnings(*args, **more):
    return [problem.message for problem in check(*args, **more) if problem.warning]


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
def test_a_setting_is_refused_before_anything_is_announced(changes, message):
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
def test_a_setting_at_the_edge_is_taken(changes):
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


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (1, ["WARNING: Bootstrap mode enabled! Potentially unsafe operation."]),
        (2, ["WARNING: Number of bootstrap servers should ideally be set to an odd number."]),
        (3, []),
        (0, []),
    ],
)
def test_the_number_of_expected_servers_may_be_worth_a_warning(expected, message):
    assert warnings({"server.bootstrap_expect": expected}) == message


def test_dev_is_not_warned_of_being_alone():
    assert check({"server.enabled": True, "server.bootstrap_expect": 1}, dev=True, base={}) == []


def test_expecting_servers_by_flag_needs_a_server():
    origins = {"server.bootstrap_expect": "-bootstrap-expect"}
    found = errors({"server.enabled": False, "client.enabled": True}, origins=origins)
    assert found[0] == (Phase.CHECK, "Bootstrap requires server mode to be enabled")
    origins = {"server.bootstrap_expect": "a.hcl:1"}
    found = errors({"server.enabled": False, "client.enabled": True}, origins=origins)
    assert "Bootstrap requires" not in str(found)


def test_dev_with_a_client_in_a_shared_file_starts():
    assert errors({"client.enabled": True}, dev=True) == []


def test_a_server_that_shall_be_a_client_too_is_started_with_one_warning():
    assert errors({"client.enabled": True}) == []
    assert warnings({"client.enabled": True}) == [
        "WARNING: client.enabled: bellcow has no client part yet; this agent is a server only"
    ]


def test_an_agent_without_a_role_is_told_how_to_begin():
    (problem,) = check({"server.enabled": False})
    assert problem.places[0].startswith("try: bellcow agent -dev; ")


def test_servers_that_nomad_would_find_in_consul_are_warned():
    origins = {"consul": "a.hcl:1"}
    alone = {"server.bootstrap_expect": 0}
    (warning,) = [text for text in warnings(alone, origins=origins) if "no effect" not in text]
    assert "this one founds a cluster of its own; name the others in" in warning
    (warning,) = [text for text in warnings(origins=origins) if "no effect" not in text]
    assert "this one waits for 3 servers that it cannot find" in warning
    for named in ({"server.retry_join": ("a",)}, {"server.bootstrap_expect": 1}):
        assert "looks up no servers" not in str(warnings(alone | named, origins=origins))


@pytest.mark.parametrize("key", ["retry_join", "start_join", "server_join.retry_join"])
def test_a_name_that_cannot_be_joined_is_refused_without_its_secrets(key):
    text = "provider=aws secret_access_key=hush tag_key=nomad"
    changes = {f"server.{key}": ("10.0.0.1", text)}
    (problem,) = check(changes, origins={f"server.{key}": "a.hcl:3"})
    assert problem.message == (
        f"server.{key} cannot be joined: asking a cloud for servers (provider=...) "
        "is not supported; name hosts or addresses"
    )
    assert problem.places == (f"a.hcl:3: element 2 of server.{key}",)


def test_unknown_keys_of_the_client_are_named_with_what_has_no_effect():
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
def test_what_has_no_effect_yet_is_named_as_well(path):
    (warning,) = warnings(origins={path: "a.hcl:1"})
    assert warning == f"WARNING: these settings have no effect: {path}"


@pytest.mark.parametrize("protocol", [1, 2])
def test_an_old_raft_protocol_is_a_warning(protocol):
    (message,) = warnings({"server.raft_protocol": protocol})
    assert message == f"WARNING: raft_protocol {protocol} is taken as 3, the only one there is"


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


def test_an_old_and_a_new_spelling_of_join_do_not_go_together():
    changes = {"server.server_join.retry_join": ("a",), "server.retry_max": 2}
    origins = dict.fromkeys([*changes, "server.retry_interval"], "a.hcl:1")
    assert errors(changes, origins=origins) == [
        (
            Phase.JOIN,
            f"server_join and {name} cannot both be defined; prefer setting the server_join stanza",
        )
        for name in ("retry_max", "retry_interval")
    ]


def test_a_kept_keyring_wins_over_the_key_with_a_warning(tmp_path):
    changes = {"server.encrypt": "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="}
    changes["data_dir"] = str(tmp_path)
    assert check(changes) == []
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "serf.keyring").write_text('["c29tZSBzaXh0ZWVuIGJ5dA=="]')
    assert warnings(changes) == ["WARNING: keyring exists but -encrypt given, using keyring"]
    assert errors(changes) == []
    changes["server.encrypt"] = ""
    assert check(changes) == []


def test_a_kept_keyring_with_the_key_that_is_given_is_no_news(tmp_path):
    key = "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "serf.keyring").write_text(f'["{key}"]')
    assert check({"server.encrypt": key, "data_dir": str(tmp_path)}) == []


def test_a_keyring_without_keys_stops_the_start(tmp_path):
    path = tmp_path / "server" / "serf.keyring"
    path.parent.mkdir()
    path.write_text("[]")
    message = f"failed to configure keyring: no keys present in keyring file: {path}"
    assert errors({"data_dir": str(tmp_path)}) == [(Phase.AGENT, message)]


def tls(tmp_path, *names, **more):
    """Settings with real files of these kinds, and none of the others."""
    authority = Authority(tmp_path, days=99)
    pair = authority.sign("cert", days=99)
    files = {"cert": pair.cert, "key": pair.key, "ca": authority.file}
    Path(pair.key).rename(tmp_path / "key.pem")
    files["key"] = str(tmp_path / "key.pem")
    Path(files["key"]).chmod(0o600)
    out = {f"tls.{name}_file": files[name] for name in names}
    return out | {f"tls.{name}": value for name, value in more.items()}


@pytest.mark.parametrize(
    ("names", "switches"),
    [
        (("cert", "key", "ca"), {"http": True, "verify_https_client": True}),
        (("cert", "key", "ca"), {}),
    ],
)
def test_tls_with_its_files_is_taken(tmp_path, names, switches):
    assert check(tls(tmp_path, *names, **switches)) == []


def test_tls_for_http_alone_needs_no_authority(tmp_path):
    changes = tls(tmp_path, "cert", "key", http=True)
    assert errors(changes) == []
    assert warnings(changes) == [
        "WARNING: Error when parsing TLS configuration: open : no such file or directory"
    ]


@pytest.mark.parametrize(
    ("names", "switches", "messages"),
    [
        (
            (),
            {"http": True},
            [
                "tls.http needs tls.cert_file, which is not set",
                "tls.http needs tls.key_file, which is not set",
            ],
        ),
        (
            ("cert", "key"),
            {"http": True, "verify_https_client": True},
            ["tls.http needs tls.ca_file, which is not set"],
        ),
        (("cert", "key"), {"rpc": True}, ["tls.rpc needs tls.ca_file, which is not set"]),
        (
            ("cert", "ca"),
            {"rpc": True, "key_file": "/nowhere/key.pem"},
            [
                "tls.rpc needs tls.key_file, which cannot be read: no such file or directory",
            ],
        ),
    ],
)
def test_tls_without_its_files_is_refused_and_warned_of(tmp_path, names, switches, messages):
    changes = tls(tmp_path, *names, **switches)
    assert errors(changes) == [(Phase.AGENT, message) for message in messages]
    (warning,) = warnings(changes)
    assert warning.startswith("WARNING: Error when parsing TLS configuration: open ")


@pytest.mark.parametrize(("mode", "refused"), [(0o604, True), (0o602, True), (0o640, False)])
def test_a_key_that_everybody_can_read_is_refused(tmp_path, mode, refused):
    changes = tls(tmp_path, "cert", "key", "ca", http=True)
    (tmp_path / "key.pem").chmod(mode)
    found = errors(changes)
    assert bool(found) is refused
    if refused:
        path = tmp_path / "key.pem"
        message = f"tls.key_file is open to everybody: {path} has mode {mode:04o}"
        assert found == [(Phase.AGENT, message)]
    assert errors(changes, dev=True) == []


def with_certificate(folder, *, name="", **signed):
    """Settings of a server with `tls.rpc` and a certificate signed as asked for."""
    authority = Authority(folder)
    pair = authority.sign(dns=name, **signed)
    Path(pair.key).chmod(0o600)
    files = {"ca_file": authority.file, "cert_file": pair.cert, "key_file": pair.key}
    return {"tls.rpc": True, **{f"tls.{key}": value for key, value in files.items()}}


NAME = "server.global.nomad"
MEND = "; make another: bellcow tls cert create -server -additional-ipaddress=10.0.0.5"


def test_a_certificate_that_the_others_take_is_taken(tmp_path):
    changes = with_certificate(tmp_path, name=NAME, ip="10.0.0.5", days=99)
    assert check(changes | {"tls.verify_server_hostname": True}) == []


def test_a_certificate_that_others_refuse_stops_the_start_of_several(tmp_path):
    changes = with_certificate(tmp_path, days=99) | {"tls.verify_server_hostname": True}
    cert = changes["tls.cert_file"]
    flaws = [
        f"{cert} does not name 10.0.0.5, which others are told{MEND}",
        f"{cert} does not name {NAME}, which verify_server_hostname asks for{MEND}",
    ]
    assert errors(changes) == [(Phase.AGENT, flaw) for flaw in flaws]
    for several in ({"server.engine": "etcd"}, {"server.retry_join": ("10.0.0.6",)}):
        assert len(errors(changes | {"server.bootstrap_expect": 0} | several)) == 2


def test_a_server_that_is_alone_is_only_warned(tmp_path):
    changes = with_certificate(tmp_path, days=99) | {"server.bootstrap_expect": 0}
    assert errors(changes) == []
    assert warnings(changes) == [
        f"WARNING: {changes['tls.cert_file']} does not name 10.0.0.5, which others are told{MEND}"
    ]


def test_a_certificate_of_another_authority_stops_every_start(tmp_path):
    changes = with_certificate(tmp_path, ip="10.0.0.5", days=99)
    other = Authority(tmp_path, "other").file
    found = errors(changes | {"tls.ca_file": other, "server.bootstrap_expect": 0})
    (message,) = [message for _, message in found]
    assert f"is signed by none of the authorities in {other}; make another: " in message


def test_a_certificate_at_its_end_is_warned_of(tmp_path):
    changes = with_certificate(tmp_path, ip="10.0.0.5", days=12.5)
    assert errors(changes) == []
    (warning,) = warnings(changes)
    assert "server.pem expires in 12 days, on 20" in warning
    assert check(changes | {"tls.rpc": False}) == []


def test_a_certificate_that_has_expired_is_only_warned_of_where_http_alone_uses_it(tmp_path):
    changes = with_certificate(tmp_path, ip="10.0.0.5", expired=True)
    assert "expired on 20" in str(errors(changes))
    http = changes | {"tls.rpc": False, "tls.http": True}
    assert errors(http) == []
    (warning,) = warnings(http)
    assert "server.pem expired on 20" in warning


def locked(path):
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


BAD_FILES = {
    "garbage for a certificate": ("cert", lambda _: b"garbage"),
    "the key of another one": ("key", lambda path: Path(Authority(path.parent).sign("x").key)),
    "a locked key": ("key", locked),
    "garbage for the authorities": ("ca", lambda _: b"garbage"),
    "no authorities": ("ca", lambda _: b""),
    "an indented first line": ("cert", lambda path: b"  " + path.read_bytes()),
    "indented authorities": ("ca", lambda path: path.read_bytes().replace(b"\n", b"\n  ")),
    "two glued together": ("cert", lambda path: path.read_bytes().rstrip() + path.read_bytes()),
}


@pytest.mark.parametrize("switches", [{"http": True, "verify_https_client": True}, {"rpc": True}])
@pytest.mark.parametrize(("kind", "make"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_is_refused_exactly_where_the_agent_cannot_use_it(tmp_path, kind, make, switches):
    changes = tls(tmp_path, "cert", "key", "ca", **switches) | {"server.bootstrap_expect": 0}
    assert errors(changes) == []
    path = Path(changes[f"tls.{kind}_file"])
    made = make(path)
    path.write_bytes(made.read_bytes() if isinstance(made, Path) else made)
    settings = Settings()
    for name, value in changes.items():
        settings = put_value(settings, name, value)
    try:
        http_context(settings.tls)
        usable = not settings.tls.rpc or not try_handshake(*peer_contexts(settings.tls))
    except Error:
        usable = False
    assert (errors(changes) == []) is usable


def test_an_authority_that_may_not_sign_is_refused_in_the_words_of_the_handshake(tmp_path):
    authority = Authority(tmp_path, days=99)
    forger = authority.sign("forger", days=99)
    leaf = authority.sign_as(forger, "leaf", ip="10.0.0.5", days=99)
    Path(leaf.key).chmod(0o600)
    with Path(leaf.cert).open("ab") as file:
        file.write(Path(forger.cert).read_bytes())
    files = {"tls.ca_file": authority.file, "tls.cert_file": leaf.cert, "tls.key_file": leaf.key}
    ((_, message),) = errors({"tls.rpc": True} | files)
    assert "refuse each other: invalid CA certificate" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"server.bootstrap_expect": 3},
        {"server.bootstrap_expect": 0, "server.retry_join": ("10.0.0.2",)},
    ],
)
def test_several_servers_without_a_key_are_refused_with_one_to_paste(changes):
    (problem,) = [each for each in check({"server.encrypt": ""} | changes) if not each.warning]
    assert problem.text.startswith("Error starting agent: this server ")
    (line,) = [each for each in problem.places if each.startswith('    encrypt = "')]
    key = line.split('"')[1]
    assert errors({"server.encrypt": key} | changes) == []
    (other,) = [each for each in check({"server.encrypt": ""} | changes) if not each.warning]
    assert other.places != problem.places
    assert errors({"server.encrypt": "", "server.open_peers": True} | changes) == []
