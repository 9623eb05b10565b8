"""`operator snapshot state`: every object of a snapshot file as JSON."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bellcow.cli.commands.operator.objects import by_table, to_text
from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import one
from bellcow.cli.shell.errors import CommandError, opening
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.output import say

if TYPE_CHECKING:
    from collections.abc import Callable


@flags.command(
    "Prints the objects of a snapshot file as JSON, by table, without a server.\n\n"
    'EXPR keeps the objects that match it, for example: Name == "ops" or Policies contains admin. '
    "It knows ==, !=, in, contains, matches (a regular expression) and is empty, the last four "
    "with not as well; and, or, not, parentheses; and dots into an object, as in Meta.team. An "
    "object without the field never matches.\n\n"
    "The secrets of tokens and the text of the license are left out unless -secrets is given.",
    takes=one("filename"),
)
@flag("filter", "expr", "Print only the objects that match.", into="expression", default="")
@switch("secrets", "Print secrets too.")
def state(*, expression: str, secrets: bool, words: tuple[str, ...]) -> None:
    wanted = _wanted(expression)
    try:
        found = _tables(Path(words[0]), wanted, secrets=secrets)
    except OSError as error:
        raise CommandError(f"Error opening snapshot file: {opening(error, words[0])}") from error
    say(to_text(found))


def _wanted(expression: str) -> Callable[[Any], bool]:
    from bellcow.gocompat.filter import FilterError, compiled

    if not expression:
        return lambda _value: True
    try:
        return compiled(expression)
    except FilterError as error:
        raise CommandError(f"Error reading filter {error}") from error


def _tables(path: Path, wanted: Callable[[Any], bool], *, secrets: bool) -> dict[str, Any]:
    import msgspec

    from bellcow.cli.commands.operator.snapshot.redaction import reason, unpacked
    from bellcow.errors import Error

    with path.open("rb") as source, tempfile.TemporaryFile() as spool:
        try:
            read = unpacked(source, spool)
            tables = by_table(read.records(), secrets=secrets, wanted=wanted)
        except Error as error:
            raise CommandError(f"Error reading snapshot: {reason(error)}") from error
        return {"SnapshotMeta": msgspec.to_builtins(read.meta), **tables}
