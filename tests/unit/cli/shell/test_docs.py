from __future__ import annotations

from pathlib import Path

from tests.support.command_tree import leaves

from bellcow.cli.shell.docs import page

DOCS = Path(__file__).parents[4] / "docs"


def test_the_page_on_the_command_line_is_up_to_date() -> None:
    assert (DOCS / "cli.md").read_text() == page(), "run: make docs"


def test_each_command_has_a_heading() -> None:
    text = page()
    without = [path for path in leaves() if f"\n## bellcow {' '.join(path)}\n" not in text]
    raft = ("operator", "raft")
    hidden = [(*raft, name) for name in ("_info", "_logs", "_state")]
    old = [("server-force-leave",), ("server-join",), ("server-members",)]
    assert sorted(without) == [("keygen",), ("keyring",), *hidden, *old]
