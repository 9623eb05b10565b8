"""The exceptions that end a command with an error.

`CommandError` carries the lines for standard error and the exit status; only `main.py` catches it.
Every refusal names what was being done, then what went wrong: `failing` adds the first part.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bellcow.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator


class CommandError(Exception):
    """Ends the command: `message` goes to standard error.

    `hint` says what to do, on lines of its own; a program called `nomad` prints none.
    """

    def __init__(self, message: str, *, status: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint


class MisuseError(CommandError):
    """The command line itself is wrong: the reason, then a pointer to the help."""


class RequestError(Exception):
    """The server refused or did not answer; then `status` is 0.

    `reason` is the server's own explanation of a missing leader.
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
    """Translate the errors of a request.

    Raises:
        CommandError: the request failed; the text begins with `prefix`.
    """
    try:
        yield
    except (RequestError, Error) as error:
        hint = error.hint if isinstance(error, RequestError) else ""
        raise CommandError(f"{prefix}{error.message}", hint=hint) from error


@contextlib.contextmanager
def in_flags() -> Iterator[None]:
    """In a refusal inside, replace the name of a URL parameter by that of the flag.

    Raises:
        RequestError: the request inside raised it.
    """
    try:
        yield
    except RequestError as error:
        error.message = error.message.replace("add ?force=true to", "add -force to")
        raise


def os_text(error: OSError) -> str:
    """The operating system's reason in Go's words: lower case."""
    return (error.strerror or str(error)).lower()


def opening(error: OSError, path: object) -> str:
    """Go's text for a `path` that cannot be opened."""
    return f"open {path}: {os_text(error)}"
