"""What is looked at before any route: whose name the request calls us by, where it comes from, and
which token it carries.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bellcow.errors import Code, Error, denied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.api.message import Request

KNOWN_HOSTS_LIMIT = 1_000


class Guards:
    """Host and Origin rules of one server.

    On a loopback listener a page of another site could reach us by a name that resolves to us (DNS
    rebinding), so only our own names are taken. With ACLs off no token protects a change, so one
    that comes from another site's page is refused.
    """

    def __init__(self, *, loopback_only: bool, names: Iterable[str], acl_enabled: bool) -> None:
        self._loopback_only = loopback_only
        self._names = {name.lower() for name in names} | {"localhost"}
        self._acl_enabled = acl_enabled
        self._known: set[bytes] = set()

    def check(self, request: Request) -> None:
        """Raise Error(MISDIRECTED) or Error(DENIED) when the request must not go on."""
        host = request.header(b"host")
        # HTTP/1.0 knows requests without it: old health checks send them, browsers never do.
        if self._loopback_only and host is not None:
            self._check_host(host)
        if request.method not in {"GET", "HEAD"} and not self._acl_enabled:
            self._check_origin(request)

    def _check_host(self, host: bytes) -> None:
        if host in self._known:
            return
        name = _host_name(host.decode("latin-1"))
        if name not in self._names and not _is_ip(name):
            raise Error(
                Code.MISDIRECTED,
                f'"{_printable(name[:64])}" is not a name of this server; '
                "http_allowed_hosts in its configuration allows more",
            )
        if len(self._known) < KNOWN_HOSTS_LIMIT:
            self._known.add(host)

    def _check_origin(self, request: Request) -> None:
        origin = request.header(b"origin")
        if origin is None:
            return
        host = (request.header(b"host") or b"").decode("latin-1").lower()
        if urlsplit(origin.decode("latin-1")).netloc.lower() != host:
            raise denied("cross-site request refused: a page of another site may not change this")


def secret_of(request: Request) -> str:
    """The token a request carries, "" for none. Two that disagree are refused."""
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
    """The name in a Host header, without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
