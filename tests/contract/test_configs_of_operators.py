"""Files as operators have them, each with its verdict: does the agent start, what does it say?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bellcow.acl.policy import parse_rules
from bellcow.config.addresses import Machine
from bellcow.config.load import load
from bellcow.config.report import report

KEY = "jSF4ErO9rzUPknSRCFUirjUfnu5WCus8kh3cLafNR90="
FILES = Path(__file__).parent / "configs"
MACHINE = Machine(
    {
        "lo": ("127.0.0.1/8", "::1/128"),
        "eth0": ("10.10.0.5/16", "fd00::5/64"),
        "docker0": ("172.17.0.1/16",),
    },
    lambda host: (host,),
    "eth0",
)
_CLIENT = "client.enabled: bellcow has no client part yet; this agent is a server only"
# Whether it starts, and words of what is said, in this order.
VERDICTS = {
    "booleans_as_texts.json": (True, ()),
    "bracketed_six.hcl": (True, ()),
    "client_only.hcl": (False, ("client.enabled is not supported",)),
    "cloud_join.hcl": (False, ("asking a cloud for servers (provider=...) is not supported",)),
    "comment_without_end.hcl": (False, ("At 3:1: comment not terminated",)),
    "consul_finds_servers.hcl": (
        True,
        (
            "bellcow looks up no servers in Consul: this one forms a cluster",
            "these settings have no effect: consul, vault",
        ),
    ),
    "everything_logged.hcl": (
        True,
        (
            "telemetry.collection_interval, telemetry.datadog_address, telemetry.statsd_address",
            "tls.tls_prefer_server_cipher_suites",
        ),
    ),
    "heredoc_and_escapes.hcl": (True, ("no effect: server.heartbeat_grace",)),
    "homelab_both_roles.hcl": (True, (_CLIENT, "client.options, client.some_new_setting, plugin")),
    "interface_with_backquotes.hcl": (True, ()),
    "joined_in_one_text.json": (False, ("it holds several addresses",)),
    "misspelled_server_key.hcl": (False, ('did you mean "bootstrap_expect"?',)),
    "newer_release.hcl": (True, ("server.deploy_query_rate_limit", "server.plan_apply_pipeline")),
    "no_role.json": (False, ("Must specify either server", "try: bellcow agent -dev")),
    "old_join_spelling.hcl": (True, ()),
    "package_default.hcl": (True, (_CLIENT, "these settings have no effect: client.servers")),
    "placeholder_left.hcl": (False, ("is a placeholder left in it?",)),
    "trailing_commas.json": (True, ()),
    "unknown_facility.hcl": (False, ("invalid syslog facility: LOCAL9",)),
    "wrong_port.hcl": (False, ("ports.http is out of range: 464600",)),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_a_file_has_its_verdict_in_words(name):
    ok, words = VERDICTS[name]
    # Servers that need others do not start without a key; it is given as the refusal says.
    found = report(load([str(FILES / name)], {"encrypt": KEY}), MACHINE)
    said = "\n".join(found.stderr)
    assert found.ok is ok, said
    at = 0
    for text in words:
        at = said.find(text, at)
        assert at >= 0, said
    if not words:
        assert all("Bootstrap mode" in line for line in found.stderr), said


def test_no_secret_of_a_refused_file_is_printed():
    found = report(load([str(FILES / "cloud_join.hcl")]), MACHINE)
    assert "hush" not in "\n".join(found.stderr)


def test_every_file_has_a_verdict():
    assert {path.name for path in FILES.iterdir()} == VERDICTS.keys()


@pytest.mark.parametrize(
    "rules",
    [
        '{"namespace":{"default":{"capabilities":["list-jobs","read-job",]}}}',
        '{"operator": {"policy": "write",},}',
    ],
)
def test_a_policy_in_json_may_have_a_comma_too_many(rules):
    strict = rules.replace(",]", "]").replace(",}", "}")
    assert msgspec.structs.replace(parse_rules(rules), raw=strict) == parse_rules(strict)
