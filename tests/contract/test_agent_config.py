"""What the agent says about its configuration, against the recorded runs of the real one.

A run in which the real agent starts is followed up to that point only: loading and checks pass.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bellcow.config.addresses import Machine
from bellcow.config.flags import FLAGS
from bellcow.config.load import load
from bellcow.config.report import report

RUNS = msgspec.json.decode(
    (Path(__file__).parent / "recordings" / "cli" / "agent-config.json").read_bytes()
)

# The recorded lines come first and whole; more lines follow, for the reason given.
_PLACE = "says file, line, key, value and what is allowed"
_TRY = "says what to type"
LONGER = {
    "no options": _TRY,
    "empty config dir": _TRY,
    "neither server nor client": _TRY,
    "json file": _TRY,
    "server without data dir": "what helps, and all problems, the missing data directory too",
    "unknown top key": _PLACE,
    "unknown server key": _PLACE,
    "unknown nested key": _PLACE,
    "syntax error": _PLACE,
    "wrong type int": _PLACE,
    "wrong type bool": _PLACE,
    "bad duration": _PLACE,
    "duration number": _PLACE,
    "bad heartbeat_grace": _PLACE,
    "bad autopilot duration": _PLACE,
    "bad log level": _PLACE,
    "bad encrypt base64": _PLACE,
    "bad encrypt length": _PLACE,
    "bad algorithm": _PLACE,
    "raft_multiplier too big": _PLACE,
    "raft_protocol 9": _PLACE,
    "event_buffer_size negative": _PLACE,
    "job_gc_interval zero": _PLACE,
    "rpc_max_conns_per_client low": _PLACE,
    "bad rpc_handshake_timeout": _PLACE,
    "negative https_handshake_timeout": _PLACE,
    "http_max_conns negative": _PLACE,
    "bad bind_addr template": _PLACE,
    "bind addr two ips": _PLACE,
    "bad telemetry filter": _PLACE,
    "start_join twice": _PLACE,
    "retry_join with start_join": _PLACE,
    "tls bad min version": "says which TLS files are missing, too",
    "bootstrap flag without server": "there is no client, which is told as well",
}
# The real agent starts, ours refuses: all that it says, without the places. (A warning that Nomad
# gives behind the point of the refusal is not seen.)
STRICTER = {
    "tls http without files": [
        "==> WARNING: Error when parsing TLS configuration: open : no such file or directory",
        "==> WARNING: Bootstrap mode enabled! Potentially unsafe operation.",
        "==> Error starting agent: tls.http needs tls.cert_file, which is not set",
        "==> Error starting agent: tls.http needs tls.key_file, which is not set",
    ],
    "bad upgrade_version": ['==> server.upgrade_version is not a version: "abc"'],
}
# The real agent starts without a word, ours with a warning of later releases.
WARNED = {
    "bootstrap_expect even": "==> WARNING: Number of bootstrap servers should ideally be set to "
    "an odd number.",
}
ELSEWHERE = {"unknown flag": "flags are read by the command line"}

BASE = """\
data_dir = "$WORK/dx"
bind_addr = "127.0.0.1"
ports {
  http = 22200
  rpc  = 22201
  serf = 22202
}
advertise {
  http = "127.0.0.1:22200"
  rpc  = "127.0.0.1:22201"
  serf = "127.0.0.1:22202"
}
server {
  enabled          = true
  bootstrap_expect = 1
}

"""
JSON_WITHOUT_ROLE = '{"data_dir": "$WORK/dx"}'
JSON_SERVER = """{
  "data_dir": "$WORK/dx", "bind_addr": "127.0.0.1",
  "ports": {"http": 22200, "rpc": 22201, "serf": 22202},
  "advertise": {"http": "127.0.0.1:22200", "rpc": "127.0.0.1", "serf": "127.0.0.1"},
  "server": {"enabled": true, "bootstrap_expect": 1, "default_scheduler_config": {
    "scheduler_algorithm": "spread", "preemption_config": {"batch_scheduler_enabled": true}}}
}"""
MACHINE = Machine({"eth0": ("10.0.0.5",)}, lambda host: (host,))


def prepare(run, work):
    """The files that the run was made with."""
    (work / "cfg" / "empty").mkdir(parents=True)
    added = run.get("note") or ""
    config = added.removeprefix("config: ") if added.startswith("config: ") else ""
    text = config if config.startswith("data_dir") else BASE + config + "\n"
    for name, content in (("a.hcl", text), ("a.json", JSON_WITHOUT_ROLE), ("j.json", JSON_SERVER)):
        (work / "cfg" / name).write_text(content.replace("$WORK", str(work)))


def words_of(run, work):
    """Paths, flags and -dev of a command line, read as simply as the recorded ones need."""
    paths, flags = [], {}
    kinds = {flag.name: flag.kind for flag in FLAGS}
    for word in run["argv"][2:]:
        name, _, value = word.removeprefix("-").partition("=")
        if name == "config":
            paths.append(value.replace("$WORK", str(work)))
        else:
            flags[name] = True if kinds[name] == "bool" else value
    return paths, flags


def printed(run, work):
    prepare(run, work)
    paths, flags = words_of(run, work)
    found = report(load(paths, flags), MACHINE)
    return [line.replace(str(work), "$WORK") for line in found.stdout], [
        line.replace(str(work), "$WORK") for line in found.stderr
    ]


def announced(run):
    """The recorded standard output without what comes behind the point that is compared."""
    lines = []
    for line in run["stdout"].splitlines():
        if not line.startswith(("==> Loaded", "==> No configuration", "==> Starting")):
            break
        lines.append(line)
    return lines


def cases(*tables, exit_code=None, without=()):
    return [
        pytest.param(run, id=run["name"])
        for run in RUNS
        if run["name"] not in {name for table in without for name in table}
        and (not tables or any(run["name"] in table for table in tables))
        and run["exit"] == exit_code
    ]


@pytest.mark.parametrize("run", cases(exit_code=1, without=(LONGER, ELSEWHERE)))
def test_a_refusal_is_the_recorded_one_to_the_letter(run, tmp_path):
    stdout, stderr = printed(run, tmp_path)
    assert stdout == announced(run)
    assert stderr == run["stderr"].splitlines()


@pytest.mark.parametrize("run", cases(LONGER, exit_code=1))
def test_a_refusal_begins_as_recorded_and_says_more(run, tmp_path):
    stdout, stderr = printed(run, tmp_path)
    recorded = run["stderr"].splitlines()
    assert stdout == announced(run)
    assert stderr[: len(recorded)] == recorded
    assert len(stderr) > len(recorded)
    if LONGER[run["name"]] is _PLACE:
        assert all(line.startswith("    $WORK/cfg/a.hcl:") for line in stderr[len(recorded) :])


@pytest.mark.parametrize("run", cases(without=(STRICTER, WARNED)))
def test_a_configuration_that_starts_is_accepted(run, tmp_path):
    stdout, stderr = printed(run, tmp_path)
    assert stdout == announced(run)
    assert stderr == run["stderr"].splitlines()


@pytest.mark.parametrize("run", cases(STRICTER))
def test_what_the_real_one_lets_pass_is_refused(run, tmp_path):
    _, stderr = printed(run, tmp_path)
    assert [line for line in stderr if line.startswith("==> ")] == STRICTER[run["name"]]


@pytest.mark.parametrize("run", cases(WARNED))
def test_what_later_releases_warn_of_is_warned_of(run, tmp_path):
    stdout, stderr = printed(run, tmp_path)
    assert stdout == announced(run)
    assert stderr == [*run["stderr"].splitlines(), WARNED[run["name"]]]


def test_every_recorded_run_is_in_one_of_the_tests():
    names = {run["name"] for run in RUNS}
    assert names >= LONGER.keys() | STRICTER.keys() | WARNED.keys() | ELSEWHERE.keys()
    assert {run["exit"] for run in RUNS} == {None, 1}
