"""The addresses of a machine as go-sockaddr selects and sorts them. Pure.

Source: github.com/hashicorp/go-sockaddr, ifaddrs.go and rfc.go.
"""

from __future__ import annotations

import functools
import ipaddress
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bellcow.gocompat.quote import go_quote
from bellcow.gocompat.sockaddr_networks import NOT_FORWARDED, RFC_BLOCKS, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Ip = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Interface(NamedTuple):
    """One address of an interface, with the system's flags of the interface (`up`, `loopback`)."""

    name: str
    ip: Ip
    flags: frozenset[str] = frozenset({"up"})


class TemplateError(ValueError):
    """Why a template cannot be evaluated; the text follows the name of the setting."""


# Flags of an interface, as the system names them, and flags of an address.
_OF_INTERFACE = {
    "broadcast": "broadcast",
    "loopback": "loopback",
    "multicast": "multicast",
    "point-to-point": "pointopoint",
    "up": "up",
}
_OF_ADDRESS: dict[str, Callable[[Interface], bool]] = {
    "forwardable": lambda found: not is_in(found, NOT_FORWARDED),
    "global unicast": lambda found: (
        not (
            found.ip.is_loopback
            or found.ip.is_link_local
            or found.ip.is_multicast
            or found.ip.is_unspecified
        )
    ),
    "link-local unicast": lambda found: found.ip.is_link_local,
    "loopback": lambda found: found.ip.is_loopback,
    "multicast": lambda found: found.ip.is_multicast,
    "unspecified": lambda found: found.ip.is_unspecified,
}
_ATTRIBUTES: dict[str, Callable[[Interface], str]] = {
    "address": lambda found: str(found.ip.ip),
    "flags": lambda found: "|".join(sorted(found.flags)),
    "host": lambda found: str(found.ip.ip),
    "mask_bits": lambda found: str(found.ip.network.prefixlen),
    "name": lambda found: found.name,
    "netmask": lambda found: str(found.ip.netmask),
    "network": lambda found: str(found.ip.network),
    "size": lambda found: str(found.ip.network.num_addresses),
    "string": lambda found: str(found.ip),
    "type": lambda found: f"IPv{found.ip.version}",
}


def private_interfaces(network: Network) -> tuple[Interface, ...]:
    """Private addresses that routers forward, those of the default interface first."""
    return tuple(found for found in _reachable(network) if is_in(found, RFC_BLOCKS["6890"]))


def _reachable(network: Network) -> list[Interface]:
    found = by_flags("forwardable", network.interfaces, True)
    return sort_interfaces("default,type,size", by_flags("up", found, True), network)


def is_in(found: Interface, blocks: Sequence[Any]) -> bool:
    """Nomad: the network of the address must be within a block, not the address alone."""
    version, network = found.ip.version, found.ip.network
    return any(block.version == version and network.subnet_of(block) for block in blocks)


SHOWN_CHARS = 200  # of quoted input in a refusal


def select(selector: str, parameter: str, interfaces: Any, keep: bool) -> Any:
    """The interfaces that match the selector, or those that do not.

    Raises:
        TemplateError: the selector or its parameter is unknown.
    """
    selector = selector.lower()
    if selector in {"flag", "flags"}:
        return by_flags(parameter, interfaces, keep)
    if selector not in _SELECTORS:
        raise TemplateError(f"invalid {'include' if keep else 'exclude'} selector {selector!r}")
    tests = _SELECTORS[selector](parameter)
    # Nomad: an address is returned once for each alternative that it matches.
    return [found for test in tests for found in interfaces if test(found) is keep]


def _by_rfc(parameter: str) -> list[Callable[[Interface], bool]]:
    unknown = [name for name in parameter.split("|") if name not in RFC_BLOCKS]
    if unknown:
        raise TemplateError(f"unsupported RFC {quoted(unknown[0])}")
    return [functools.partial(is_in, blocks=RFC_BLOCKS[name]) for name in parameter.split("|")]


def _by_network(parameter: str) -> list[Callable[[Interface], bool]]:
    try:
        blocks = [ipaddress.ip_network(text, strict=False) for text in parameter.split("|")]
    except ValueError:
        raise TemplateError(f"unable to create an IP address from {quoted(parameter)}") from None
    return [functools.partial(is_in, blocks=(block,)) for block in blocks]


def _by_type(parameter: str) -> list[Callable[[Interface], bool]]:
    kinds = parameter.lower().split("|")
    unknown = [kind for kind in kinds if kind not in {"ip", "ipv4", "ipv6"}]
    if unknown:
        raise TemplateError(f"unsupported type {quoted(unknown[0])}")
    return [functools.partial(_is_of_type, kind) for kind in kinds]


def _is_of_type(kind: str, found: Interface) -> bool:
    return f"ipv{found.ip.version}".startswith(kind)


def _by_size(parameter: str) -> list[Callable[[Interface], bool]]:
    return [lambda found: str(found.ip.network.prefixlen) == parameter]


_SELECTORS: dict[str, Callable[[str], list[Callable[[Interface], bool]]]] = {
    "address": lambda text: [lambda found: bool(re.search(text, str(found.ip)))],
    "name": lambda text: [lambda found: bool(re.search(text, found.name))],
    "network": _by_network,
    "rfc": _by_rfc,
    "rfcs": _by_rfc,
    "size": _by_size,
    "type": _by_type,
}


def by_flags(parameter: str, interfaces: Sequence[Interface], keep: bool) -> list[Interface]:
    """The interfaces with the named flags, or without them.

    Nomad: the interface needs all of its named flags, or the address any of its own.

    Raises:
        TemplateError: a flag is unknown.
    """
    names = parameter.lower().split("|")
    unknown = [name for name in names if name not in {*_OF_INTERFACE, *_OF_ADDRESS}]
    if unknown:
        raise TemplateError(f"unknown interface flag: {quoted(unknown[0])}")
    flags = {_OF_INTERFACE[name] for name in names if name in _OF_INTERFACE}
    tests = [_OF_ADDRESS[name] for name in names if name in _OF_ADDRESS]
    return [
        found
        for found in interfaces
        if ((bool(flags) and flags <= found.flags) or any(test(found) for test in tests)) is keep
    ]


def sort_interfaces(
    clauses: str, interfaces: Sequence[Interface], network: Network
) -> list[Interface]:
    """The interfaces in the order of the clauses, such as `type,-size`.

    Raises:
        TemplateError: a clause is unknown.
    """
    out = list(interfaces)
    for clause in reversed(clauses.lower().split(",")):  # sorts are stable: the last clause first
        name = clause.strip().lstrip("+-")
        if name not in _ORDERS:
            raise TemplateError(f"unknown sort type: {quoted(clause)}")
        rank, falls = _ORDERS[name], clause.strip().startswith("-")
        ranked = [(rank(found, network), found) for found in out]
        ranked.sort(key=operator.itemgetter(0), reverse=falls)
        out = [found for _, found in ranked]
    return out


_ORDERS: dict[str, Callable[[Interface, Network], Any]] = {
    "address": lambda found, _: (found.ip.version, int(found.ip.ip)),
    "default": lambda found, network: found.name != network.default,
    "name": lambda found, _: found.name,
    "private": lambda found, _: not is_in(found, RFC_BLOCKS["6890"]),
    "size": lambda found, _: found.ip.network.prefixlen,  # the largest network first
    "type": lambda found, _: found.ip.version,
}


def attribute(name: str, found: Interface) -> str:
    """One attribute of an interface as text.

    Raises:
        TemplateError: the attribute is unknown.
    """
    if name.lower() not in _ATTRIBUTES:
        raise TemplateError(f"unsupported attribute name {quoted(name)}")
    return _ATTRIBUTES[name.lower()](found)


def public_interfaces(network: Network) -> list[Interface]:
    return [found for found in _reachable(network) if not is_in(found, RFC_BLOCKS["6890"])]


def quoted(text: str) -> str:
    return go_quote(text, SHOWN_CHARS)
