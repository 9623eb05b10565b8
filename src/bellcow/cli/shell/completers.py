"""Words for completion that come from the server: policies, namespaces, accessor IDs.

The user is typing: an answer that takes more than a second is dropped, and errors are not shown.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import click

from bellcow.cli.shell.errors import CommandError, RequestError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bellcow.cli.shell.settings import Settings

LIMIT_S = 1.0
_HARMLESS = re.compile(r"[\w.\-]+")  # characters that no shell splits or expands


def policies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of policies."""
    return _offered(ctx, param, incomplete, ("/v1/acl/policies", "Name", "Description"))


def namespaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of namespaces."""
    return _offered(ctx, param, incomplete, ("/v1/namespaces", "Name", "Description"))


def accessors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The accessor IDs of tokens."""
    return _offered(ctx, param, incomplete, ("/v1/acl/tokens", "AccessorID", "Name"))


def _offered(
    ctx: click.Context, param: click.Parameter, incomplete: str, where: tuple[str, str, str]
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from bellcow.cli.shell.settings import read_settings

    if isinstance(param, click.Argument) and ctx.params.get("words"):
        return []  # the name is given already
    path, field, described = where
    found = _asked(read_settings(dict(ctx.params), os.environ), path)
    names = {str(one.get(field)): one.get(described) for one in found if isinstance(one, dict)}
    return [
        CompletionItem(name, help=str(text or ""))
        for name, text in sorted(names.items())
        if name.startswith(incomplete) and _HARMLESS.fullmatch(name)
    ]


def _asked(settings: Settings, path: str) -> list[Any]:
    """The server's list; empty if it is late. In a thread: a name lookup has no time limit."""
    found: list[Any] = []

    def ask() -> None:
        from bellcow.cli.shell.client import Client

        with contextlib.suppress(CommandError, RequestError, TypeError):
            found.extend(Client(settings).get(path))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return list(found)
