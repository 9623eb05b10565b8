"""The functions of address templates, by the names that go-sockaddr gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bellcow.gocompat.sockaddr_interfaces import (
    Interface,
    TemplateError,
    attribute,
    by_flags,
    is_in,
    private_interfaces,
    public_interfaces,
    quoted,
    select,
    sort_interfaces,
)
from bellcow.gocompat.sockaddr_networks import NOT_FORWARDED, RFC_BLOCKS, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def call(name: str, given: list[Any], network: Network) -> Any:
    """The value of a function of templates.

    Raises:
        TemplateError: there is no such function, or its arguments are wrong.
    """
    if name not in _FUNCTIONS:
        raise TemplateError(f"template: sockaddr.Parse:1: function {quoted(name)} not defined")
    wanted, function = _FUNCTIONS[name]
    checked = given[:1] if name == "printf" else given  # its other arguments may be anything
    if len(checked) != len(wanted) or not all(map(isinstance, checked, wanted)):
        words = {str: "a text", int: "a number", tuple: "interfaces"}
        asked = ", ".join(words[kind] for kind in wanted) or "nothing"
        raise TemplateError(f"{name} wants {asked}")
    try:
        value = function(network, *given)
    except re.error as error:
        raise TemplateError(f"{name}: error parsing regexp: {error}") from None
    return tuple(value) if isinstance(value, list) else value


def shown(value: Any) -> str:
    """A value as text.

    Raises:
        TemplateError: it is a list of interfaces.
    """
    if isinstance(value, list | tuple):
        raise TemplateError('interfaces are no address: end with attr "address"')
    return str(value)


def _attr(_: Network, name: str, interfaces: tuple[Interface, ...]) -> str:
    return attribute(name, interfaces[0]) if interfaces else ""


def _join(_: Network, name: str, between: str, interfaces: tuple[Interface, ...]) -> str:
    return between.join(attribute(name, found) for found in interfaces)


def _unique(_: Network, name: str, interfaces: tuple[Interface, ...]) -> list[Interface]:
    """Nomad: an interface is compared with its predecessor only."""
    return [
        found
        for at, found in enumerate(interfaces)
        if not at or attribute(name, interfaces[at - 1]) != attribute(name, found)
    ]


def _offset(_: Network, offset: int, interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
    if abs(offset) > len(interfaces):
        raise TemplateError(f"offset {offset} is past the end of {len(interfaces)} interfaces")
    return interfaces[offset:]


def _addresses(interfaces: Sequence[Interface]) -> str:
    return " ".join(str(found.ip.ip) for found in interfaces)


def _of_interface(network: Network, name: str) -> list[Interface]:
    """Nomad: the name is a regular expression, and matches anywhere in it."""
    named = [found for found in network.interfaces if re.search(name, found.name)]
    return sort_interfaces("type,size", named, network)


def _default_interfaces(network: Network) -> list[Interface]:
    if not network.default:
        raise TemplateError("no default interface found")
    return [found for found in network.interfaces if found.name == network.default]


def _all_private(network: Network) -> list[Interface]:
    found = sort_interfaces("type,size", network.interfaces, network)
    return [
        one for one in found if is_in(one, RFC_BLOCKS["6890"]) and not is_in(one, NOT_FORWARDED)
    ]


def _all_public(network: Network) -> list[Interface]:
    found = sort_interfaces("type,size", network.interfaces, network)
    return [one for one in found if not is_in(one, RFC_BLOCKS["6890"])]


def _printf(_: Network, form: str, *values: Any) -> str:
    left = list(values)

    def filled(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if not left:
            raise TemplateError(f"printf has too few values for {quoted(form)}")
        value = shown(left.pop(0))
        return quoted(value) if found[1] == "q" else value

    return re.sub(r"%([svdq%])", filled, form)


_FUNCTIONS: dict[str, tuple[tuple[type, ...], Callable[..., Any]]] = {
    "GetAllInterfaces": ((), lambda network: network.interfaces),
    "GetDefaultInterfaces": ((), _default_interfaces),
    "GetPrivateInterfaces": ((), private_interfaces),
    "GetPublicInterfaces": ((), public_interfaces),
    "GetPrivateIP": ((), lambda network: _addresses(private_interfaces(network)[:1])),
    "GetPrivateIPs": ((), lambda network: _addresses(_all_private(network))),
    "GetPublicIP": ((), lambda network: _addresses(public_interfaces(network)[:1])),
    "GetPublicIPs": ((), lambda network: _addresses(_all_public(network))),
    "GetInterfaceIP": (
        (str,),
        lambda network, name: _addresses(
            by_flags("forwardable", _of_interface(network, name), True)[:1]
        ),
    ),
    "GetInterfaceIPs": ((str,), lambda network, name: _addresses(_of_interface(network, name))),
    "include": (
        (str, str, tuple),
        lambda _, name, what, found: select(name, what, found, True),
    ),
    "exclude": (
        (str, str, tuple),
        lambda _, name, what, found: select(name, what, found, False),
    ),
    "sort": ((str, tuple), lambda network, by, found: sort_interfaces(by, found, network)),
    "attr": ((str, tuple), _attr),
    "join": ((str, str, tuple), _join),
    "limit": ((int, tuple), lambda _, most, found: found[: max(most, 0)]),
    "offset": ((int, tuple), _offset),
    "unique": ((str, tuple), _unique),
    "printf": ((str,), _printf),
}
