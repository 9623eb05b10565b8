"""`config validate`: the agent's output for these files, without starting it."""

from __future__ import annotations

import os

from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import Takes
from bellcow.cli.shell.errors import CommandError
from bellcow.cli.shell.output import complain, say


@flags.command(
    "Checks files and directories of configuration as the agent would, and names everything that "
    "is wrong with file and line.",
    takes=Takes(
        1, None, "Must specify at least one config file or directory", "<path> [<path>...]"
    ),
)
def validate(*, words: tuple[str, ...]) -> None:
    from bellcow.config.load import load
    from bellcow.config.report import report

    found = report(load(words, environment=os.environ))
    for line in found.stderr:
        complain(line)
    if not found.ok:
        raise CommandError("Configuration is invalid")
    say("Configuration is valid!")
