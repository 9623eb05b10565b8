from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_tree import leaves

from bellcow import __version__
from bellcow.cli.group import LazyGroup
from bellcow.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = "Usage: nomad [-version] [-help] [-autocomplete-(un)install] <command> [args]\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((), 127),
        (("",), 127),
        (("bogus",), 127),
        (("bogus", "-h"), 127),
        (("-h",), 0),
        (("-help",), 0),
    ],
)
def test_without_a_known_command_the_top_help_is_shown(
    cli: Callable[..., Any], words: tuple[str, ...], status: int
) -> None:
    result = cli(*words)
    told = "There is no command 'bogus' in 'nomad'\n" if words == ("bogus",) else ""
    assert (result.status, result.err) == (status, told)
    assert result.out.startswith(USAGE)
    assert "\nCommon commands:\n" in result.out
    assert "\n    operator    " in result.out


@pytest.mark.parametrize("path", list(leaves()))
@pytest.mark.parametrize("word", ["-h", "-help", "--help"])
def test_each_command_has_help(cli: Callable[..., Any], path: tuple[str, ...], word: str) -> None:
    result = cli(*path, word)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"Usage: nomad {' '.join(path)}")
    assert len(result.out.splitlines()) > 2


@pytest.mark.parametrize("path", list(leaves()))
def test_each_command_refuses_a_flag_it_does_not_know(
    cli: Callable[..., Any], path: tuple[str, ...]
) -> None:
    result = cli(*path, "-no-such-flag")
    name = " ".join(path)
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "flag provided but not defined: -no-such-flag\n"
        f"For additional help try 'nomad {name} -help'\n"
    )


@pytest.mark.parametrize("words", [("version",), ("-version",), ("--version",), ("-v",)])
def test_the_version_names_the_program_it_was_called_as(
    cli: Callable[..., Any], words: tuple[str, ...]
) -> None:
    assert cli(*words).out == "Nomad v1.0.18\n"
    ours = cli(*words, program="/usr/bin/bellcow")
    assert ours.out == f"bellcow v{__version__} (Nomad API v1.0.18)\n"


def test_a_flag_before_the_command_is_refused_with_where_it_goes(cli: Callable[..., Any]) -> None:
    result = cli("-stale", "operator", "raft", "list-peers")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Flags go after the command: -stale stands before it\n")
    inner = cli("operator", "-stale", "raft")
    assert inner.err.startswith("Flags go after the command: -stale stands before it\n")


def test_color_flags_may_stand_before_the_command(cli: Callable[..., Any]) -> None:
    assert cli("-no-color", "version").out == "Nomad v1.0.18\n"


def test_a_help_flag_before_the_command_is_for_the_command(cli: Callable[..., Any]) -> None:
    assert cli("-h", "operator", "raft").out.startswith("Usage: nomad operator raft <sub")


def test_an_interrupt_ends_with_130(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LazyGroup, "invoke", interrupted)
    assert cli("version").status == 130


def test_a_closed_pipe_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"{sys.executable} -m bellcow.cli.main version; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"(sleep 0.3; {command}) | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "141\n"


def test_the_program_starts_without_what_only_servers_need() -> None:
    heavy = ("numpy", "asyncio", "ssl", "uvicorn", "structlog", "cryptography", "rich")
    code = (
        "import sys, bellcow.cli.main\n"
        f"print([name for name in {(*heavy, 'msgspec', 'urllib3')!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_console_entry_is_the_one_that_is_declared() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert 'bellcow = "bellcow.cli.main:run"' in text
    assert callable(run)


def test_words_with_a_hyphen_stay_whole_in_help(cli: Callable[..., Any]) -> None:
    out = cli("operator", "snapshot", "save", "-help").out
    assert " snapshot-save.\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_hint_follows_the_refusal_unless_the_program_is_called_nomad(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/operator/autopilot/configuration", b"Permission denied", 403)
    words = ("operator", "autopilot", "get-config")
    refusal = (
        "Error querying Autopilot configuration: Unexpected response code: 403 (Permission denied)"
    )
    assert cli(*words, program="nomad").err == f"{refusal}\n"
    told = cli(*words, program="bellcow").err.splitlines()
    assert told[0] == refusal
    assert told[1] == "No token was sent: set BELLCOW_TOKEN or give -token."


def test_region_that_is_not_known_is_answered_with_the_known_ones(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on("GET /v1/operator/autopilot/configuration", b"No path to region", 500)
    server.on("GET /v1/regions", ["east", "global"])
    words = ("operator", "autopilot", "get-config", "-region=west")
    assert cli(*words, program="bellcow").err.endswith("The regions known there: east, global.\n")


@pytest.mark.parametrize("old", ["server-members", "server-join", "server-force-leave"])
def test_old_spelling_of_a_command_works(cli: Callable[..., Any], old: str) -> None:
    assert cli(old, "-help").out == cli(*old.split("-", 1), "-help").out.replace(
        " ".join(old.split("-", 1)), old
    )
