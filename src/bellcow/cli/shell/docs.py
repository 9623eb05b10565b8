"""The page on the command line, written from the commands themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bellcow.cli.group import LazyGroup
from bellcow.cli.shell.flags import GoCommand
from bellcow.cli.tree import TREE, Branch

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "bellcow"
_INTRODUCTION = """\
# Command line

Written by `make docs` from the commands; change it there.

Flags are written with one dash or two, values as `-name=value` or `-name value`; `--` ends them.
They may stand before or after the arguments. A lone `-` as a file is standard input.

Every variable is read as `BELLCOW_NAME` and, where that is empty, as `NOMAD_NAME`: `ADDR`,
`REGION`, `NAMESPACE`, `TOKEN`, `CACERT`, `CAPATH`, `CLIENT_CERT`, `CLIENT_KEY`, `TLS_SERVER_NAME`,
`SKIP_VERIFY`, `HTTP_AUTH` (`user:password`), `CLI_NO_COLOR`, `CLI_FORCE_COLOR`. A flag wins over a
variable.

| exit status | when |
|---|---|
| 0 | done, or help was asked for |
| 1 | refused, unreachable, unhealthy or misused; no such command in a group |
| 127 | no such command at the top |
| 130 | interrupted |
| 141 | the reader of the output closed it |

`bellcow -autocomplete-install` adds completion to bash, zsh and fish;
`-autocomplete-uninstall` removes it. A program that is linked to the name `nomad` behaves the
same and calls itself so.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_common(), *_below(TREE, [])])


def _context(path: list[str]) -> tuple[click.Command, click.Context]:
    """The command at the end of the path, and the click context for its help.

    Raises:
        LookupError: there is no such command.
    """
    command: click.Command = LazyGroup(None, TREE)
    ctx = click.Context(command, info_name=PROGRAM)
    for name in path:
        found = command.get_command(ctx, name) if isinstance(command, click.Group) else None
        if found is None:
            raise LookupError(f"no command {' '.join(path)}")
        command = found
        ctx = click.Context(command, info_name=name, parent=ctx)
    return command, ctx


def _common() -> Iterator[str]:
    command, ctx = _context(["server", "members"])
    if isinstance(command, GoCommand):
        yield "## Flags of every command that asks a server\n"
        yield from _table(command.described(ctx)[1])


def _below(branch: Branch, path: list[str]) -> Iterator[str]:
    for name, below in sorted(branch.below.items()):
        here = [*path, name]
        if below.hidden:
            continue
        if isinstance(below, Branch):
            yield from _below(below, here)
        else:
            yield from _leaf(here)


def _leaf(path: list[str]) -> Iterator[str]:
    command, ctx = _context(path)
    if not isinstance(command, GoCommand):
        raise TypeError(f"{' '.join(path)} is not a command of ours")
    own, general = command.described(ctx)
    yield f"## {ctx.command_path}\n"
    yield f"    {command.usage(ctx)}\n"
    yield f"{command.help}\n"
    yield from _table(own)
    if general:
        yield "Takes the flags of every command that asks a server.\n"


def _table(rows: list[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    yield "| flag | meaning |\n|---|---|"
    for name, text in rows:
        yield f"| `{name.replace('|', chr(92) + '|')}` | {text.replace('|', chr(92) + '|')} |"
    yield ""
