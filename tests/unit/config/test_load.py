"""Files, directories and flags together."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellcow.config import model
from bellcow.config.keys import all_keys, get_value
from bellcow.config.load import load
from bellcow.config.server_block import DefaultScheduler
from bellcow.gocompat import hcl
from bellcow.gocompat.duration import Duration


@pytest.fixture
def write(tmp_path):
    """Write a file below the test's directory and give its path."""

    def do(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return do


def value(loaded, path):
    assert loaded.problems == ()
    return get_value(loaded.settings, path)


@pytest.mark.parametrize(
    ("first", "second", "path", "result"),
    [
        ("acl { enabled = true }", "acl { enabled = false }", "acl.enabled", False),
        ("acl { enabled = true }", "acl {}", "acl.enabled", True),
        ('region = "a"', 'region = ""', "region", ""),
        (
            "autopilot { max_trailing_logs = 5 }",
            "autopilot { max_trailing_logs = 0 }",
            "autopilot.max_trailing_logs",
            0,
        ),
        (
            "autopilot { cleanup_dead_servers = true }",
            "autopilot { cleanup_dead_servers = false }",
            "autopilot.cleanup_dead_servers",
            False,
        ),
        (
            'server { server_join { retry_join = ["a"] } }',
            'server { server_join { retry_join = ["b"] } }',
            "server.server_join.retry_join",
            ("b",),
        ),
        (
            'telemetry { prefix_filter = ["+a"] }',
            "telemetry { prefix_filter = [] }",
            "telemetry.prefix_filter",
            (),
        ),
        (
            'server { retry_join = ["a"] }',
            'server { retry_join = ["b"] }',
            "server.retry_join",
            ("a", "b"),
        ),
        (
            'server { enabled_schedulers = ["batch"] }',
            'server { enabled_schedulers = ["system"] }',
            "server.enabled_schedulers",
            ("batch", "system"),
        ),
        (
            "http_api_response_headers { A = 1 B = 1 }",
            "http_api_response_headers { B = 2 }",
            "http_api_response_headers",
            {"A": "1", "B": "2"},
        ),
        ("ports { http = 1 }", "ports { rpc = 2 }", "ports", model.Ports(http=1, rpc=2)),
    ],
)
def test_the_value_of_a_later_file_wins(write, first, second, path, result):
    loaded = load([write("a.hcl", first), write("b.hcl", second)])
    assert value(loaded, path) == result


def test_an_overridden_value_is_logged_with_both_places(write):
    first, second = write("a.hcl", "\nports { http = 1 }"), write("b.hcl", "ports { http = 2 }")
    loaded = load([first, second], {"region": "x"})
    assert loaded.changes == (f"ports.http: 1 ({first}:2) became 2 ({second}:1)",)
    assert loaded.origins["ports.http"] == f"{second}:1"
    assert loaded.origins["region"] == "-region"


def test_the_same_value_again_is_no_change(write):
    paths = [write("a.hcl", "ports { http = 1 }"), write("b.hcl", "ports { http = 1 }")]
    assert load(paths).changes == ()


def test_a_secret_that_changes_is_not_shown(write):
    paths = [write(name, f'server {{ encrypt = "{name}" }}') for name in ("s1.hcl", "s2.hcl")]
    (change,) = load(paths).changes
    assert change.count("(not shown)") == 2


def test_flags_win_over_files(write):
    path = write("a.hcl", 'region = "file"\nserver { bootstrap_expect = 3 }\nlog_json = true')
    loaded = load([path], {"region": "flag", "bootstrap-expect": "5", "log-json": False})
    assert value(loaded, "region") == "flag"
    assert value(loaded, "server.bootstrap_expect") == 5
    assert value(loaded, "log_json") is False


@pytest.mark.parametrize(
    ("flag", "given_value", "path", "result"),
    [
        ("retry-join", ["a", "b"], "server.server_join.retry_join", ("a", "b")),
        ("join", ("a",), "server.server_join.start_join", ("a",)),
        ("servers", "a, b,", "client.servers", ("a", "b")),
        ("meta", ["a=1,b=2", "c=3=4"], "client.meta", {"a": "1", "b": "2", "c": "3=4"}),
        ("retry-interval", "15s", "server.server_join.retry_interval", Duration.parse("15s")),
        ("server", True, "server.enabled", True),
        ("network-speed", 100, "client.network_speed", 100),
        ("data-dir", "/d", "data_dir", "/d"),
    ],
)
def test_a_flag_sets_its_setting(flag, given_value, path, result):
    assert value(load([], {flag: given_value}), path) == result


def test_flags_that_were_not_given_or_have_no_effect_change_nothing():
    loaded = load([], {"region": None, "consul-token": "x", "dev": True, "config": ["x"]})
    assert loaded.origins == {}
    assert loaded.problems == ()


@pytest.mark.parametrize(
    ("flag", "given_value", "message"),
    [
        (
            "retry-interval",
            "x",
            (
                "Error parsing -retry-interval: server.server_join.retry_interval "
                "can't parse time duration x"
            ),
        ),
        ("meta", ["a"], "Error parsing -meta: a: wants key=value"),
        (
            "bootstrap-expect",
            "x",
            'Error parsing -bootstrap-expect: strconv.ParseInt: parsing "x": invalid syntax',
        ),
    ],
)
def test_a_flag_with_a_bad_value_is_a_problem(flag, given_value, message):
    (problem,) = load([], {flag: given_value}).problems
    assert problem.message == message


def test_a_directory_is_read_file_by_file_in_order_of_names(write, tmp_path):
    for name in ("b.hcl", "a.json", "c.HCL", "d.txt", ".#e.hcl", "f.hcl~", "sub.hcl/x.hcl"):
        text = '{"region": "json"}' if name.endswith("json") else f'region = "{name}"'
        write(f"dir/{name}", text)
    loaded = load([str(tmp_path / "dir")])
    assert loaded.files == (str(tmp_path / "dir/a.json"), str(tmp_path / "dir/b.hcl"))
    assert value(loaded, "region") == "b.hcl"


def test_a_link_in_a_directory_counts_as_the_file_it_leads_to(write, tmp_path):
    write("kept/acl", "acl { enabled = true }")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "acl.hcl").symlink_to(tmp_path / "kept" / "acl")
    assert value(load([str(tmp_path / "d")]), "acl.enabled") is True


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("a link to nothing", "no such file or directory"),
        ("a link to a directory", "is a directory"),
        ("a pipe", "not a regular file"),
        ("a link to itself", "too many levels of symbolic links"),
    ],
)
def test_an_unreadable_file_in_a_directory_stops_the_start(write, tmp_path, kind, reason):
    folder, name = tmp_path / "d", tmp_path / "d" / "z.hcl"
    write("d/a.hcl", "server { enabled = true }")
    if kind == "a pipe":
        os.mkfifo(name)
    else:
        goals = {"a link to nothing": "/nowhere/acl.hcl", "a link to a directory": tmp_path}
        name.symlink_to(goals.get(kind, name))
    (problem,) = load([str(folder)]).problems
    assert problem.message == (
        f"Error loading configuration from {folder}: Error loading {name}: open {name}: {reason}"
    )


def test_files_of_a_directory_are_sorted_by_bytes(write, tmp_path):
    for name in ("b.hcl", "B.hcl", "10.hcl", "9.hcl", "é.hcl"):
        write(f"dir/{name}", "leave_on_terminate = true")
    names = [os.path.basename(name) for name in load([str(tmp_path / "dir")]).files]  # noqa: PTH119  plain strings
    assert names == ["10.hcl", "9.hcl", "B.hcl", "b.hcl", "é.hcl"]


def test_a_file_with_unknown_keys_of_the_client_alone_is_not_empty(write):
    path = write("a.hcl", "client { zzz = true }")
    loaded = load([path])
    assert (loaded.empty, loaded.problems) == ((), ())
    assert loaded.unknown == {"client.zzz": f"{path}:1"}


def test_an_empty_file_and_an_empty_directory_are_remembered(write, tmp_path):
    (tmp_path / "none").mkdir()
    paths = [write("a.hcl", "# nothing\n"), str(tmp_path / "none"), write("b.hcl", "log_json = 1")]
    loaded = load(paths)
    assert loaded.empty == tuple(paths[:2])
    assert loaded.files == (paths[2],)
    assert loaded.problems == ()


def test_problems_of_all_files_are_listed_together(write, tmp_path):
    bad = [
        write("a.hcl", "server {"),
        write("b.hcl", "bogus = 1\nports { http = [] }"),
        str(tmp_path / "missing"),
    ]
    messages = [problem.message for problem in load(bad).problems]
    start = "Error loading configuration from"
    assert messages == [
        (
            f"{start} {bad[0]}: Error loading {bad[0]}: "
            "At 1:10: object expected closing RBRACE got: EOF"
        ),
        (
            f"{start} {bad[1]}: Error loading {bad[1]}: "
            "At 2:16: ports.http: wants a whole number, got a list"
        ),
        f"{start} {bad[1]}: Error loading {bad[1]}: unexpected keys bogus",
        f"{start} {bad[2]}: stat {bad[2]}: no such file or directory",
    ]


def test_a_bad_file_of_a_directory_is_named_with_it(write, tmp_path):
    write("dir/a.hcl", "region = 1")
    bad = write("dir/b.hcl", "nope = 1")
    (problem,) = load([str(tmp_path / "dir")]).problems
    directory = tmp_path / "dir"
    assert problem.message == (
        f"Error loading configuration from {directory}: Error loading {bad}: unexpected keys nope"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"region = \xff", "illegal UTF-8 encoding at byte 9"),
        (b"#" * (hcl.MAX_BYTES + 5), "the text is larger than 1048576 bytes"),
        ("é".encode() * hcl.MAX_BYTES, "the text is larger than 1048576 bytes"),
        (b"a = " + b"[" * 5000, "nested deeper than 100 levels"),
    ],
)
def test_a_file_that_is_no_text_too_long_or_too_deep_is_named(tmp_path, content, words):
    path = tmp_path / "a.hcl"
    path.write_bytes(content)
    (problem,) = load([str(path)]).problems
    assert problem.message.startswith(f"Error loading configuration from {path}: Error loading")
    assert words in problem.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(write, tmp_path):
    path = write("a.hcl", "region = 1")
    (tmp_path / "a.hcl").chmod(0)
    (problem,) = load([path]).problems
    assert problem.message.endswith(f"open {path}: permission denied")


def test_a_path_below_a_file_is_named(write):
    path = write("a.hcl", "region = 1") + "/x"
    (problem,) = load([path]).problems
    assert (
        problem.message == f"Error loading configuration from {path}: stat {path}: not a directory"
    )


def test_an_empty_path_does_not_mean_the_working_directory():
    (problem,) = load([""]).problems
    assert problem.message == (
        "Error loading configuration from : stat : no such file or directory"
    )


def test_dev_has_its_own_defaults_and_files_and_flags_win_over_them(write):
    dev = load([], dev=True)
    assert value(dev, "server.enabled") is True
    assert value(dev, "bind_addr") == "127.0.0.1"
    assert value(dev, "log_level") == "DEBUG"
    assert value(dev, "enable_debug") is True
    assert value(dev, "telemetry.prometheus_metrics") is True
    assert value(dev, "data_dir") == ""
    assert value(dev, "client.enabled") is False
    assert dev.notes == ("-dev starts the server part alone: there is no node agent yet",)
    path = write("a.hcl", 'log_level = "WARN"')
    other = load([path], {"data-dir": "/kept", "bind": "10.0.0.1"}, dev=True)
    assert value(other, "log_level") == "WARN"
    assert value(other, "data_dir") == "/kept"
    assert value(other, "bind_addr") == "10.0.0.1"


def test_the_host_name_is_the_name_unless_one_is_given(write):
    assert value(load([]), "name")
    assert value(load([write("a.hcl", 'name = "n"')]), "name") == "n"


def test_only_the_license_is_read_from_the_environment(write):
    environment = {
        "NOMAD_LICENSE": "text",
        "BELLCOW_LICENSE_PATH": "/ours",
        "NOMAD_LICENSE_PATH": "/theirs",
        "NOMAD_REGION": "west",
        "NOMAD_ADDR": "x",
    }
    loaded = load([], environment=environment)
    assert value(loaded, "server.license_env") == "text"
    assert value(loaded, "server.license_path") == "/ours"
    assert value(loaded, "region") == "global"
    assert [note.partition(" is not ")[0] for note in loaded.notes] == [
        "the license in the environment variable NOMAD_LICENSE",
        "the license in the environment variable BELLCOW_LICENSE_PATH",
    ]
    path = write("a.hcl", 'server { license_path = "/file" }')
    assert value(load([path], environment=environment), "server.license_path") == "/file"


def test_a_partial_scheduler_block_keeps_the_defaults_with_a_note(write):
    block = 'server { default_scheduler_config { scheduler_algorithm = "spread" } }'
    loaded = load([write("a.hcl", block)])
    config = value(loaded, "server.default_scheduler_config")
    assert config == DefaultScheduler(scheduler_algorithm="spread")
    assert config.preemption_config.system_scheduler_enabled is True
    (note,) = loaded.notes
    assert "preemption_config.system_scheduler_enabled = true" in note
    assert "scheduler_algorithm" not in note


def test_old_join_settings_are_noted(write):
    loaded = load([write("a.hcl", 'server { retry_join = ["a"] }')])
    assert loaded.notes == (
        "using deprecated retry_join fields. Upgrade configuration to use server_join",
    )


scalars = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "number": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "duration": st.integers(-(2**62), 2**62).map(Duration),
    "list": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=3).map(
        tuple
    ),
    "map": st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        max_size=3,
    ),
}
KEYS = [key for key in all_keys() if key.kind in scalars]
written_settings = st.lists(
    st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), scalars[key.kind])),
    max_size=6,
    unique_by=lambda entry: entry[0].path,
)


def as_json(entries):
    tree = {}
    for key, entry_value in entries:
        *blocks, name = key.path.split(".")
        block = tree
        for outer in blocks:
            block = block.setdefault(outer, {})
        block[name] = str(entry_value) if isinstance(entry_value, Duration) else entry_value
    return msgspec.json.encode(tree).decode()


@settings(max_examples=40)
@given(written_settings)
def test_every_written_setting_is_loaded_with_its_value(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("written") / "a.json"
    path.write_text(as_json(entries), encoding="utf-8")
    loaded = load([str(path)])
    for key, entry_value in entries:
        assert value(loaded, key.path) == entry_value
    assert loaded.origins.keys() == {key.path for key, _ in entries}
