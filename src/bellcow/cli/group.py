"""Groups of commands as click sees them, and the help of the program and of each group.

A command's module is imported when the command is called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from bellcow.cli.shell.errors import MisuseError, ShowHelp
from bellcow.cli.shell.flag_words import HELP_WORDS
from bellcow.cli.shell.output import complain
from bellcow.cli.tree import TREE, Branch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem

COMMON = ("operator", "server", "acl", "license", "status", "agent")


class LazyGroup(click.Group):
    """A branch of the tree; the commands below it are loaded when they are asked for."""

    def __init__(self, name: str | None, branch: Branch) -> None:
        super().__init__(name, add_help_option=False, no_args_is_help=False)
        self.branch = branch

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(name for name, below in self.branch.below.items() if not below.hidden)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        below = self.branch.below.get(cmd_name)
        if isinstance(below, Branch):
            return LazyGroup(cmd_name, below)
        if below is None:
            return None
        module, _, attribute = below.place.partition(":")
        found = getattr(importlib.import_module(f"bellcow.cli.commands.{module}"), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{below.place} is not a command")
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self.refuse(ctx, args)
        return super().parse_args(ctx, args)

    def refuse(self, ctx: click.Context, args: list[str]) -> None:
        """Refuse a first word that names no command.

        Raises:
            ShowHelp: help is asked for, or the word is no command of this group.
            MisuseError: a flag stands before the command.
        """
        first = args[0] if args else ""
        if first in HELP_WORDS:
            raise ShowHelp(self.get_help(ctx), 0)
        if first.startswith("-"):
            raise MisuseError(
                f"Flags go after the command: {first} stands before it\n"
                f"For additional help try '{ctx.command_path} -help'"
            )
        if first not in self.branch.below:
            asked = any(word in HELP_WORDS for word in args)
            if not asked:
                suggest(ctx.command_path, first, self.list_commands(ctx))
            raise ShowHelp(self.get_help(ctx), 0 if asked else 1)

    def get_help(self, ctx: click.Context) -> str:
        rows = {name: self.branch.below[name].synopsis for name in self.list_commands(ctx)}
        return (
            f"Usage: {ctx.command_path} {self.branch.usage}\n\n  {self.branch.text}\n\n"
            f"Subcommands:\n{lines(rows)}"
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=self.branch.below[name].synopsis)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]


def suggest(path: str, word: str, names: Iterable[str]) -> None:
    """Print that there is no such command, and the one that was probably meant if one is near."""
    import difflib

    if not word:
        return
    near = [f"{path} {one}" for one in difflib.get_close_matches(word, names, n=1)]
    program = path.split(" ", 1)[0]
    meant = near or _elsewhere(word, program, TREE)
    more = f"; did you mean '{meant[0]}'?" if meant else f" in '{path}'"
    complain(f"There is no command {word!r}{more}")


def _elsewhere(word: str, path: str, branch: Branch) -> list[str]:
    """The commands and groups of this name anywhere in the tree."""
    found = []
    for name, below in sorted(branch.below.items()):
        if below.hidden:
            continue
        if name == word:
            found.append(f"{path} {name}")
        if isinstance(below, Branch):
            found += _elsewhere(word, f"{path} {name}", below)
    return found


def lines(rows: dict[str, str]) -> str:
    """Names and synopses: four spaces, the name, padding of at least four, the synopsis."""
    width = max(map(len, rows)) + 4
    return "\n".join(f"    {name:<{width}}{synopsis}" for name, synopsis in rows.items())


def top_help(program: str) -> str:
    """The help of the program itself."""
    visible = {
        name: below.synopsis for name, below in sorted(TREE.below.items()) if not below.hidden
    }
    common = {name: visible.pop(name) for name in COMMON}
    return (
        f"Usage: {program} [-version] [-help] [-autocomplete-(un)install] <command> [args]\n\n"
        f"Common commands:\n{lines(common)}\n\nOther commands:\n{lines(visible)}"
    )
