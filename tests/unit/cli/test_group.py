from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_tree import branches

from bellcow.cli.group import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Callable

import click

from bellcow.cli.group import COMMON, lines, top_help
from bellcow.cli.tree import TREE, Branch, Leaf


def test_names_are_padded_to_a_column() -> None:
    assert lines({"a": "x", "long": "y"}) == "    a       x\n    long    y"


def test_the_top_help_names_each_visible_command_once() -> None:
    listed = [line.split()[0] for line in top_help("p").splitlines() if line.startswith("    ")]
    visible = [name for name, below in TREE.below.items() if not below.hidden]
    assert sorted(listed) == sorted(visible)
    assert listed[: len(COMMON)] == list(COMMON)


def test_a_leaf_that_is_no_command_raises_type_error() -> None:
    group = LazyGroup(None, Branch("", "", {"x": Leaf("operator.objects:to_text", "")}))
    with pytest.raises(TypeError, match=r"operator\.objects:to_text is not a command"):
        group.get_command(click.Context(group), "x")
    assert group.get_command(click.Context(group), "y") is None


def test_a_near_miss_inside_a_group_gets_a_suggestion(cli: Callable[..., Any]) -> None:
    result = cli("operator", "snapshot", "insepct")
    assert result.status == 1
    assert result.out.startswith("Usage: nomad operator snapshot ")
    assert result.err == (
        "There is no command 'insepct'; did you mean 'nomad operator snapshot inspect'?\n"
    )


def test_a_near_miss_of_a_command_gets_a_suggestion(cli: Callable[..., Any]) -> None:
    result = cli("opertor")
    assert result.status == 127
    assert result.err == "There is no command 'opertor'; did you mean 'nomad operator'?\n"


@pytest.mark.parametrize("path", list(branches()))
def test_each_group_shows_its_help_and_ends_with_one(
    cli: Callable[..., Any], path: tuple[str, ...]
) -> None:
    bare, bogus, asked = cli(*path), cli(*path, "bogus"), cli(*path, "-h")
    assert bare.out.startswith(f"Usage: nomad {' '.join(path)} <subcommand> [options]")
    assert "\n\nSubcommands:\n    " in bare.out
    assert (bare.status, bogus.status, asked.status) == (1, 1, 0)
    assert bare.out == bogus.out == asked.out
    assert bare.err == ""


def test_a_command_of_another_group_is_suggested(cli: Callable[..., Any]) -> None:
    assert (
        "did you mean 'bellcow operator autopilot health'?" in cli("health", program="bellcow").err
    )
    assert "did you mean 'bellcow operator raft'?" in cli("raft", program="bellcow").err
