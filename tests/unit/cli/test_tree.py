from __future__ import annotations

from typing import Any

import pytest
from tests.support.command_tree import leaves

from bellcow.cli.group import LazyGroup
from bellcow.cli.tree import TREE


@pytest.mark.parametrize("path", list(leaves()))
def test_each_synopsis_and_flag_has_a_text(path: tuple[str, ...]) -> None:
    root = LazyGroup(None, TREE)
    ctx = root.make_context("bellcow", list(path), resilient_parsing=True)
    command: Any = root
    for name in path:
        command = command.get_command(ctx, name)
    for param in command.get_params(ctx):
        assert param.param_type_name == "argument" or param.help
