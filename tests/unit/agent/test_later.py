"""A part that is built after those that call it."""

from __future__ import annotations

import pytest

from bellcow.agent.later import Later


def test_part_is_returned_once_it_is_set() -> None:
    later: Later[str] = Later()
    later.set("part")
    assert later() == "part"


def test_call_before_the_part_is_built_is_an_error() -> None:
    later: Later[str] = Later()
    with pytest.raises(RuntimeError, match="not built yet"):
        later()


def test_part_is_set_only_once() -> None:
    later: Later[str] = Later()
    later.set("part")
    with pytest.raises(RuntimeError, match="built already"):
        later.set("another")
    assert later() == "part"
