from __future__ import annotations

import pytest

from bellcow.gocompat.template_values import show


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5.0, "5"),
        (1.5, "1.5"),
        (False, "false"),
        (["a", 1], "[a 1]"),
        ({"b": 1, "a": 2}, "map[a:2 b:1]"),
    ],
)
def test_values_print_as_in_go(value: object, shown: str) -> None:
    assert show(value) == shown
