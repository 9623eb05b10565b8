from __future__ import annotations

import click
import pytest

from bellcow.cli.tree import COMMON, TREE, Branch, LazyGroup, Leaf, lines, top_help


def test_names_are_padded_to_a_column() -> None:
    assert lines({"a": "x", "long": "y"}) == "    a       x\n    long    y"


def test_the_top_help_names_each_visible_command_once() -> None:
    listed = [line.split()[0] for line in top_help("p").splitlines() if line.startswith("    ")]
    visible = [name for name, below in TREE.below.items() if not below.hidden]
    assert sorted(listed) == sorted(visible)
    assert listed[: len(COMMON)] == list(COMMON)


def test_a_place_that_holds_no_command_is_a_fault_of_ours() -> None:
    group = LazyGroup(None, Branch("", "", {"x": Leaf("operator.objects:to_text", "")}))
    with pytest.raises(TypeError, match=r"operator\.objects:to_text is not a command"):
        group.get_command(click.Context(group), "x")
    assert group.get_command(click.Context(group), "y") is None
