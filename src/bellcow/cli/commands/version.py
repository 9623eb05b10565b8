"""`version`, and the name of the program in texts."""

from __future__ import annotations

from pathlib import Path

import click

from bellcow import NOMAD_VERSION, __version__
from bellcow.cli.shell import flags
from bellcow.cli.shell.output import say


def program_name(path: str) -> str:
    """The name of this program in texts: `nomad` if it was called so."""
    return "nomad" if Path(path).name == "nomad" else "bellcow"


def version_text(program: str) -> str:
    if program == "nomad":
        return f"Nomad v{NOMAD_VERSION}"
    return f"bellcow v{__version__} (Nomad API v{NOMAD_VERSION})"


@flags.command("Shows the version of this program and of the API that it speaks.")
def version() -> None:
    say(version_text(click.get_current_context().find_root().info_name or ""))
