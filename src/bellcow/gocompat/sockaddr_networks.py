"""Networks that the RFCs reserve, as go-sockaddr lists them."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bellcow.gocompat.sockaddr_interfaces import Interface


class Network(NamedTuple):
    """All addresses of a machine, and the interface of its default route, "" without one."""

    interfaces: tuple[Interface, ...]
    default: str = ""


def _networks(*texts: str) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Blocks that no router forwards.
NOT_FORWARDED = _networks(
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::1/128",
    "::/128",
    "::ffff:0:0/96",
    "2001:db8::/32",
    "2001:10::/28",
    "fe80::/10",
)
RFC_BLOCKS = {
    "1918": _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "3927": _networks("169.254.0.0/16"),
    "4193": _networks("fc00::/7"),
    "5737": _networks("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    "6598": _networks("100.64.0.0/10"),
    "6890": _networks(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "::1/128",
        "::/128",
        "64:ff9b::/96",
        "::ffff:0:0/96",
        "100::/64",
        "2001::/16",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
    ),
}
