"""Every recorded command line that one server can answer, against a real agent.

What differs on purpose stands in `DIFFERENT` with the reason and a part of what is printed in its
place; what cannot be replayed stands in `LEFT_OUT`. Both are counted, so that neither grows
unseen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.cli_replay import Stage, differences, load
from tests.harness import Agent

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("acl", "acl-bootstrap-reset", "agent-info", "general", "operator", "server")
MANAGEMENT = "331fd3e5-7ec5-c6b0-290c-2414c75b9878"
READER = "2e7575e0-306a-1e30-d7b0-af36ebc0114b"
READ_RULES = 'operator {\n  policy = "read"\n}\n'

ONE_PROTOCOL = "there is one protocol, shown as 3, and IDs are UUIDs"
NO_HELP_PAGE = "a bad flag gets its reason once and a hint, never the whole help page"
NO_EXTRA_WORDS = "extra words are refused, also where the reference ignores them"
MORE_FLAGS = "later releases and we have more flags and commands"
OWN_VERSION = "the build carries our version as its metadata; tags are sorted"
NOT_OURS = "not offered"


@dataclass(frozen=True)
class Difference:
    """Why a case differs, and how it ends instead."""

    reason: str
    status: int
    says: str


def _peers(reason: str = ONE_PROTOCOL) -> Difference:
    return Difference(reason, 0, "leader  true   3\n")


def _misuse(text: str, reason: str = NO_HELP_PAGE) -> Difference:
    return Difference(reason, 1, f"{text}\nFor additional help try 'nomad operator ")


_NO_ARGUMENTS = _misuse("This command takes no arguments", NO_EXTRA_WORDS)
_NO_SUCH_COMMAND = Difference("it is said before help", 1, "There is no command 'bogus' in 'nomad ")
DIFFERENT = {
    ("acl", "acl token unknown subcommand"): _NO_SUCH_COMMAND,
    ("acl", "bootstrap extra arg"): Difference(
        "bootstrap takes a file with a secret", 1, "Failed to read file: open x: no such file"
    ),
    ("acl-bootstrap-reset", "agent-info with ACL"): Difference(ONE_PROTOCOL, 0, "raft\n"),
    ("agent-info", "unknown command"): Difference(
        "it is said before help", 127, "There is no command 'bogus' in 'nomad'\n"
    ),
    ("agent-info", "agent-info"): Difference(ONE_PROTOCOL, 0, "protocol_version = 3\n"),
    ("agent-info", "agent-info json"): Difference(
        "JSON is always sorted, whole numbers are whole", 0, '{\n    "config": {\n        "ACL": {'
    ),
    ("general", "flag after argument is taken as an argument"): Difference(
        "flags may stand anywhere before two dashes", 0, 'Successfully wrote "p" ACL policy!'
    ),
    ("general", "bool with separate word"): _NO_ARGUMENTS,
    ("general", "bool spellings"): _peers(),
    ("general", "unix address"): Difference(
        "sockets in the file system work, as in later releases", 1, "dial unix $WORK/none.sock: "
    ),
    ("general", "completion of a group"): Difference(
        MORE_FLAGS, 0, "list-peers\nlogs\nrecover\nremove-peer\n"
    ),
    ("general", "completion of flags"): Difference(MORE_FLAGS, 0, "-min-quorum\n"),
    ("general", "keyring hidden alias"): Difference(
        "help texts are our own", 0, "Usage: nomad keygen\n"
    ),
    ("operator", "list-peers"): _peers(),
    ("operator", "list-peers stale on follower"): _peers(),
    ("operator", "list-peers double dash"): _peers(),
    ("operator", "list-peers bad bool"): _misuse(
        'invalid boolean value "maybe" for -stale: parse error'
    ),
    ("operator", "list-peers unknown flag"): _misuse("flag provided but not defined: -bogus"),
    ("operator", "list-peers flag needs value"): _misuse("flag needs an argument: -address"),
    ("operator", "list-peers extra arg"): _NO_ARGUMENTS,
    ("operator", "list-peers json"): Difference(MORE_FLAGS, 0, '{\n    "Index": '),
    ("operator", "list-peers bad scheme"): _peers("an address without a scheme gets http://"),
    ("operator", "remove-peer none"): Difference(
        "the flags are named", 1, "for the peer to remove\nGive -peer-id, "
    ),
    ("operator", "autopilot get-config extra arg"): _NO_ARGUMENTS,
    ("operator", "autopilot set-config none"): _misuse(
        "Give at least one setting to change", "nothing to change is an error"
    ),
    ("operator", "autopilot set-config bare bool"): _misuse(
        "flag needs an argument: -cleanup-dead-servers"
    ),
    ("operator", "autopilot set-config bad bool"): _misuse(
        'invalid value "maybe" for flag -cleanup-dead-servers: '
        'strconv.ParseBool: parsing "maybe": invalid syntax'
    ),
    ("operator", "autopilot set-config bad duration"): _misuse(
        'invalid value "soon" for flag -last-contact-threshold: time: invalid duration "soon"'
    ),
    ("operator", "autopilot set-config negative uint"): _misuse(
        'invalid value "-1" for flag -max-trailing-logs: '
        'strconv.ParseUint: parsing "-1": invalid syntax'
    ),
    ("operator", "autopilot set-config documented but absent flag"): _misuse(
        "flag provided but not defined: -redundancy-zone-tag"
    ),
    ("operator", "snapshot save"): Difference(
        "size, index and term are printed", 0, "State file written to backup.snap\nIt holds index "
    ),
    ("operator", "snapshot save default name"): Difference(
        "size, index and term are printed", 0, ".snap\nIt holds index "
    ),
    ("operator", "snapshot save exists"): Difference(
        "it says what to do",
        1,
        'Destination file already exists: "backup.snap"\nChoose another name',
    ),
    ("operator", "snapshot save missing dir"): Difference(
        "the file is called as on the command line",
        1,
        "Failed to create file: open nodir/b.snap: no such file or directory\n",
    ),
    ("operator", "snapshot inspect"): Difference(
        "the form of later releases, with counts", 0, "\nType"
    ),
    ("operator", "snapshot inspect with flag"): Difference(MORE_FLAGS, 0, '"Meta": {'),
    ("operator", "snapshot restore junk"): Difference(
        "a file is checked before it is sent",
        1,
        "Error verifying snapshot: failed to decompress snapshot: unexpected EOF\nNothing was sent",
    ),
    ("operator", "snapshot restore truncated"): Difference(
        "a file is checked before it is sent",
        1,
        "failed to read or write snapshot data: unexpected EOF\nNothing was sent",
    ),
    ("operator", "snapshot restore"): Difference(
        "says which tokens work afterwards", 0, "Snapshot Restored\nThe tokens are now those "
    ),
    ("operator", "keygen extra arg ignored"): _NO_ARGUMENTS,
    ("operator", "keyring list unencrypted"): Difference(
        "one server in place of three", 1, "error: Unexpected response code: 500 (1/1 nodes "
    ),
    ("operator", "license get"): Difference("there always is a license", 0, "Product        = "),
    ("operator", "license put stdin"): Difference(
        "licenses are checked, not refused", 1, "Error putting license: Unexpected response code: 4"
    ),
    ("operator", "scheduler (absent in 1.0)"): Difference(MORE_FLAGS, 0, "Scheduler Algorithm "),
    ("server", "members"): Difference(OWN_VERSION, 0, "1.0.18+bellcow."),
    ("server", "members detailed"): Difference(OWN_VERSION, 0, "bellcow="),
    ("server", "join denied"): Difference(
        "joining needs agent:write", 1, "Error joining: Unexpected response code: 403"
    ),
    ("server", "force-leave unknown"): Difference(
        "an unknown name is an error",
        1,
        "Error force-leaving server nope: there is no such server; the known ones are node-1.",
    ),
}
LEFT_OUT = {
    ("general", "operator debug bad interval"): f"debug archives: {NOT_OURS}",
    ("general", "operator debug bad duration"): f"debug archives: {NOT_OURS}",
    ("operator", "snapshot agent"): "ours is a command, and runs until it is stopped",
    ("server", "join"): "needs a second server: test_cli_cluster_recordings.py",
}
# Lists in the order of identifiers that each run makes anew.
ANY_ORDER = {
    ("acl", "token list"),
    ("acl", "token list json"),
    ("acl", "token list template"),
    ("acl-bootstrap-reset", "both bootstrap tokens are listed"),
}


def test_no_more_cases_differ_or_are_left_out_than_are_known() -> None:
    assert (len(DIFFERENT), len(LEFT_OUT)) == (48, 4)
    known = {(case.file, case.name) for file in FILES for case in load(file)}
    assert len(known) == 183
    assert set(DIFFERENT) | set(LEFT_OUT) | ANY_ORDER <= known
    assert not set(DIFFERENT) & set(LEFT_OUT)


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An agent with ACLs on, and the files that the recorded commands name."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "op.hcl").write_text(READ_RULES)
    (folder / "bad.hcl").write_text('operator {\n  policy = "bogus"\n}\n')
    (folder / "syntax.hcl").write_text("operator {\n")
    (folder / "junk.snap").write_bytes(b"junk")
    settings: dict[str, Any] = {"acl": {"enabled": True}}
    if request.param == "acl-bootstrap-reset":
        settings["telemetry"] = {"prometheus_metrics": True}
    with Agent(tmp_path / "agent", settings, name="node-1") as agent:
        made = Stage(agent, folder)
        if not request.param.startswith("acl"):
            made.names[MANAGEMENT] = token = agent.bootstrap()
            rules = {"Name": "opread", "Description": "Operators may read", "Rules": READ_RULES}
            agent.put("/v1/acl/policy/opread", rules, token)
            body = {"Type": "client", "Policies": ["opread"]}
            made.names[READER] = agent.put("/v1/acl/token", body, token).json()["SecretID"]
        yield made


def _before(stage: Stage, name: str) -> None:
    """What had been done on the machine before a case was recorded."""
    if name == "snapshot inspect":
        data = (stage.folder / "backup.snap").read_bytes()
        (stage.folder / "short.snap").write_bytes(data[: len(data) // 2])
    reset = stage.agent.data_dir / "server/acl-bootstrap-reset"
    if name == "reset file with a wrong index":
        reset.write_text("99")
    if name == "reset file with the right index":
        text = stage.agent.put("/v1/acl/bootstrap").text
        found = re.search(r"reset index: (\d+)", text)
        assert found, text
        reset.write_text(found[1])


@pytest.mark.parametrize("stage", FILES, indirect=True, ids=FILES)
def test_each_recorded_command_line(stage: Stage, request: pytest.FixtureRequest) -> None:
    file = request.node.callspec.id
    wrong: list[str] = []
    for case in load(file):
        key = (case.file, case.name)
        if key in LEFT_OUT:
            continue
        _before(stage, case.name)
        actual = stage.play(case)
        known = DIFFERENT.get(key)
        if known:
            ended = known.status == actual.status and known.says in actual.out + actual.err
            if not ended or not differences(case, actual):
                wrong.append(f"{case.name}: known to differ ({known.reason}), is {actual}")
            continue
        found = differences(case, actual, any_order=key in ANY_ORDER)
        wrong += [f"{case.name}: {line}" for line in found]
    assert wrong == []
