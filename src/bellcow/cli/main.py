"""The program: finds the command, runs it, and turns its outcome into text and an exit status.

Exit statuses are decided and errors are printed here alone. Imports click and the table of
commands, and nothing that only a command needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bellcow.cli.commands.version import program_name, version_text
from bellcow.cli.group import LazyGroup, suggest, top_help
from bellcow.cli.shell import output
from bellcow.cli.shell.errors import CommandError, MisuseError, RequestError, ShowHelp
from bellcow.cli.shell.flag_words import HELP_WORDS
from bellcow.cli.tree import TREE
from bellcow.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN_COMMAND = 127
INTERRUPTED = 130
PIPE_CLOSED = 141
_VERSION_WORDS = frozenset({"-v", "-version", "--version"})
_COLOR_WORDS = frozenset({"no-color", "force-color"})
_INSTALL_WORDS = frozenset({"autocomplete-install", "autocomplete-uninstall"})


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, program name first. Returns the exit status."""
    words = list(sys.argv if argv is None else argv)
    program = program_name(words[0])
    try:
        status = _guarded(program, words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe: flushing the rest of the buffer at exit would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return status


def _guarded(program: str, words: list[str]) -> int:
    try:
        return _dispatch(program, words)
    except ShowHelp as shown:
        output.say(shown.text.rstrip("\n"))
        return shown.status
    except CommandError as failure:
        _complain(program, failure.message, failure.hint)
        return failure.status
    except RequestError as error:
        _complain(program, error.message, error.hint)
        return 1
    except Error as error:
        _complain(program, error.message, "")
        return 1
    except RecursionError:  # JSON or MessagePack from a server or a file may be nested to any depth
        output.complain("Error: what was read is nested too deeply to be shown")
        return 1
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        output.complain(error.format_message())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED


def _complain(program: str, message: str, hint: str) -> None:
    """Print the refusal, and the hint unless the program was called as `nomad`."""
    sys.stdout.flush()
    if message:
        output.complain(message)
    if hint and program != "nomad":
        output.note(hint)


def _dispatch(program: str, words: list[str]) -> int:
    root = LazyGroup(None, TREE)
    if os.environ.get("COMP_LINE"):
        from bellcow.cli.shell.completion import candidates, typed

        for word in candidates(root, program, typed(os.environ)):
            output.say(word)
        return 0
    instruction = os.environ.get(f"_{program.upper()}_COMPLETE")
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, program, f"_{program.upper()}_COMPLETE", instruction)
    leading, rest = _split(words)
    done = _before_command(program, leading, rest)
    if done is not None:
        return done
    if not rest or rest[0] not in TREE.below:
        if not any(word in HELP_WORDS for word in rest):
            suggest(program, rest[0] if rest else "", TREE.below)
        raise ShowHelp(top_help(program), UNKNOWN_COMMAND)
    if any(word in HELP_WORDS for word in leading):
        rest.append("-help")
    with root.make_context(program, rest) as ctx:
        root.invoke(ctx)
    return 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The flags before the first other word, and the rest."""
    end = next((at for at, word in enumerate(words) if not word.startswith("-")), len(words))
    return words[:end], words[end:]


def _before_command(program: str, leading: list[str], rest: list[str]) -> int | None:
    """The exit status of what the leading flags ask for; None if a command is still to be run.

    Raises:
        ShowHelp: the flags ask for help.
        MisuseError: a flag of a command stands before it.
    """
    names = [word.lstrip("-") for word in leading]
    if any(word in _VERSION_WORDS for word in leading):
        output.say(version_text(program))
        return 0
    for name in names:
        if name in _INSTALL_WORDS:
            return _change_shells(program, name)
    if any(word in HELP_WORDS for word in leading):
        if rest:
            return None
        raise ShowHelp(top_help(program), 0)
    for word, name in zip(leading, names, strict=True):
        if name not in _COLOR_WORDS:
            raise MisuseError(
                f"Flags go after the command: {word} stands before it\n"
                f"For additional help try '{program} -help'"
            )
    return None


def _change_shells(program: str, name: str) -> int:
    from bellcow.cli.shell import completion

    installing = name == "autocomplete-install"
    change = completion.install if installing else completion.uninstall
    changed = change(program, Path.home())
    for path in changed:
        output.say(f"{'Added completion to' if installing else 'Removed completion from'} {path}")
    if not changed:
        raise CommandError(
            "Nothing to change: completion is there already, or no start file of bash, zsh or fish"
            if installing
            else "Nothing to change: completion is not installed"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run())
