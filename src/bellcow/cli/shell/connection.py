"""Addresses of servers, and the pool of connections to one: HTTP, HTTPS or a Unix socket.

An `ssl` context is made for https alone. An unusable address or TLS file raises CommandError.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3
import urllib3.connection
import urllib3.exceptions as urllib3_errors

from bellcow.cli.shell.errors import CommandError, opening
from bellcow.config.tls import trust_as_go_does

if TYPE_CHECKING:
    from bellcow.cli.shell.settings import Settings

CONNECT_S = 30.0


class UnixConnection(urllib3.connection.HTTPConnection):
    """HTTP over a socket in the file system."""

    path = ""

    def _new_conn(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_S)
        try:
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise urllib3_errors.NewConnectionError(self, str(error)) from error
        return sock


def split_address(address: str) -> Any:
    """The parts of the server's address.

    Raises:
        CommandError: the address is malformed, or has no host.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise CommandError(
            f"Error initializing client: invalid address '{address}': {error}"
        ) from error
    if parts.scheme in {"http", "https"} and not parts.hostname:
        raise CommandError(f"Error initializing client: invalid address '{address}': no host in it")
    return parts


def shown_address(parts: Any) -> str:
    """Scheme, host and port: the API is always at the root, and a password must not be printed."""
    where = socket_path(parts) if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{where}"


def socket_path(parts: Any) -> str:
    return f"{parts.netloc}{parts.path}"


def default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def check_tls_files(settings: Settings) -> None:
    """Nomad: unusable TLS files are refused whatever the scheme.

    Raises:
        CommandError: a file cannot be read, or one of certificate and key is missing.
    """
    if bool(settings.client_cert) != bool(settings.client_key):
        raise CommandError(
            "Error initializing client: Both client cert and client key must be provided"
        )
    for what, path in (
        ("Error loading CA File: ", settings.ca_cert),
        ("Error loading CA Path: ", settings.ca_path if not settings.ca_cert else ""),
        ("", settings.client_cert),
        ("", settings.client_key),
    ):
        if path and not os.access(path, os.R_OK):
            code = errno.EACCES if Path(path).exists() else errno.ENOENT
            problem = opening(OSError(code, os.strerror(code)), path)
            raise CommandError(f"Error initializing client: {what}{problem}")


def connection_pool(parts: Any, settings: Settings) -> urllib3.HTTPConnectionPool:
    """The connections to that address.

    Raises:
        CommandError: the scheme is unknown, or a TLS file is wrong.
    """
    if parts.scheme == "unix":
        pool = urllib3.HTTPConnectionPool("localhost")
        connection = type("Connection", (UnixConnection,), {"path": socket_path(parts)})
        pool.ConnectionCls = connection
        return pool
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(parts.hostname or "", parts.port or 80)
    if parts.scheme == "https":
        return urllib3.HTTPSConnectionPool(
            parts.hostname or "",
            parts.port or 443,
            ssl_context=_context(settings),
            server_hostname=settings.tls_server_name or parts.hostname,
            assert_hostname=False if settings.tls_skip_verify else None,
        )
    raise CommandError(
        f'Error initializing client: unsupported protocol scheme "{parts.scheme}" in '
        f"'{settings.address}': use http://, https:// or unix://"
    )


def _context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=settings.ca_cert or None,
            capath=settings.ca_path or None if not settings.ca_cert else None,
        )
        trust_as_go_does(context)
        if settings.client_cert:
            context.load_cert_chain(settings.client_cert, settings.client_key)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"Error initializing client: cannot use the TLS files: {error}"
        ) from error
    if settings.tls_skip_verify:
        # The user asked for this: a warning before every answer would not help.
        urllib3.disable_warnings(urllib3_errors.InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
