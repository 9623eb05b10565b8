"""How many arguments a command takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Offers = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


class Takes(NamedTuple):
    """How many arguments a command takes, what they are called, and the refusal of any other
    number.

    `offers` completes the first argument.
    """

    least: int
    most: int | None
    sentence: str
    metavar: str = ""
    offers: Offers | None = None


NOTHING = Takes(0, 0, "This command takes no arguments")


def one(name: str, offers: Offers | None = None) -> Takes:
    """Exactly one argument."""
    return Takes(1, 1, f"This command takes one argument: <{name}>", f"<{name}>", offers)
