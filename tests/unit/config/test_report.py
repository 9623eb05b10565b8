"""What is printed about a configuration before the start."""

from __future__ import annotations

from bellcow.config.addresses import Machine
from bellcow.config.load import load
from bellcow.config.report import find_problems, report

MACHINE = Machine({"eth0": ("10.0.0.5",)}, lambda host: (host,))
SERVER = 'data_dir = "/d"\nserver {\n  enabled = true\n  bootstrap_expect = 0\n}\n'
STARTING = "==> Starting Nomad agent..."


def say(tmp_path, text, flags=None):
    path = tmp_path / "a.hcl"
    path.write_text(text)
    out = report(load([str(path)], flags), MACHINE)
    return out.ok, list(out.stdout), [line.replace(str(path), "F") for line in out.stderr]


def test_a_good_file_is_announced_without_further_lines(tmp_path):
    ok, stdout, stderr = say(tmp_path, SERVER)
    assert ok
    assert stdout == [f"==> Loaded configuration from {tmp_path}/a.hcl", STARTING]
    assert stderr == []


def test_no_files_are_announced_as_that():
    out = report(load([], dev=True), MACHINE)
    assert out.stdout == ("==> No configuration files loaded", STARTING)


def test_an_empty_file_is_reported_without_an_arrow(tmp_path):
    ok, stdout, stderr = say(tmp_path, "")
    assert not ok
    assert stdout == []
    assert stderr == [
        "No configuration loaded from F",
        "==> Must specify either server, client or dev mode for the agent.",
        (
            "    try: bellcow agent -dev; or write server { enabled = true } and data_dir "
            "into a file"
        ),
    ]


def test_all_problems_are_reported_with_their_places(tmp_path):
    text = SERVER + 'log_level = "LOUD"\nautopilot {\n  min_quorum = -1\n}\n'
    ok, _, stderr = say(tmp_path, text)
    assert not ok
    assert stderr == [
        "==> autopilot.min_quorum must not be negative, got -1",
        "    F:8: autopilot.min_quorum = -1",
        "==> Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERROR]",
        '    F:6: log_level = "LOUD"',
    ]


def test_a_value_from_a_flag_has_no_place_in_a_file(tmp_path):
    _, _, stderr = say(tmp_path, SERVER, {"log-level": "LOUD"})
    assert stderr == [
        "==> Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERROR]"
    ]


def test_a_flag_is_named_where_something_else_helps(tmp_path):
    alone = 'data_dir = "/d"\nserver {\n  enabled = true\n}\n'
    _, _, stderr = say(tmp_path, alone, {"bind": "127.0.0.1"})
    first, help_ = stderr
    assert first.startswith("==> Failed to parse HTTP advertise address")
    assert help_ == (
        '    -bind="127.0.0.1": set advertise { http, rpc and serf } in a file to addresses that '
        "others can reach; for this machine alone start with -dev"
    )


def test_a_file_that_cannot_be_read_does_not_make_others_look_missing(tmp_path):
    _, stdout, stderr = say(tmp_path, 'sever { enabled = true }\nlog_level = "LOUD"')
    assert stdout == []
    assert [line for line in stderr if line.startswith("==> ")] == [
        "==> Error loading configuration from F: Error loading F: unexpected keys sever",
        "==> Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERROR]",
    ]
    assert '    F:1:1: sever is not a setting; did you mean "server"?' in stderr


def test_a_value_that_could_not_be_read_is_reported_once(tmp_path):
    _, _, stderr = say(tmp_path, SERVER + 'ports {\n  http = "x"\n  rpc = 4646\n}\n')
    assert len([line for line in stderr if line.startswith("==> ")]) == 1


def test_warnings_behind_an_error_are_left_out(tmp_path):
    text = "server {\n  enabled = true\n  bootstrap_expect = 1\n}\n"
    _, _, stderr = say(tmp_path, text)
    assert stderr == [
        "==> Must specify data directory",
        "    data_dir is not set: it must be an absolute path",
    ]


def test_the_announcements_stop_at_the_step_that_fails(tmp_path):
    loaded = f"==> Loaded configuration from {tmp_path}/a.hcl"
    cases = {
        'log_level = "LOUD"': [],
        'telemetry { prefix_filter = ["x"] }': [loaded],
        "limits { http_max_conns_per_client = -1 }": [loaded, STARTING],
    }
    for text, announced in cases.items():
        assert say(tmp_path, SERVER + text)[1] == announced


def test_a_secret_is_not_printed(tmp_path):
    _, _, stderr = say(tmp_path, SERVER + 'server { encrypt = "c2VjcmV0" }')
    assert len(stderr) == 2
    assert "c2VjcmV0" not in "".join(stderr)


def test_control_characters_of_a_value_do_not_reach_the_terminal(tmp_path):
    _, _, stderr = say(tmp_path, SERVER + r'server { upgrade_version = "\u001b[31m" }')
    assert len(stderr) == 2
    assert "\x1b" not in "".join(stderr)


def test_problems_can_be_had_without_printing(tmp_path):
    path = tmp_path / "a.hcl"
    path.write_text("nope = 1")
    (problem,) = find_problems(load([str(path)]), MACHINE)
    assert problem.keys == ("nope",)
