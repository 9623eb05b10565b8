"""The page of settings is the declarations, written out."""

from __future__ import annotations

import re
from pathlib import Path

from bellcow.config import docs
from bellcow.config.keys import all_keys

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_up_to_date():
    text = PAGE.read_text(encoding="utf-8")
    hint = "run: python -m bellcow.config.docs docs/configuration.md"
    assert docs.rewritten(text) == text, hint


def test_every_key_is_on_the_page():
    text = docs.tables()
    missing = [key.path for key in all_keys() if f"`{key.name}`" not in text]
    assert [path for path in missing if f"### `{path}`" not in text] == []


def test_every_key_declared_as_effective_is_read_somewhere():
    """The settings' own reading, checking and showing do not count as an effect."""
    src = Path(__file__).parents[3] / "src" / "bellcow"
    own = {"decode.py", "docs.py", "flags.py", "load.py", "model.py", "self_view.py", "validate.py"}
    texts = [
        path.read_text(encoding="utf-8")
        for path in src.rglob("*.py")
        if path.name not in own or path.parent.name not in {"config", "api"}
    ]
    acted_on = [
        key
        for key in all_keys()
        if key.priority == "A" and key.kind != "block" and not key.path.startswith("client.")
    ]
    unheard = [
        key.path
        for key in acted_on
        if not any(re.search(rf'[."]{key.name}\b', text) for text in texts)
    ]
    assert unheard == []


def test_keys_of_an_ignored_block_are_shown_without_effect():
    section = docs.tables().partition("### `client.server_join`")[2]
    assert "| no |" in section
    assert "| yes |" not in section


def test_writing_again_changes_nothing():
    once = docs.rewritten(f"before\n{docs.BEGIN}\nOUTDATED\n{docs.END}\nafter\n")
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "OUTDATED" not in once
    assert docs.rewritten(once) == once
