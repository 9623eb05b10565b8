"""How problems are worded."""

from __future__ import annotations

import pytest

from bellcow.config.problem import Phase, Problem, quoted


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (Phase.LOAD, "x"),
        (Phase.CHECK, "x"),
        (Phase.TELEMETRY, "Error initializing telemetry: x"),
        (Phase.AGENT, "Error starting agent: x"),
        (Phase.HTTP, "Error starting http server: x"),
        (Phase.JOIN, "x"),
    ],
)
def test_each_phase_has_its_prefix(phase, text):
    assert Problem(phase=phase, message="x").text == text


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\n\t\0", '"a\\n\\t\\x00"'),
        ("\x1b[31m", '"\\x1b[31m"'),
        ("x" * 300, '"' + "x" * 200 + '..."'),
    ],
)
def test_quoted_text_cannot_disturb_a_terminal(text, out):
    assert quoted(text) == out
