"""Shell completion: the answer to `COMP_LINE`, and the lines that make a shell ask for it.

bash and zsh run the program itself with the line typed so far in `COMP_LINE`; fish does the same
from a file of its own. click's own protocol is answered too, under `_BELLCOW_COMPLETE`.
"""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING

from click.shell_completion import ShellComplete

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import click

_BASH_FILES = (".bashrc", ".bash_profile", ".bash_login", ".profile")


def candidates(root: click.Command, program: str, line: str) -> list[str]:
    """The words that complete `line`."""
    words = line.split()[1:]
    incomplete = "" if line[-1:].isspace() or not words else words.pop()
    found = ShellComplete(root, {}, program, "").get_completions(words, incomplete)
    return sorted({item.value for item in found if item.type == "plain"})


def typed(environment: Mapping[str, str]) -> str:
    """The line up to the cursor."""
    line = environment.get("COMP_LINE", "")
    point = environment.get("COMP_POINT", "")
    return line[: int(point)] if point.isdecimal() else line


def install(program: str, home: Path) -> list[Path]:
    """Add completion to each shell that has a start file. Returns the changed files."""
    return [path for path, line in _places(program, home) if _add(path, line)]


def uninstall(program: str, home: Path) -> list[Path]:
    """Remove completion from the start files. Returns the changed files."""
    return [path for path, line in _places(program, home) if _take_out(path, line)]


def _places(program: str, home: Path) -> list[tuple[Path, str]]:
    """Each start file, and the line to add to it."""
    place = shlex.quote(shutil.which(program) or program)
    line = f"complete -o nospace -o default -C {place} {program}"
    places = []
    bash = next((home / name for name in _BASH_FILES if (home / name).is_file()), None)
    if bash:
        places.append((bash, line))
    if (home / ".zshrc").is_file():
        zsh = f"autoload -U +X bashcompinit && bashcompinit; {line}"
        places.append((home / ".zshrc", zsh))
    if (home / ".config/fish").is_dir():
        fish = f"complete -f -c {program} -a '(COMP_LINE=(commandline -cp) {place})'"
        places.append((home / f".config/fish/completions/{program}.fish", fish))
    return places


def _add(path: Path, line: str) -> bool:
    text = path.read_text() if path.exists() else ""
    if line in text.splitlines():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    end = "" if not text or text.endswith("\n") else "\n"
    path.write_text(f"{text}{end}{line}\n")
    return True


def _take_out(path: Path, line: str) -> bool:
    if not path.exists():
        return False
    lines = path.read_text().splitlines()
    if line not in lines:
        return False
    path.write_text("".join(f"{one}\n" for one in lines if one != line))
    return True
