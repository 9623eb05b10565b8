"""The settings as tables for `docs/configuration.md`.

`python -m bellcow.config.docs FILE` writes them into the page, between two marks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow.config import model
from bellcow.config.decode import shown
from bellcow.config.keys import Key, keys_of

if TYPE_CHECKING:
    from bellcow.config.block import Block

BEGIN = "<!-- settings: begin, written by python -m bellcow.config.docs -->"
END = "<!-- settings: end -->"
_EFFECT = {"A": "yes", "B": "not fully", "L": "not yet", "C": "no"}


def tables() -> str:
    """A heading and a table for each block."""
    return "\n".join(_tables(model.Settings, "", ""))


def _tables(block: type[Block], path: str, inherited: str) -> list[str]:
    """`inherited` is the priority of an enclosing block without effect."""
    keys = list(keys_of(block, f"{path}." if path else "").values())
    rows = [_row(key, inherited) for key in keys if key.kind not in {"block", "any"}]
    ignored = ", ".join(f"`{key.name}`" for key in keys if key.kind == "any")
    out = [f"### `{path}`" if path else "### Top level", "", (block.__doc__ or "").strip(), ""]
    out += ["| key | type | default | acted on | meaning |", "|---|---|---|---|---|", *rows, ""]
    if ignored:
        out += [f"Accepted without effect: {ignored}.", ""]
    for key in keys:
        if key.block is not None:
            out += _tables(key.block, key.path, inherited or key.priority.strip("ABL"))
    return out


def _row(key: Key, inherited: str) -> str:
    default = "" if key.default in ("", None, (), {}) else f"`{_default(key)}`"
    cells = (f"`{key.name}`", key.kind, default, _EFFECT[inherited or key.priority], key.help)
    return "| " + " | ".join(cells) + " |"


def _default(key: Key) -> str:
    return str(key.default) if isinstance(key.default, str) else shown(key, key.default)


def rewritten(text: str) -> str:
    """The page, with new tables between its two marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
