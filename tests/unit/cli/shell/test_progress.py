from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from bellcow.cli.shell.progress import counted

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_away_from_a_terminal_only_the_bytes_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted([b"a", b"b"], "Saving")) == [b"a", b"b"]
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_bytes_pass_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(counted([b"a" * 1000, b"b"], "Saving", 1001)) == [b"a" * 1000, b"b"]
    assert "Saving" in screen.getvalue()
