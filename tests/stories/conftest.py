"""The flag `pytest tests/stories --rewrite-stories` writes the output into the stories."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-stories",
        action="store_true",
        default=False,
        help="write what happens into the story files, to be read as a diff",
    )
