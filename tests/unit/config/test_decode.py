"""Nodes become typed values, and what cannot become one is collected."""

from __future__ import annotations

import pytest

from bellcow.config.decode import decode
from bellcow.config.problem import Phase
from bellcow.gocompat import hcl
from bellcow.gocompat.duration import Duration


def read(text):
    found = decode(hcl.parse(text), "f.hcl")
    return {path: written.value for path, written in found.values.items()}, found.problems


def one_problem(text):
    values, (problem,) = read(text)
    return values, problem


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('region = "west"', "region", "west"),
        ("region = 7", "region", "7"),
        ("region = 1.10", "region", "1.10"),
        ("region = 0x10", "region", "0x10"),
        ("region = true", "region", "true"),
        ('{"region": false}', "region", "false"),
        ("client { meta { ssd = true } }", "client.meta", {"ssd": "true"}),
        ("client { options { a.b = 1.0 } }", "client.options", {"a.b": "1.0"}),
        ("license { issuers = [true, 7] }", "license.issuers", ("true", "7")),
        ("ports { http = 80 }", "ports.http", 80),
        ('ports { http = "80" }', "ports.http", 80),
        ('ports { http = "0x50" }', "ports.http", 80),
        ('ports { http = "0120" }', "ports.http", 80),
        ("acl { enabled = true }", "acl.enabled", True),
        ('acl { enabled = "True" }', "acl.enabled", True),
        ('acl { enabled = "0" }', "acl.enabled", False),
        ("acl { enabled = 1 }", "acl.enabled", True),
        ('acl { token_ttl = "1m" }', "acl.token_ttl", Duration.parse("1m")),
        ('acl { token_ttl = "" }', "acl.token_ttl", Duration.parse("30s")),
        ("server { max_heartbeats_per_second = 2 }", "server.max_heartbeats_per_second", 2.0),
        ('server { max_heartbeats_per_second = "2.5" }', "server.max_heartbeats_per_second", 2.5),
        ('license { issuers = ["a", "b"] }', "license.issuers", ("a", "b")),
        ("license { issuers = [] }", "license.issuers", ()),
        ("http_api_response_headers { A = 1 }", "http_api_response_headers", {"A": "1"}),
        ('http_api_response_headers = { "A" = "b" }', "http_api_response_headers", {"A": "b"}),
        ("SERVER { Enabled = true }", "server.enabled", True),
        ("server = { enabled = true }", "server.enabled", True),
        ('{"server": [{"enabled": true}]}', "server.enabled", True),
        ("server { num_schedulers = 0 }", "server.num_schedulers", 0),
        (
            "server { server_join { retry_max = 3 } }",
            "server.server_join.retry_max",
            3,
        ),
    ],
)
def test_a_value_is_accepted_in_every_form(text, path, value):
    values, problems = read(text)
    assert problems == []
    assert values == {path: value}
    assert type(values[path]) is type(value)


def test_blocks_without_effect_may_hold_anything():
    values, problems = read(
        'plugin "raw_exec" { config { x = [1] } }\nclient { reserved { a = 1 } }'
    )
    assert problems == []
    assert set(values) == {"plugin", "client.reserved"}


def test_unknown_keys_of_the_client_block_are_collected_apart():
    found = decode(hcl.parse("client {\n a = 1\n server_join {\n  b = [true]\n }\n}"), "f.hcl")
    assert found.problems == []
    assert found.unknown == {"client.a": "f.hcl:2", "client.server_join.b": "f.hcl:4"}


def test_the_same_block_twice_counts_field_by_field():
    values, problems = read('server { enabled = true }\nserver { encrypt = "x" enabled = false }')
    assert problems == []
    assert values == {"server.enabled": False, "server.encrypt": "x"}


def test_entries_of_a_map_written_twice_are_joined():
    values, _ = read("http_api_response_headers { A = 1 }\nhttp_api_response_headers { B = 2 }")
    assert values["http_api_response_headers"] == {"A": "1", "B": "2"}


def test_each_value_knows_its_line():
    found = decode(hcl.parse("acl {\n  enabled = true\n}"), "x.hcl")
    assert found.values["acl.enabled"].place == "x.hcl:2"


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (
            'ports { http = "abc" }',
            'strconv.ParseInt: parsing "abc": invalid syntax',
            'f.hcl:1:16: ports.http = "abc": must be a whole number',
        ),
        (
            'ports { http = "99999999999999999999" }',
            'strconv.ParseInt: parsing "99999999999999999999": value out of range',
            'f.hcl:1:16: ports.http = "99999999999999999999": must be a whole number',
        ),
        (
            'ports { http = "089" }',
            'strconv.ParseInt: parsing "089": invalid syntax',
            'f.hcl:1:16: ports.http = "089": must be a whole number',
        ),
        (
            'acl { enabled = "maybe" }',
            'decodeBool: Unknown value for boolean: "maybe"',
            'f.hcl:1:17: acl.enabled = "maybe": must be true or false',
        ),
        (
            "acl { enabled = 2 }",
            "decodeBool: Unknown value for boolean: 2",
            "f.hcl:1:17: acl.enabled = 2: must be true or false",
        ),
        (
            "region = []",
            "At 1:10: region: wants a string, got a list",
            "f.hcl:1:10: region = []: must be a string",
        ),
        (
            "ports { http = 1.5 }",
            "At 1:16: ports.http: wants a whole number, got a single value",
            "f.hcl:1:16: ports.http = 1.5: must be a whole number",
        ),
        (
            'license { issuers = "a" }',
            "At 1:21: license.issuers: wants a list of strings, got a single value",
            "f.hcl:1:21: license.issuers = (not shown): must be a list of strings",
        ),
        (
            "license { issuers = [[]] }",
            "At 1:22: license.issuers: wants a string, got a list",
            "f.hcl:1:21: license.issuers = (not shown): must be a string",
        ),
        (
            'server { max_heartbeats_per_second = "fast" }',
            'strconv.ParseFloat: parsing "fast": invalid syntax',
            'f.hcl:1:38: server.max_heartbeats_per_second = "fast": must be a number',
        ),
        (
            "server = 1",
            "At 1:10: server must be a block, not a single value",
            "f.hcl:1:10: server must be a block, not a single value",
        ),
        (
            'server "x" {}',
            "At 1:1: server takes 0 labels, got 1",
            "f.hcl:1:1: server takes 0 labels, got 1",
        ),
        (
            'region "x" {}',
            "At 1:1: region takes no labels",
            "f.hcl:1:1: region takes no labels",
        ),
        (
            "http_api_response_headers { A = [1] }",
            "At 1:33: http_api_response_headers.A: wants a string, got a list",
            "f.hcl:1:33: http_api_response_headers = [...]",
        ),
    ],
)
def test_a_wrong_type_is_refused_with_place_value_and_allowed_values(text, message, place):
    values, problem = one_problem(text)
    assert values in ({}, {"http_api_response_headers": {}})
    assert (problem.phase, problem.message, problem.places) == (Phase.LOAD, message, (place,))


@pytest.mark.parametrize(
    ("text", "phase", "message"),
    [
        (
            'server { server_join { retry_interval = "x" } }',
            Phase.LOAD,
            "server.server_join.retry_interval can't parse time duration x",
        ),
        ('client { gc_interval = "x" }', Phase.LOAD, "gc_interval can't parse time duration x"),
        (
            'server { failover_heartbeat_ttl = "x" }',
            Phase.LOAD,
            "server.failover_heartbeat_ttl can't parse time duration x",
        ),
        (
            'server { job_gc_interval = "x" }',
            Phase.AGENT,
            (
                "server config setup failed: failed to parse job_gc_interval: "
                'time: invalid duration "x"'
            ),
        ),
        (
            "server { eval_gc_threshold = 30 }",
            Phase.AGENT,
            'server config setup failed: time: missing unit in duration "30"',
        ),
        (
            'limits { https_handshake_timeout = "5" }',
            Phase.HTTP,
            'error parsing https_handshake_timeout: time: missing unit in duration "5"',
        ),
    ],
)
def test_a_bad_duration_is_refused_at_the_same_step_as_by_nomad(text, phase, message):
    _, problem = one_problem(text)
    assert (problem.phase, problem.message) == (phase, message)
    assert "such as 200ms" in problem.places[0]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (
            "regoin = 1",
            "unexpected keys regoin",
            'f.hcl:1:1: regoin is not a setting; did you mean "region"?',
        ),
        (
            'server_join { retry_join = ["a"] }',
            "unexpected keys server_join",
            "f.hcl:1:1: server_join is not a setting; server_join belongs in server { }",
        ),
        (
            "server { prefix_filter = [] }",
            "server unexpected keys prefix_filter",
            (
                "f.hcl:1:10: server.prefix_filter is not a setting; "
                "prefix_filter belongs in telemetry { }"
            ),
        ),
        (
            "acl { batch_scheduler_enabled = true }",
            "acl unexpected keys batch_scheduler_enabled",
            (
                "f.hcl:1:7: acl.batch_scheduler_enabled is not a setting; batch_scheduler_enabled "
                "belongs in server { default_scheduler_config { preemption_config { } } }"
            ),
        ),
        (
            "server { data_dirs = 1 }",
            "server unexpected keys data_dirs",
            'f.hcl:1:10: server.data_dirs is not a setting; did you mean "data_dir"?',
        ),
        (
            "ports { zzz = 1 }",
            "ports unexpected keys zzz",
            "f.hcl:1:9: ports.zzz is not a setting; ports has http, rpc, serf",
        ),
        (
            "server { default_scheduler_config { preemption_config { zzz = 1 } } }",
            "preemption_config.default_scheduler_config.server unexpected keys zzz",
            (
                "f.hcl:1:57: server.default_scheduler_config.preemption_config.zzz is not a "
                "setting; server.default_scheduler_config.preemption_config has "
                "system_scheduler_enabled, "
                "sysbatch_scheduler_enabled, batch_scheduler_enabled, service_scheduler_enabled"
            ),
        ),
        (
            "region = 1\nregion = 2",
            "unexpected keys region",
            "f.hcl:2:1: region is given twice, first on line 1; keep one",
        ),
        (
            "ports { http = 1 HTTP = 2 }",
            "ports unexpected keys HTTP",
            "f.hcl:1:18: ports.http is given twice, first on line 1; keep one",
        ),
    ],
)
def test_an_unexpected_key_is_refused_with_a_suggestion(text, message, place):
    _, problem = one_problem(text)
    assert (problem.message, problem.places) == (message, (place,))


def test_several_unexpected_keys_of_a_block_are_one_problem():
    _, problem = one_problem("acl {\n  a1 = 1\n  b2 = 2\n}")
    assert problem.message == "acl unexpected keys a1, b2"
    assert [place.split(": ")[0] for place in problem.places] == ["f.hcl:2:3", "f.hcl:3:3"]


def test_very_many_unexpected_keys_are_counted_and_not_all_listed():
    _, problem = one_problem("\n".join(f"k{number} = 1" for number in range(1000)))
    assert problem.message.endswith("k18, k19 and 980 more")
    assert len(problem.places) == 20


def test_all_problems_of_a_file_are_collected_and_the_rest_is_read():
    values, problems = read('ports { http = "x" rpc = 1 }\nacl { nope = 1 enabled = true }')
    assert values == {"ports.rpc": 1, "acl.enabled": True}
    assert len(problems) == 2


def test_a_secret_is_not_repeated_in_a_message():
    _, problem = one_problem("server { encrypt = [1] }")
    assert problem.places == ("f.hcl:1:20: server.encrypt = (not shown): must be a string",)
