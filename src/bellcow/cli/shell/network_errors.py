"""Failures below HTTP, in the words of Go's client where scripts match on them."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import urllib3.exceptions as urllib3_errors

from bellcow.cli.shell.errors import os_text

if TYPE_CHECKING:
    from collections.abc import Iterator

# OpenSSL's numbers for a certificate whose authority is not trusted.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})
_AUTHORITY_HINT = "; -ca-cert, or BELLCOW_CACERT, names the authority that signed the server"


def network_reason(error: BaseException, where: str) -> str:
    """The cause of a failed request; `where` is what was dialed, as Go names it."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, urllib3_errors.NameResolutionError | socket.gaierror):
            host = where.removeprefix("tcp ").rsplit(":", 1)[0]
            return f"dial tcp: lookup {host}: no such host"
        if type(cause) is urllib3_errors.ConnectTimeoutError:
            return f"dial {where}: i/o timeout"
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = _AUTHORITY_HINT if cause.verify_code in _UNKNOWN_AUTHORITY else ""
            return f"x509: {cause.verify_message}{hint}"
        if isinstance(cause, ssl.SSLError):
            return _tls_reason(cause)
        if isinstance(cause, urllib3_errors.ReadTimeoutError):
            return "i/o timeout: the server received the request and did not answer"
    connecting = any(isinstance(cause, urllib3_errors.NewConnectionError) for cause in chain)
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno:
            return f"dial {where}: connect: {os_text(cause)}" if connecting else os_text(cause)
    if any(isinstance(cause, http.client.RemoteDisconnected) for cause in chain):
        return "EOF"
    if any(isinstance(cause, http.client.IncompleteRead) for cause in chain):
        return "unexpected EOF"
    return str(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "http: server gave HTTP response to HTTPS client"
    return f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it wraps, and what that wraps."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else None
        args = [one for one in error.args if isinstance(one, BaseException)]
        error = inner or error.__cause__ or (args[0] if args else None) or error.__context__
