"""Checks before any route: the Host and Origin of a request, and the token that it carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bellcow.config.joins import is_ip
from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.api.message import Request

KNOWN_HOSTS_LIMIT = 1_000

# The whole header must match. Source: RFC 9110 section 7.2, RFC 6454 section 7.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\]|[^][:/?#@,\s]+)(?::[0-9]{0,5})?", re.ASCII)
_ORIGIN = re.compile(r"https?://([^/?#@\s]+)", re.ASCII | re.IGNORECASE)


class Guards:
    """Host and Origin rules of one server.

    On a loopback listener a page of another site could reach us by a name that resolves to us (DNS
    rebinding), so only our own names are accepted. Another site's page can make a browser ask for a
    change without a token, and with ACLs on the anonymous policy may allow it: a change from
    another origin is refused. A browser sends a token for such a page only after asking us.
    """

    def __init__(self, *, loopback_only: bool, names: Iterable[str]) -> None:
        self._loopback_only = loopback_only
        self._names = {name.lower() for name in names} | {"localhost"}
        self._known: set[bytes] = set()

    def check(self, request: Request) -> None:
        """Check the names that a browser sends.

        Raises:
            Error: MISDIRECTED, the Host is foreign; DENIED, the Origin is.
        """
        host = request.header(b"host")
        # HTTP/1.0 allows requests without it: old health checks send them, browsers never do.
        if self._loopback_only and host is not None:
            self._check_host(host)
        if request.method not in {"GET", "HEAD"}:
            self._check_origin(request)

    def _check_host(self, host: bytes) -> None:
        if host in self._known:
            return
        text = host.decode("latin-1")
        name = _host_name(text)
        if name not in self._names and not is_ip(name):
            raise Error(
                Code.MISDIRECTED,
                f'"{_printable((name or text)[:64])}" is not a name of this server; '
                "http_allowed_hosts in its configuration allows more",
            )
        if len(self._known) < KNOWN_HOSTS_LIMIT:
            self._known.add(host)

    def _check_origin(self, request: Request) -> None:
        origin = request.header(b"origin")
        if origin is None:
            return
        host = (request.header(b"host") or b"").decode("latin-1").lower()
        if not _is_of(host, origin.decode("latin-1")) and not secret_of(request):
            raise denied("cross-site request refused: a page of another site may not change this")


def refuse_page(request: Request) -> None:
    """Refuse a request that a web page sends to the port between servers.

    Browsers name the page's origin with every POST; servers have none.

    Raises:
        denied: the request has an origin.
    """
    if request.header(b"origin") is not None:
        raise denied("a web page may not speak to the port between servers")


def secret_of(request: Request) -> str:
    """The token a request carries, "" for none.

    Raises:
        denied: it carries two that differ.
    """
    secret = ""
    for name, value in request.headers:
        if name == b"x-nomad-token":
            found = value.strip()
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            found = value[7:].strip()
        else:
            continue
        text = found.decode("utf-8", "surrogateescape")
        if secret and text and text != secret:
            raise denied()
        secret = secret or text
    return secret


def _host_name(host: str) -> str:
    """The name in a Host header, without its port, in lower case; "" when malformed."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").lower() if found else ""


def _is_of(host: str, origin: str) -> bool:
    """Whether the origin is the host, in lower case, that the request was sent to."""
    found = _ORIGIN.fullmatch(origin)
    return found is not None and found[1].lower() == host


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
