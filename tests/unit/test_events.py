"""The list of events is closed: what is reported is in it, and what is in it is reported."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import bellcow
from bellcow.events import EVENTS, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(bellcow.__file__).parent
SPEAKERS = {"report", "_report", "log", "_log"}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the source but for the list itself, and where it stands."""
    for path in SOURCE.rglob("*.py"):
        if path.name != "events.py":
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                yield f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}", node


def reported() -> dict[str, str]:
    """Each name that a call hands to a speaker, and where."""
    found = {}
    for where, node in nodes():
        if not isinstance(node, ast.Call) or not node.args:
            continue
        speaker = getattr(node.func, "attr", getattr(node.func, "id", ""))
        name = node.args[0]
        if speaker in SPEAKERS and isinstance(name, ast.Constant):
            found[str(name.value)] = where
    return found


def test_every_event_that_is_reported_is_in_the_list():
    assert "leadership_acquired" in reported()
    unknown = {name: where for name, where in reported().items() if name not in EVENTS}
    assert not unknown


def test_every_event_in_the_list_is_reported():
    literals = {node.value for _, node in nodes() if isinstance(node, ast.Constant)}
    assert set(EVENTS) <= literals


def test_levels_are_ordered_from_detail_to_alarm():
    assert Level.TRACE < Level.DEBUG < Level.INFO < Level.WARN < Level.ERROR


def test_event_is_a_sentence_without_an_end():
    for name, event in EVENTS.items():
        assert event.message, name
        assert not event.message.endswith("."), name
        assert event.module, name
