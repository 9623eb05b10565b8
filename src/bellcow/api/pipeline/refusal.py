"""From errors to responses and to lines of the log, neither of which may show a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bellcow.api.errors import STATUS
from bellcow.api.message import Response
from bellcow.api.pipeline import answers
from bellcow.api.pipeline.no_leader import why_no_leader
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from bellcow.api.message import Headers, Request
    from bellcow.api.route import Route
    from bellcow.server import Server

LOGGED_CHARS = 200
MESSAGE_CHARS = 4_000
SNAPSHOTS = "/v1/operator/snapshot"
RETRY_AFTER = {Code.TOO_MANY: b"10", Code.NO_LEADER: b"1"}  # seconds

_UUID = re.compile(r"([0-9a-fA-F]{8})-[0-9a-fA-F-]+")


def refusal(server: Server, request: Request, error: Exception, extra: Headers) -> Response:
    """The response to a request that raised `error`, with the headers that every answer carries."""
    if isinstance(error, Error):
        return _refused(server, request, error, extra)
    return _failed(server, request, error, extra)


def _refused(server: Server, request: Request, error: Error, extra: Headers) -> Response:
    code, status = error.code, STATUS[error.code]
    server.report(
        "request_refused",
        method=request.method,
        path=masked(request, request.path),
        code=status,
        error=masked(request, error.message),
        client=request.client,
    )
    headers: Headers = [answers.TEXT, *extra]
    if code in RETRY_AFTER:
        headers.append((b"Retry-After", RETRY_AFTER[code]))
    if code is Code.NO_LEADER and (reason := why_no_leader(server)):
        headers.append((b"X-Bellcow-Reason", reason.encode("ascii", "replace")))
    body = (_prefix(request, error) + _visible(error.message)).encode("utf-8", "replace")
    close = code in {Code.TIMEOUT, Code.TOO_LARGE}
    response = Response(status, headers, body, close=close)
    if code in {Code.NO_LEADER, Code.UNAVAILABLE}:
        response.undone = error
    return response


def _failed(server: Server, request: Request, error: Exception, extra: Headers) -> Response:
    """A bug of ours: the log gets the traceback, the client one sentence."""
    server.report(
        "request_failed",
        method=request.method,
        path=masked(request, request.path),
        exc_info=error,
    )
    body = b"internal error; the server's log has more"
    return Response(500, [answers.TEXT, *extra], body)


def wrong_method(sibling: Route, extra: Headers) -> Response:
    """The refusal that the routes of a path declare for any other method."""
    text = sibling.wrong_method_text.encode()
    return Response(sibling.wrong_method, [answers.TEXT, *extra] if text else list(extra), text)


def masked(request: Request, text: str) -> str:
    """A text for the log. A secret sent in place of an accessor must not be found there."""
    shown = text[:LOGGED_CHARS]
    return _UUID.sub(r"\1-...", shown) if request.path.startswith("/v1/acl/token/") else shown


def _prefix(request: Request, error: Error) -> str:
    """Nomad: a plain error of another server says that it crossed servers, but for snapshots."""
    crossed = request.hops and error.code is Code.REFUSED and request.path != SNAPSHOTS
    return "rpc error: " if crossed else ""


def _visible(message: str) -> str:
    """The message cut to a length, with control characters escaped but for tabs and line ends."""
    if len(message) > MESSAGE_CHARS:
        message = f"{message[:MESSAGE_CHARS]}..."
    if message.isprintable():
        return message
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in message
    )
