"""Writes the pages of docs/ that are made from the program itself. Called by `make docs`."""  # noqa: INP001  a script, not a package

from __future__ import annotations

from pathlib import Path

from bellcow.cli.shell.docs import page
from bellcow.config.docs import rewritten

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    (DOCS / "cli.md").write_text(page())
    configuration = DOCS / "configuration.md"
    configuration.write_text(rewritten(configuration.read_text()))


if __name__ == "__main__":
    main()
