"""How a command ends when it does not end well.

`CommandError` carries the lines for standard error and the exit status; only `main.py` catches
it. `failing` puts what was being done before what went wrong, which is how every refusal reads.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bellcow.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator


class CommandError(Exception):
    """The command ends here: `message` on standard error, and an exit status.

    `hint` says what to do about it, on lines of its own; a program called `nomad` prints none.
    """

    def __init__(self, message: str, *, status: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint


class MisuseError(CommandError):
    """The command line itself is wrong: the reason, then where to read more."""


class RequestError(Exception):
    """The server refused, or was not reached; `status` is 0 when no answer came.

    `reason` is what the server itself says about a missing leader.
    """

    def __init__(
        self, message: str, *, status: int = 0, body: str = "", hint: str = "", reason: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.body = body
        self.hint = hint
        self.reason = reason


class ShowHelp(Exception):
    """Show this help on standard output and end with this status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@contextlib.contextmanager
def failing(prefix: str) -> Iterator[None]:
    """Turn a refusal inside into a `CommandError` that begins with `prefix`."""
    try:
        yield
    except (RequestError, Error) as error:
        hint = error.hint if isinstance(error, RequestError) else ""
        raise CommandError(f"{prefix}{error.message}", hint=hint) from error


@contextlib.contextmanager
def in_flags() -> Iterator[None]:
    """Let a refusal inside name the flag where the server names the parameter of its URL."""
    try:
        yield
    except RequestError as error:
        error.message = error.message.replace("add ?force=true to", "add -force to")
        raise


def os_text(error: OSError) -> str:
    """The operating system's reason in Go's words: lower case."""
    return (error.strerror or str(error)).lower()


def opening(error: OSError, path: object) -> str:
    """What Go says when `path` cannot be opened."""
    return f"open {path}: {os_text(error)}"
