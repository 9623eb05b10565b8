"""`operator api`: a request to any endpoint, with the settings of the other commands."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bellcow.cli.shell.arguments import Takes
from bellcow.cli.shell.errors import CommandError, RequestError
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.output import note, say, write_bytes
from bellcow.cli.shell.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cli.shell.client import Client
    from bellcow.cli.shell.settings import Settings

_ERRORS_FROM = 400


@command(
    "Sends a request and prints the body of the answer as it is.\n\n"
    "The method is POST when standard input is a file or a pipe, which then is the body, else GET.",
    takes=Takes(0, None, "", "<path or URL>"),
)
@flag("X", "method", "HTTP method.", into="method", default="")
@flag("H", "key: value", "A header; may be given again.", into="headers", many=True)
@flag("filter", "expression", "Filter for the answer.", into="filter_", default="")
@switch("verbose", "Print request and answer lines on standard error.")
@switch("dryrun", "Print the equivalent curl command, and send nothing.")
@switch("fail", "End with 1 when the answer is an error.")
def api(
    session: Session,
    *,
    method: str,
    headers: tuple[str, ...],
    filter_: str,
    verbose: bool,
    dryrun: bool,
    fail: bool,
    words: tuple[str, ...],
) -> None:
    client, path = _destination(session, words)
    query = {"filter": filter_} if filter_ else {}
    sent = dict(_header(text) for text in headers)
    body = None if dryrun or _is_terminal() else sys.stdin.buffer.read()
    method = method.upper() or ("GET" if _is_terminal() else "POST")
    if dryrun:
        say(_curl(method, client.url(path, query), sent, session.settings, os.environ))
        return
    if verbose:
        note(f"> {method} {client.target(path, query)} HTTP/1.1")
    try:
        answer = client.send(method, path, query=query, body=body, headers=sent, read_s=None)
    except RequestError as error:
        raise CommandError(f"Error making request: {error.message}") from error
    if verbose:
        note(f"< HTTP/1.1 {answer.status}")
        for name, value in answer.headers.items():
            note(f"< {name}: {value}")
    empty = True
    for chunk in answer.chunks():
        write_bytes(chunk)
        empty = empty and not chunk
    if empty and not verbose and answer.status >= _ERRORS_FROM:
        note(f"The answer is {answer.status}, without a text")
    if fail and answer.status >= _ERRORS_FROM:
        raise CommandError("")


def _destination(session: Session, words: tuple[str, ...]) -> tuple[Client, str]:
    """The server and path of a request: the configured server, or that of a whole URL."""
    from urllib.parse import urlsplit

    from bellcow.cli.shell.client import Client

    if not words:
        raise session.misuse("A path or URL is required")
    if len(words) > 1:
        raise session.misuse(
            f"operator api accepts exactly 1 argument, but {len(words)} arguments were found"
        )
    parts = urlsplit(words[0])
    path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    target = f"{path}?{parts.query}" if parts.query else path
    if not parts.scheme:
        return session.client, target
    address = f"{parts.scheme}://{parts.netloc}"
    return Client(replace(session.settings, address=address)), target


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise CommandError(f"Not a header: {text!r}; write it as 'Name: value'")
    return name.strip(), value.strip()


def _is_terminal() -> bool:
    """Whether standard input has no body: a terminal, or /dev/null under cron."""
    try:
        return stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):
        return True


def _curl(
    method: str,
    url: str,
    headers: dict[str, str],
    settings: Settings,
    environment: Mapping[str, str],
) -> str:
    """The same request as a curl command; secrets are named by variables, not printed."""
    parts = ["curl"]
    if method != "GET":
        parts.append(f"-X {method}")
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    if settings.token:
        parts.append(f'-H "X-Nomad-Token: ${{{_holding("TOKEN", environment)}}}"')
    if settings.http_auth:
        parts.append(f'-u "${{{_holding("HTTP_AUTH", environment)}}}"')
    parts += [
        f"--{option} {shlex.quote(path)}"
        for option, path in (
            ("cacert", settings.ca_cert),
            ("capath", "" if settings.ca_cert else settings.ca_path),
            ("cert", settings.client_cert),
            ("key", settings.client_key),
        )
        if path
    ]
    if settings.tls_skip_verify:
        parts.append("--insecure")
    if not _is_terminal():
        parts.append("--data-binary @-")
    return " \\\n  ".join([*parts, shlex.quote(url)])


def _holding(name: str, environment: Mapping[str, str]) -> str:
    """The variable that has the value; for a value from a flag, the variable to set."""
    ours, theirs = f"BELLCOW_{name}", f"NOMAD_{name}"
    return theirs if environment.get(theirs) and not environment.get(ours) else ours
