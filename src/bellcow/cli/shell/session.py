"""One run of a command: its settings, and a client that is made on first use."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import click

from bellcow.cli.shell import flags
from bellcow.cli.shell.arguments import NOTHING, Takes
from bellcow.cli.shell.errors import MisuseError
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.settings import COMMON, COMMON_NAMES, Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.cli.shell.client import Client


class Session:
    """One run of one command."""

    def __init__(self, settings: Settings, path: str) -> None:
        self.settings = settings
        self.path = path

    @functools.cached_property
    def client(self) -> Client:
        from bellcow.cli.shell.client import Client

        return Client(self.settings)

    @property
    def program(self) -> str:
        """The name by which this program was called."""
        return self.path.split(" ", 1)[0]

    def misuse(self, message: str) -> MisuseError:
        """The error for a command line whose flags are well-formed but do not fit."""
        return MisuseError(f"{message}\nFor additional help try '{self.path} -help'")


def command(
    summary: str, *, takes: Takes = NOTHING
) -> Callable[[Callable[..., None]], flags.GoCommand]:
    """A command with the common flags; its function gets a `Session` first."""

    def make(body: Callable[..., None]) -> flags.GoCommand:
        @functools.wraps(body)
        def run(**given: Any) -> None:
            settings = read_settings(given, os.environ)
            body(Session(settings, click.get_current_context().command_path), **given)

        return flags.command(summary, takes=takes, general=COMMON, general_names=COMMON_NAMES)(run)

    return make


def as_data(body: Callable[..., None]) -> Callable[..., None]:
    """Add `-json` and `-t`, which arrive as `as_json` and `template`."""
    body = flag("t", "template", "Print through a Go template.", into="template", default="")(body)
    return switch("json", "Print as JSON.", into="as_json")(body)


def stale_switch(body: Callable[..., None]) -> Callable[..., None]:
    """Add `-stale`, for reads that any server answers, even without a leader."""
    return switch("stale", "Let any server answer, leader or not.")(body)


def if_stale(*, stale: bool) -> dict[str, str]:
    """The query parameter of a read that any server may answer."""
    return {"stale": ""} if stale else {}
