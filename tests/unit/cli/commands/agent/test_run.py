from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from bellcow.config.flags import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the agent was started with; it ends at once with 3."""
    calls: list[tuple[Any, ...]] = []

    def run(paths: list[str], flags: dict[str, Any], dev: bool) -> int:
        calls.append((paths, flags, dev))
        return 3

    fake: Any = types.ModuleType("bellcow.agent.main")
    fake.run = run
    monkeypatch.setitem(sys.modules, "bellcow.agent.main", fake)
    return calls


def test_the_exit_status_is_the_agents(cli: Callable[..., Any], started: Any) -> None:
    assert cli("agent", "-dev").status == 3
    assert started == [([], {}, True)]


def test_only_given_flags_are_passed_on(cli: Callable[..., Any], started: Any) -> None:
    cli(
        "agent",
        "-config",
        "a.hcl",
        "--config=dir",
        "-bind=0.0.0.0",
        "-server=false",
        "-log-json",
        "-retry-join",
        "a",
        "-retry-join=b",
        "-bootstrap-expect=3",
        "-consul-ssl=false",
    )
    flags = {
        "bind": "0.0.0.0",
        "server": False,
        "log-json": True,
        "retry-join": ("a", "b"),
        "bootstrap-expect": "3",
        "consul-ssl": False,
    }
    assert started == [(["a.hcl", "dir"], flags, False)]


def test_an_unknown_flag_starts_nothing(cli: Callable[..., Any], started: Any) -> None:
    result = cli("agent", "-bogus")
    assert (result.status, started) == (1, [])
    assert result.err.startswith("flag provided but not defined: -bogus\n")


def test_each_flag_of_the_table_is_in_the_help(cli: Callable[..., Any]) -> None:
    text = cli("agent", "-help").out
    assert [flag.name for flag in FLAGS if f"  -{flag.name}" not in text] == []
