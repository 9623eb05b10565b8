"""Flags as Go's flag library splits them: `-name value`, `-name=value`, one dash or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cli.shell.errors import MisuseError
from bellcow.gocompat import values
from bellcow.gocompat.quote import go_quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Click's name for a switch that is off. Users write `-name=false`: `-not-name` is refused.
NOT = "not-"
HELP_WORDS = frozenset({"-h", "-help", "--help"})


def bare_name(option: str) -> str:
    return option.lstrip("-")


def normalize(
    words: Sequence[str], flags: Mapping[str, bool], *, lenient: bool = False
) -> tuple[list[str], list[str]]:
    """Split a command's words into canonical flags and arguments.

    `flags` maps each name to whether it takes a value. Such a flag becomes `--name=value`, a switch
    `--name` or `--not-name`. `lenient` skips wrong flags.

    Raises:
        MisuseError: a flag is unknown, or lacks its value.
    """
    found: list[str] = []
    switches: dict[str, bool] = {}
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments.extend(rest)
            break
        if word == "-" or not word.startswith("-"):
            arguments.append(word)
            continue
        name, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        try:
            takes_value = _look_up(word, name, flags)
            if not takes_value:
                switches[name] = _switch_value(name, value) if equals else True
                continue
            if not equals:
                value = _next_word(rest, name)
            found.append(f"--{name}={value}")
        except MisuseError:
            if not lenient:
                raise
    found += [f"--{name}" if on else f"--{NOT}{name}" for name, on in switches.items()]
    return found, arguments


def _look_up(word: str, name: str, flags: Mapping[str, bool]) -> bool:
    if not name or name.startswith("-"):
        raise MisuseError(f"bad flag syntax: {word}")
    if name not in flags:
        import difflib

        near = difflib.get_close_matches(name, flags, n=1, cutoff=0.75)
        more = f"\nDid you mean -{near[0]}?" if near else ""
        raise MisuseError(f"flag provided but not defined: -{name}{more}")
    return flags[name]


def _switch_value(name: str, value: str) -> bool:
    try:
        return values.parse_bool(value)
    except ValueError:
        text = f"invalid boolean value {go_quote(value)} for -{name}: parse error"
        raise MisuseError(text) from None


def _next_word(rest: Iterable[str], name: str) -> str:
    for word in rest:
        return word
    raise MisuseError(f"flag needs an argument: -{name}")


def asks_for_help(words: Sequence[str]) -> bool:
    """True if a help flag is anywhere before `--`, even in the place of a value."""
    end = words.index("--") if "--" in words else len(words)
    return any(word in HELP_WORDS for word in words[:end])
