"""What the web page says about answers of the API, run by node where there is one."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellcow.api.routes import ui

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="there is no node to run the script of the page"
)

NOW = 1_764_547_230_000  # 2025-12-01T00:00:30Z in milliseconds
CALL = """
import * as page from './page-text.mjs';
const input = JSON.parse(process.argv[2]);
console.log(JSON.stringify(page[process.argv[1]](...input)));
"""
LIMITS = {"LastContactThreshold": "200ms", "MaxTrailingLogs": 250}
SILENT = {"SerfStatus": "failed", "LastContact": "-1ns", "Healthy": False, "LastIndex": 0}


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., Any]:
    """Call a function of the script by its name."""
    (tmp_path / "page-text.mjs").write_bytes(ui.files()["page-text.js"])

    def call(name: str, *values: Any) -> Any:
        words = [NODE, "--input-type=module", "-e", CALL, name, msgspec.json.encode(values)]
        done = subprocess.run(
            words, cwd=tmp_path, env={"TZ": "UTC"}, capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout)

    return call


def server(name: str, **more: Any) -> dict[str, Any]:
    first = {
        "ID": f"id-{name}",
        "Name": f"{name}.global",
        "Address": "10.0.0.1:4647",
        "SerfStatus": "alive",
        "Version": "1.0.18",
        "LastContact": "7.1ms",
        "LastTerm": 2,
        "LastIndex": 1_000_065,
        "Healthy": True,
        "Voter": True,
        "Leader": False,
        "StableSince": "2025-12-01T00:00:18Z",
    }
    return {**first, **more}


def removed(name: str, **more: Any) -> dict[str, Any]:
    first = {
        "ID": f"id-{name}",
        "Name": f"{name}.global",
        "Address": "10.0.0.2:4647",
        "By": "autopilot",
        "Missed": True,
        "Removed": "2025-12-01T00:00:20Z",
        "SilentSince": "2025-12-01T00:00:05Z",
        "Voter": True,
        "VotersBefore": 3,
    }
    return {**first, **more}


def health(*servers: dict[str, Any], tolerance: int = 0, **more: Any) -> dict[str, Any]:
    return {"Servers": list(servers), "FailureTolerance": tolerance, **more}


def test_cluster_that_lost_a_voter_is_not_green_after_its_removal(page):
    after = health(server("s1", Leader=True), server("s3"), Removed=[removed("s2")])
    assert page("ledState", after, NOW) == {
        "kind": "warn",
        "word": "! degraded",
        "sentence": "! Degraded: 2 of 3 voters, none may fail.",
        "advice": "s2.global stopped answering 00:00:05 and was removed 00:00:20. "
        "Start it, or a replacement.",
    }
    replaced = health(
        *(server(name) for name in ("s1", "s3", "s4")), Removed=[removed("s2", Missed=False)]
    )
    assert page("ledState", replaced, NOW)["kind"] == "good"


@pytest.mark.parametrize(
    ("voters", "silent", "sentence"),
    [
        (
            3,
            2,
            (
                "1 of 3 voters answers, 2 are needed: start s1.global (failed since 00:00:18) or "
                "s2.global (failed since 00:00:18)."
            ),
        ),
        (
            2,
            1,
            "1 of 2 voters answers, 2 are needed: start s1.global (failed since 00:00:18).",
        ),
        (3, 1, "2 of 3 voters answer, enough to elect one."),
    ],
)
def test_page_without_a_leader_names_the_servers_to_start(page, voters, silent, sentence):
    known = [server(f"s{n}", **(SILENT if n <= silent else {})) for n in range(1, voters + 1)]
    state = page("leaderlessState", health(*known), NOW)
    assert (state["kind"], state["word"]) == ("bad", "✗ no leader")
    assert state["sentence"] == f"✗ No leader. {sentence}"
    assert len(page("rows", health(*known), {}, [], NOW)) == voters


def test_dead_server_shows_no_unknown_figures(page):
    dead = server("s2", **SILENT, LastTerm=0)
    first, leader = page("rows", health(server("s1", Leader=True), dead), LIMITS, [], NOW)
    assert first["Health"]["text"] == "✗ unhealthy for 12 s"
    assert first["Last contact"]["text"] == "none for 12 s"
    assert first["Index"] == {"text": "unknown"}
    assert leader["Health"]["text"] == "✓ healthy for 12 s"


def test_every_departed_server_has_a_row_with_the_reason(page):
    gone = [
        removed("s4", By="itself", Missed=False),
        removed("s3", By="operator", Missed=False),
        removed("s2"),
    ]
    waits = {"Name": "s5.global", "Addr": "10.0.0.5", "Port": 4648, "Status": "alive", "Tags": {}}
    known = {**waits, "Name": "s2.global", "Status": "left", "Tags": {"id": "id-s2"}}
    shown = page(
        "rows", health(server("s1", Leader=True), Removed=gone), LIMITS, [waits, known], NOW
    )
    assert [row["Server"]["text"] for row in shown] == [
        "s2.global",
        "s1.global",
        "s3.global",
        "s4.global",
        "s5.global",
    ]
    assert [row["Health"]["text"] for row in shown if "by" in row["Health"]["text"]] == [
        "✗ removed by autopilot",
        "removed by an operator",
    ]
    assert shown[-2]["Health"]["text"] == "left"
    assert shown[-1]["Health"]["small"] == "not in the configuration"


def test_facts_name_the_leader_and_color_what_may_fail(page):
    three = [server("s1", Leader=True), server("s2"), server("s3")]
    found = page("facts", health(*three, tolerance=1))
    assert (found["leader"], found["tolerance"], found["toleranceKind"]) == (
        "s1.global",
        "1 of 3 voters",
        "good",
    )
    assert page("facts", health(*three))["toleranceKind"] == "warn"


def test_reader_is_named_and_the_field_is_hidden_without_acls(page):
    off = {"status": 400, "text": "ACL support disabled", "value": None}
    assert page("reader", off, False) is None
    token = {"Name": "backup", "Type": "client", "Policies": ["ops"], "AccessorID": "x"}
    known = {"status": 200, "text": "", "value": token}
    assert page("reader", known, True) == "backup (policies: ops)"


def test_one_name_of_several_live_servers_is_found(page):
    members = [{"Name": "s2.global", "Status": each} for each in ("alive", "alive", "left")]
    assert page("sharedNames", members) == "s2.global"
    assert page("sharedNames", members[1:]) == ""
