"""Go's flag syntax on click: the decorators that declare a command and its flags.

`GoCommand` splits the words with `flag_words` and feeds the result to click, which does types,
lists and completion. A leaf command is always made with `command`, never with `click.command`:
click alone misreads `-t=x` and `-json=false` without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bellcow.cli.shell.arguments import NOTHING, Offers, Takes
from bellcow.cli.shell.errors import MisuseError, ShowHelp
from bellcow.cli.shell.flag_words import NOT, asks_for_help, bare_name, normalize
from bellcow.gocompat import duration, values
from bellcow.gocompat.quote import go_quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_Body = Callable[..., None]


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older releases of click have no type argument here


class GoType(_ParamType):
    """A value that is parsed as by Go; the error names the flag as Go does."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del ctx
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            flag_name = f"-{bare_name(param.opts[0])}" if param else ""
            raise MisuseError(
                f"invalid value {go_quote(value)} for flag {flag_name}: {error}"
            ) from error


BOOL = GoType("bool", values.parse_bool)
INT = GoType("number", values.parse_int)
UINT = GoType("number", values.parse_uint)
DURATION = GoType("duration", duration.parse_duration)


class GoCommand(click.Command):
    """A leaf command whose flags follow Go's syntax; its arguments arrive as one tuple, `words`."""

    def __init__(
        self, name: str | None, *, takes: Takes, general: frozenset[str], **settings: Any
    ) -> None:
        super().__init__(name, **{**settings, "add_help_option": False})
        self.takes = takes
        self.general = general

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        lenient = ctx.resilient_parsing
        if not lenient and asks_for_help(args):
            raise ShowHelp(self.get_help(ctx), 0)
        flags = {
            bare_name(name): not (isinstance(param, click.Option) and param.is_flag)
            for param in self.get_params(ctx)
            for name in param.opts
            if isinstance(param, click.Option)
        }
        try:
            found, words = normalize(args, flags, lenient=lenient)
            if not lenient:
                self.check_count(words)
            return super().parse_args(ctx, [*found, "--", *words])
        except MisuseError as error:
            raise MisuseError(f"{error.message}\n{hint(ctx)}") from error

    def check_count(self, words: Sequence[str]) -> None:
        """Check the number of arguments.

        Raises:
            MisuseError: there are too few or too many.
        """
        takes = self.takes
        if len(words) < takes.least or (takes.most is not None and len(words) > takes.most):
            raise MisuseError(takes.sentence)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own, general = self.described(ctx)
        formatter.write(f"Usage: {self.usage(ctx)}\n")
        for paragraph in (self.help or "").split("\n\n"):
            formatter.write(f"\n{_filled(paragraph, formatter.width)}\n")
        for title, rows in (("Options", own), ("General Options", general)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def usage(self, ctx: click.Context) -> str:
        """The usage line of the help."""
        options = "[options]" if any(self.described(ctx)) else ""
        return " ".join(filter(None, (ctx.command_path, options, self.takes.metavar)))

    def described(self, ctx: click.Context) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The flags that help shows, with their texts: the command's own, and the common ones."""
        rows: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and not param.hidden:
                name = bare_name(param.opts[0])
                value = "" if param.is_flag else f"=<{param.metavar or param.type.name}>"
                rows[name in self.general].append((f"-{name}{value}", _with_default(param)))
        return rows

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        dashes = "--" if incomplete.startswith("--") else "-"
        return [
            CompletionItem(dashes + bare_name(param.opts[0]), help=param.help)
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            and not param.hidden
            and incomplete.startswith("-")
            and bare_name(param.opts[0]).startswith(bare_name(incomplete))
        ]


def _with_default(option: click.Option) -> str:
    """The help of a flag, with its default if it has one."""
    text, default = option.help or "", option.default
    if option.is_flag or not isinstance(default, str | int) or not default:
        return text
    shown = str(default)
    if isinstance(default, int) and option.type is DURATION:
        shown = duration.format_duration(default)
    return f"{text.removesuffix('.')} (default {shown})."


def _filled(paragraph: str, width: int) -> str:
    """The paragraph in lines; a word with a hyphen is not broken, so that it can be copied."""
    import textwrap

    return textwrap.fill(
        paragraph,
        width,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def hint(ctx: click.Context) -> str:
    """Where to read more about this command."""
    return f"For additional help try '{ctx.command_path} -help'"


def flag(
    name: str,
    metavar: str,
    text: str,
    *,
    kind: click.ParamType[Any] = click.STRING,
    many: bool = False,
    default: Any = None,
    into: str = "",
    hidden: bool = False,
    offers: Offers | None = None,
) -> Callable[[_Decorated], _Decorated]:
    """A flag that takes a value; the function gets None, or an empty tuple, without it."""
    return click.option(
        f"-{name}",
        f"--{name}",
        into or name.replace("-", "_"),
        metavar=metavar,
        help=text,
        type=kind,
        multiple=many,
        default=default,
        hidden=hidden,
        shell_complete=offers,
    )


def switch(
    name: str, text: str, *, into: str = "", default: bool | None = False, hidden: bool = False
) -> Callable[[_Decorated], _Decorated]:
    """A flag that is true when given without a value."""
    return click.option(
        f"-{name}/--{NOT}{name}",
        f"--{name}",
        into or name.replace("-", "_"),
        is_flag=True,
        default=default,
        help=text,
        hidden=hidden,
    )


def three_state(name: str, text: str) -> Callable[[_Decorated], _Decorated]:
    """A boolean flag that needs a value; None, without the flag, leaves the stored setting
    unchanged.
    """
    return flag(name, "true|false", text, kind=BOOL)


def command(
    summary: str,
    *,
    takes: Takes = NOTHING,
    general: Sequence[Callable[[_Body], _Body]] = (),
    general_names: frozenset[str] = frozenset(),
) -> Callable[[_Body], GoCommand]:
    """Make a leaf command of a function; `summary` is its help, the first sentence its synopsis."""

    def make(body: _Body) -> GoCommand:
        for decorate in reversed(general):
            body = decorate(body)
        if takes.most != 0:
            body = click.argument(
                "words", nargs=-1, type=click.UNPROCESSED, shell_complete=takes.offers
            )(body)
        return click.command(cls=GoCommand, help=summary, takes=takes, general=general_names)(body)

    return make
