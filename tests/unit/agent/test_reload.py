"""SIGHUP: what changes at once, what needs a restart, and files that are bad."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.sim.clock import FixedClock
from tests.support.certificates import Authority

from bellcow.acl.tokens import BadTokens
from bellcow.agent.metrics import Metrics
from bellcow.agent.peer_tls import peer_security
from bellcow.agent.reload import LIVE, Reloader, changed, in_force
from bellcow.api.internal.gate import LIMITS
from bellcow.config.keys import all_keys
from bellcow.config.load import load
from bellcow.config.model import Settings
from bellcow.events import Level
from bellcow.server import Current

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


class Listening:
    """Records the last limits and context of a listener."""

    def reconfigure(self, limits, context) -> None:
        self.limits, self.context = limits, context


class Told:
    """Records events."""

    def __init__(self) -> None:
        self.level = Level.INFO
        self.events = []

    def report(self, event, /, **fields) -> None:
        self.events.append((event, fields))


class Parts:
    """What of a server a reload reaches."""

    def __init__(self, settings: Settings, bad_tokens: BadTokens) -> None:
        self.current = Current(settings)
        self.bad_tokens = bad_tokens

    @property
    def settings(self) -> Settings:
        return self.current.settings


class Reloading:
    """A configuration file, its reloader, the parts that take over, and the log."""

    def __init__(self, tmp_path, first: str = "") -> None:
        self.path = tmp_path / "agent.hcl"
        self._data = tmp_path / "data"
        self.write(first)
        clock = FixedClock()
        self.log = Told()
        loaded = load([str(self.path)])
        assert not loaded.problems
        self.metrics = Metrics(clock, host="", prometheus=True)
        self.metrics.gauge("nomad.one", lambda: 1.0)
        self.metrics.gauge("nomad.two", lambda: 2.0)
        self.server = Parts(loaded.settings, BadTokens(clock, 100))
        self.headers = {}
        self.listener = Listening()
        self.reloader = Reloader(
            [str(self.path)],
            {},
            loaded,
            log=self.log,
            metrics=self.metrics,
            server=self.server,
            pipeline=SimpleNamespace(add_headers=self._add_headers),
            security=peer_security(loaded.settings, [], None),
            context=None,
        )
        self.reloader.listens(self.listener)
        self.between = Listening()
        self.reloader.listens_between(self.between)

    def _add_headers(self, headers) -> None:
        self.headers = headers

    @property
    def settings(self) -> Settings:
        return self.server.settings

    def write(self, text: str) -> None:
        self.path.write_text(f'data_dir = "{self._data}"\nserver {{ enabled = true }}\n{text}\n')

    def reload(self) -> dict:
        """The events of one more reload, with their fields."""
        self.log.events.clear()
        self.reloader.reload()
        return dict(self.log.events)


@pytest.fixture
def reloading(tmp_path, capsys):
    del capsys  # what is printed is not looked at here
    return Reloading(tmp_path)


# What changes at once


def test_log_level_changes_at_once(reloading):
    reloading.write('log_level = "ERROR"')
    reloading.reload()
    assert reloading.log.level is Level.ERROR


def test_limits_reach_the_listener_and_the_count_of_bad_tokens(reloading):
    assert reloading.listener.limits.connections_per_client == 100
    reloading.write(
        'limits { http_max_conns_per_client = 7 https_handshake_timeout = "2s" '
        "http_max_bad_tokens = 3 }"
    )
    assert list(reloading.reload()) == ["reloaded"]
    limits = reloading.listener.limits
    assert (limits.connections_per_client, limits.handshake_s) == (7, 2.0)
    assert reloading.server.bad_tokens.limit == 3


def test_limits_of_servers_reach_the_port_between_them(reloading):
    assert reloading.between.limits.body_s == LIMITS.body_s
    reloading.write('limits { rpc_max_conns_per_client = 30 rpc_handshake_timeout = "2s" }')
    assert list(reloading.reload()) == ["reloaded"]
    limits = reloading.between.limits
    assert (limits.connections_per_client, limits.handshake_s) == (1200, 2.0)
    assert reloading.between.context is None


def test_headers_and_filters_of_metrics_are_replaced(reloading):
    reloading.write(
        'http_api_response_headers { X-House = "yes" }\n'
        'telemetry { prefix_filter = ["-nomad.one"] }'
    )
    assert list(reloading.reload()) == ["reloaded"]
    assert reloading.headers == {"X-House": "yes"}
    assert [row["Name"] for row in reloading.metrics.summary()["Gauges"]] == ["nomad.two"]
    reloading.write("telemetry { filter_default = false }")
    assert list(reloading.reload()) == ["reloaded"]
    assert reloading.headers == {}
    assert reloading.metrics.summary()["Gauges"] == []


def test_heartbeats_are_in_force_at_once(reloading):
    reloading.write('server { heartbeat_grace = "1m" }')
    assert list(reloading.reload()) == ["reloaded"]
    assert str(reloading.settings.server.heartbeat_grace) == "1m0s"


def test_reload_before_the_listener_reaches_the_listener(reloading):
    late = Listening()
    reloading.reloader._listener = None
    reloading.write("limits { http_max_conns_per_client = 7 }")
    reloading.reload()
    reloading.reloader.listens(late)
    assert late.limits.connections_per_client == 7


def test_every_live_setting_exists_and_is_on_the_page():
    paths = {key.path for key in all_keys()}
    assert set(LIVE) <= paths
    (section,) = re.findall(r"\n## Changes while it runs\n(.*?)\n## ", PAGE.read_text(), re.DOTALL)
    named = set(re.findall(r"`([a-z_.]+)`", section)) & paths
    assert named == set(LIVE)


# TLS


def files(pair, ca: str, *more: str) -> str:
    Path(pair.key).chmod(0o600)
    lines = (f'cert_file = "{pair.cert}"', f'key_file = "{pair.key}"', f'ca_file = "{ca}"', *more)
    return "tls {\n" + "\n".join(lines) + "\n}"


def test_tls_is_switched_on_and_off(reloading, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.sign()
    text = files(pair, authority.file, "http = true", "verify_https_client = true")
    reloading.write(text)
    assert list(reloading.reload()) == ["reloaded"]
    assert reloading.listener.context.verify_mode is ssl.CERT_REQUIRED
    reloading.write(files(pair, authority.file))
    assert list(reloading.reload()) == ["reloaded"]
    assert reloading.listener.context is None


def test_an_authority_that_left_the_file_is_no_longer_believed(reloading, tmp_path):
    first = Authority(tmp_path)
    other = first.authority("other")
    pair = first.sign()
    believed = []
    for authority in (first, other):
        reloading.write(files(pair, authority.file, "http = true"))
        assert list(reloading.reload()) == ["reloaded"]
        believed += [ca["subject"][0][0][1] for ca in reloading.listener.context.get_ca_certs()]
    assert believed == ["ca", "other"]


def test_a_bad_certificate_changes_nothing(reloading, tmp_path):
    authority = Authority(tmp_path)
    pair, other = authority.sign(), authority.sign("other")
    Path(other.key).chmod(0o600)
    text = files(pair, authority.file, "http = true").replace(pair.key, other.key)
    reloading.write(f'log_level = "ERROR"\n{text}')
    said = reloading.reload()
    assert list(said) == ["reload_failed"]
    assert "is not the key of the certificate" in said["reload_failed"]["reason"]
    assert reloading.log.level is Level.INFO
    assert reloading.listener.context is None
    assert not reloading.settings.tls.http


def test_authority_that_stays_trusted_between_servers_is_reported(tmp_path, capsys):
    del capsys
    first = Authority(tmp_path)
    other = first.authority("other")
    pair = first.sign()
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(Path(first.file).read_text() + Path(other.file).read_text())
    text = files(pair, str(bundle), "rpc = true")
    reloading = Reloading(tmp_path, text)
    assert list(reloading.reload()) == ["reloaded"]
    bundle.write_text(Path(first.file).read_text())
    told = reloading.reload()["restart_needed"]
    assert told["setting"] == "tls.ca_file"
    assert "servers still trust until then: 1" in told["reason"]


# What does not


def test_reload_is_reported_with_files_and_changes(reloading):
    files = str(reloading.path)
    assert reloading.reload() == {"reloaded": {"files": files, "changed": "no setting"}}
    reloading.write('log_level = "WARN"\nlimits { http_max_bad_tokens = 3 }')
    told = reloading.reload()["reloaded"]
    assert sorted(told["changed"].split(", ")) == ["limits.http_max_bad_tokens", "log_level"]


def test_setting_that_needs_a_restart_is_named(reloading):
    reloading.write('name = "other"')
    assert reloading.reload()["restart_needed"] == {"setting": "name"}
    assert reloading.settings.name != "other"


def test_setting_is_named_once(reloading):
    reloading.write('name = "other"')
    assert "restart_needed" in reloading.reload()
    assert "restart_needed" not in reloading.reload()


def test_setting_back_at_its_value_in_force_needs_no_restart(reloading):
    reloading.write('name = "other"')
    reloading.reload()
    reloading.write("")
    assert list(reloading.reload()) == ["reloaded"]


def test_setting_without_effect_needs_no_restart(reloading):
    reloading.write('client { node_class = "big" }')
    assert list(reloading.reload()) == ["reloaded"]


@pytest.mark.parametrize(
    ("text", "path", "command"),
    [
        ("autopilot { min_quorum = 3 }", "autopilot.min_quorum", "operator autopilot set-config"),
        (
            'server { default_scheduler_config { scheduler_algorithm = "spread" } }',
            "server.default_scheduler_config.scheduler_algorithm",
            "operator scheduler set-config",
        ),
    ],
)
def test_setting_for_new_clusters_only_is_reported_with_the_command(reloading, text, path, command):
    reloading.write(text)
    said = reloading.reload()
    assert list(said) == ["config_note", "reloaded"]
    assert said["config_note"]["note"].startswith(f"{path} counts when a cluster forms")
    assert f"`bellcow {command}`" in said["config_note"]["note"]


@pytest.mark.parametrize("text", ["log_level = ", 'log_level = "NOISY"', "no_such_key = 1"])
def test_bad_file_changes_nothing(reloading, text):
    reloading.write(f'name = "other"\n{text}')
    assert list(reloading.reload()) == ["reload_failed"]
    assert reloading.log.level is Level.INFO
    reloading.write("")
    assert list(reloading.reload()) == ["reloaded"]


def test_reason_of_a_refusal_is_not_a_warning(reloading):
    reloading.write('server { bootstrap_expect = 1 }\nlog_level = "NOISY"')
    assert reloading.reload()["reload_failed"]["reason"].startswith("Invalid log level: NOISY.")


def test_missing_file_changes_nothing(reloading):
    reloading.path.unlink()
    assert list(reloading.reload()) == ["reload_failed"]


def test_changed_settings_are_listed_by_path(tmp_path):
    path = tmp_path / "agent.hcl"
    path.write_text('name = "a"')
    old = load([str(path)]).settings
    without_effect = 'client { node_class = "c" }\ntelemetry { statsd_address = "s" }\n'
    path.write_text(f'{without_effect}name = "b"\nports {{ http = 5 }}')
    assert changed(old, load([str(path)]).settings) == ["name", "ports.http"]
    assert changed(old, old) == []


def test_in_force_applies_only_live_settings():
    fresh = Settings(log_level="WARN", name="other")
    assert in_force(Settings(), fresh) == Settings(log_level="WARN")
