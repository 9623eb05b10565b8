"""Address templates such as `{{ GetPrivateIP }}`: text and interfaces in, text out. Pure.

The functions, their order of addresses and their odd corners are those of go-sockaddr, which Nomad
uses, in the part of Go's template language that its files use: pipes, both kinds of quotes,
parentheses, `with`, `printf`. Source: github.com/hashicorp/go-sockaddr, ifaddrs.go and rfc.go.
"""

from __future__ import annotations

import functools
import ipaddress
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bellcow.gocompat.quote import go_quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Ip = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Interface(NamedTuple):
    """One address of an interface, with its flags as the system calls them (`up`, `loopback`)."""

    name: str
    ip: Ip
    flags: frozenset[str] = frozenset({"up"})


class Network(NamedTuple):
    """All addresses of a machine, and the interface of its default route, "" without one."""

    interfaces: tuple[Interface, ...]
    default: str = ""


class TemplateError(ValueError):
    """Why a template has no value, in words that follow those of the setting."""


def _networks(*texts: str) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Blocks that no router forwards.
_KEPT_HERE = _networks(
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
_RFCS = {
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
# Flags that an interface has, and those that an address has.
_OF_INTERFACE = {
    "broadcast": "broadcast",
    "loopback": "loopback",
    "multicast": "multicast",
    "point-to-point": "pointopoint",
    "up": "up",
}
_OF_ADDRESS: dict[str, Callable[[Interface], bool]] = {
    "forwardable": lambda found: not _is_in(found, _KEPT_HERE),
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


def evaluate(template: str, network: Network) -> str:
    """The text that a template stands for. Raises TemplateError."""
    try:
        out, rest = _render(_pieces(template), network, network.interfaces)
    except RecursionError:
        raise TemplateError("nested too deeply") from None
    if rest:
        raise TemplateError("unexpected {{end}}")
    return out


def private_interfaces(network: Network) -> tuple[Interface, ...]:
    """Private addresses that routers forward, of the default route's interface first."""
    return tuple(found for found in _reachable(network) if _is_in(found, _RFCS["6890"]))


def _reachable(network: Network) -> list[Interface]:
    found = _by_flags("forwardable", network.interfaces, True)
    return _sorted("default,type,size", _by_flags("up", found, True), network)


def _is_in(found: Interface, blocks: Sequence[Any]) -> bool:
    """Nomad: the whole network of the address counts, not the address alone."""
    version, network = found.ip.version, found.ip.network
    return any(block.version == version and network.subnet_of(block) for block in blocks)


# The language


_PIECE = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>[+-]?\d+)'
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>[|().]))"
)


_ESCAPES = {"n": "\n", "t": "\t"}
_SHOWN_CHARS = 200  # of what is quoted in a refusal


class _Action(NamedTuple):
    """What stands between two pairs of braces, as tokens: kind and text."""

    tokens: tuple[tuple[str, str], ...]

    @property
    def word(self) -> str:
        return self.tokens[0][1] if self.tokens and self.tokens[0][0] == "name" else ""


def _pieces(template: str) -> list[str | _Action]:
    out: list[str | _Action] = []
    at, trim = 0, False
    for found in _PIECE.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if trim else text
        out.append(text.rstrip() if found[1] else text)
        out.append(_Action(_tokens(found[2])))
        at, trim = found.end(), bool(found[3])
    out.append(template[at:].lstrip() if trim else template[at:])
    if any(isinstance(piece, str) and "{{" in piece for piece in out):
        raise TemplateError("unclosed action")
    return out


def _tokens(text: str) -> tuple[tuple[str, str], ...]:
    out = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise TemplateError(f"unexpected {_quoted(text[at:])} in command")
        out.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tuple(out)


def _render(
    pieces: list[str | _Action], network: Network, dot: Any
) -> tuple[str, list[str | _Action]]:
    """The text up to the end of a block, and the pieces from its `else` or `end` on."""
    out = []
    while pieces:
        piece, *rest = pieces
        if isinstance(piece, str):
            out.append(piece)
            pieces = rest
        elif piece.word in {"end", "else"}:
            return "".join(out), pieces
        elif piece.word == "with":
            text, pieces = _with(piece, rest, network, dot)
            out.append(text)
        else:
            out.append(_shown(_whole(piece.tokens, network, dot)))
            pieces = rest
    return "".join(out), []


def _with(
    opening: _Action, pieces: list[str | _Action], network: Network, dot: Any
) -> tuple[str, list[str | _Action]]:
    value = _whole(opening.tokens[1:], network, dot)
    text, pieces = _render(pieces, network, value or dot)
    text = text if value else ""
    if pieces and isinstance(pieces[0], _Action) and pieces[0].word == "else":
        other, pieces = _render(pieces[1:], network, dot)
        text = text if value else other
    if not pieces:
        raise TemplateError("unexpected EOF: with needs an {{end}}")
    return text, pieces[1:]


def _whole(tokens: Sequence[tuple[str, str]], network: Network, dot: Any) -> Any:
    """The value of all that stands in an action."""
    left = list(tokens)
    value = _pipeline(left, network, dot)
    if left:
        raise TemplateError(f"unexpected {_quoted(left[0][1])} in command")
    return value


def _pipeline(tokens: list[tuple[str, str]], network: Network, dot: Any) -> Any:
    """The value of commands joined by pipes; each takes the one before as its last argument."""
    value = _command(tokens, network, dot, ())
    while tokens and tokens[0] == ("sign", "|"):
        tokens.pop(0)
        value = _command(tokens, network, dot, (value,))
    return value


def _command(
    tokens: list[tuple[str, str]], network: Network, dot: Any, piped: tuple[Any, ...]
) -> Any:
    if not tokens:
        raise TemplateError("missing value for command")
    kind, name = tokens[0]
    if kind != "name":
        if piped:
            raise TemplateError(f"{_quoted(name)} is no function, and a pipe leads to it")
        return _operand(tokens, network, dot)
    tokens.pop(0)
    arguments = []
    while tokens and tokens[0] not in {("sign", "|"), ("sign", ")")}:
        arguments.append(_operand(tokens, network, dot))
    return _call(name, [*arguments, *piped], network)


def _operand(tokens: list[tuple[str, str]], network: Network, dot: Any) -> Any:
    kind, text = tokens.pop(0)
    if kind == "raw":
        return text[1:-1]
    if kind == "text":
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])
    if kind == "number":
        return int(text)
    if kind == "name":
        return _call(text, [], network)
    if text == ".":
        return dot
    if text != "(":
        raise TemplateError(f"unexpected {_quoted(text)} in command")
    value = _pipeline(tokens, network, dot)
    if not tokens or tokens.pop(0) != ("sign", ")"):
        raise TemplateError("unclosed left paren")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        raise TemplateError('interfaces are no address: end with attr "address"')
    return str(value)


# The functions


def _call(name: str, given: list[Any], network: Network) -> Any:
    if name not in _FUNCTIONS:
        raise TemplateError(f"template: sockaddr.Parse:1: function {_quoted(name)} not defined")
    wanted, function = _FUNCTIONS[name]
    if name != "printf" and not (
        len(given) == len(wanted)
        and all(isinstance(value, kind) for value, kind in zip(given, wanted, strict=True))
    ):
        words = {str: "a text", int: "a number", tuple: "interfaces"}
        asked = ", ".join(words[kind] for kind in wanted) or "nothing"
        raise TemplateError(f"{name} wants {asked}")
    try:
        value = function(network, *given)
    except re.error as error:
        raise TemplateError(f"{name}: error parsing regexp: {error}") from None
    return tuple(value) if isinstance(value, list) else value


def _chosen(selector: str, parameter: str, interfaces: Any, keep: bool) -> Any:
    selector = selector.lower()
    if selector in {"flag", "flags"}:
        return _by_flags(parameter, interfaces, keep)
    if selector not in _SELECTORS:
        raise TemplateError(f"invalid {'include' if keep else 'exclude'} selector {selector!r}")
    tests = _SELECTORS[selector](parameter)
    # Nomad: an address is kept once for each alternative that wants it.
    return [found for test in tests for found in interfaces if test(found) is keep]


def _by_rfc(parameter: str) -> list[Callable[[Interface], bool]]:
    unknown = [name for name in parameter.split("|") if name not in _RFCS]
    if unknown:
        raise TemplateError(f"unsupported RFC {_quoted(unknown[0])}")
    return [functools.partial(_is_in, blocks=_RFCS[name]) for name in parameter.split("|")]


def _by_network(parameter: str) -> list[Callable[[Interface], bool]]:
    try:
        blocks = [ipaddress.ip_network(text, strict=False) for text in parameter.split("|")]
    except ValueError:
        raise TemplateError(f"unable to create an IP address from {_quoted(parameter)}") from None
    return [functools.partial(_is_in, blocks=(block,)) for block in blocks]


def _by_type(parameter: str) -> list[Callable[[Interface], bool]]:
    kinds = parameter.lower().split("|")
    unknown = [kind for kind in kinds if kind not in {"ip", "ipv4", "ipv6"}]
    if unknown:
        raise TemplateError(f"unsupported type {_quoted(unknown[0])}")
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


def _by_flags(parameter: str, interfaces: Sequence[Interface], keep: bool) -> list[Interface]:
    """Nomad: all flags of the interface, or any one of the address."""
    names = parameter.lower().split("|")
    unknown = [name for name in names if name not in {*_OF_INTERFACE, *_OF_ADDRESS}]
    if unknown:
        raise TemplateError(f"unknown interface flag: {_quoted(unknown[0])}")
    flags = {_OF_INTERFACE[name] for name in names if name in _OF_INTERFACE}
    tests = [_OF_ADDRESS[name] for name in names if name in _OF_ADDRESS]
    return [
        found
        for found in interfaces
        if ((bool(flags) and flags <= found.flags) or any(test(found) for test in tests)) is keep
    ]


def _sorted(clauses: str, interfaces: Sequence[Interface], network: Network) -> list[Interface]:
    out = list(interfaces)
    for clause in reversed(clauses.lower().split(",")):  # the last clause decides least
        name = clause.strip().lstrip("+-")
        if name not in _ORDERS:
            raise TemplateError(f"unknown sort type: {_quoted(clause)}")
        rank, falls = _ORDERS[name], clause.strip().startswith("-")
        ranked = [(rank(found, network), found) for found in out]
        ranked.sort(key=operator.itemgetter(0), reverse=falls)
        out = [found for _, found in ranked]
    return out


_ORDERS: dict[str, Callable[[Interface, Network], Any]] = {
    "address": lambda found, _: (found.ip.version, int(found.ip.ip)),
    "default": lambda found, network: found.name != network.default,
    "name": lambda found, _: found.name,
    "private": lambda found, _: not _is_in(found, _RFCS["6890"]),
    "size": lambda found, _: found.ip.network.prefixlen,  # the largest network first
    "type": lambda found, _: found.ip.version,
}


def _attribute(name: str, found: Interface) -> str:
    if name.lower() not in _ATTRIBUTES:
        raise TemplateError(f"unsupported attribute name {_quoted(name)}")
    return _ATTRIBUTES[name.lower()](found)


def _attr(_: Network, name: str, interfaces: tuple[Interface, ...]) -> str:
    return _attribute(name, interfaces[0]) if interfaces else ""


def _join(_: Network, name: str, between: str, interfaces: tuple[Interface, ...]) -> str:
    return between.join(_attribute(name, found) for found in interfaces)


def _unique(_: Network, name: str, interfaces: tuple[Interface, ...]) -> list[Interface]:
    """Nomad: only neighbors are compared."""
    return [
        found
        for at, found in enumerate(interfaces)
        if not at or _attribute(name, interfaces[at - 1]) != _attribute(name, found)
    ]


def _offset(_: Network, offset: int, interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
    if abs(offset) > len(interfaces):
        raise TemplateError(f"offset {offset} is past the end of {len(interfaces)} interfaces")
    return interfaces[offset:]


def _addresses(interfaces: Sequence[Interface]) -> str:
    return " ".join(str(found.ip.ip) for found in interfaces)


def _of_interface(network: Network, name: str) -> list[Interface]:
    """Nomad: the name is a regular expression that may match anywhere."""
    named = [found for found in network.interfaces if re.search(name, found.name)]
    return _sorted("type,size", named, network)


def _default_interfaces(network: Network) -> list[Interface]:
    if not network.default:
        raise TemplateError("no default interface found")
    return [found for found in network.interfaces if found.name == network.default]


def _public(network: Network) -> list[Interface]:
    return [found for found in _reachable(network) if not _is_in(found, _RFCS["6890"])]


def _all_private(network: Network) -> list[Interface]:
    found = _sorted("type,size", network.interfaces, network)
    return [one for one in found if _is_in(one, _RFCS["6890"]) and not _is_in(one, _KEPT_HERE)]


def _all_public(network: Network) -> list[Interface]:
    found = _sorted("type,size", network.interfaces, network)
    return [one for one in found if not _is_in(one, _RFCS["6890"])]


def _printf(_: Network, form: str, *values: Any) -> str:
    left = list(values)

    def filled(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if not left:
            raise TemplateError(f"printf has too few values for {_quoted(form)}")
        value = _shown(left.pop(0))
        return _quoted(value) if found[1] == "q" else value

    return re.sub(r"%([svdq%])", filled, form)


_FUNCTIONS: dict[str, tuple[tuple[type, ...], Callable[..., Any]]] = {
    "GetAllInterfaces": ((), lambda network: network.interfaces),
    "GetDefaultInterfaces": ((), _default_interfaces),
    "GetPrivateInterfaces": ((), private_interfaces),
    "GetPublicInterfaces": ((), _public),
    "GetPrivateIP": ((), lambda network: _addresses(private_interfaces(network)[:1])),
    "GetPrivateIPs": ((), lambda network: _addresses(_all_private(network))),
    "GetPublicIP": ((), lambda network: _addresses(_public(network)[:1])),
    "GetPublicIPs": ((), lambda network: _addresses(_all_public(network))),
    "GetInterfaceIP": (
        (str,),
        lambda network, name: _addresses(
            _by_flags("forwardable", _of_interface(network, name), True)[:1]
        ),
    ),
    "GetInterfaceIPs": ((str,), lambda network, name: _addresses(_of_interface(network, name))),
    "include": (
        (str, str, tuple),
        lambda _, name, what, found: _chosen(name, what, found, True),
    ),
    "exclude": (
        (str, str, tuple),
        lambda _, name, what, found: _chosen(name, what, found, False),
    ),
    "sort": ((str, tuple), lambda network, by, found: _sorted(by, found, network)),
    "attr": ((str, tuple), _attr),
    "join": ((str, str, tuple), _join),
    "limit": ((int, tuple), lambda _, most, found: found[: max(most, 0)]),
    "offset": ((int, tuple), _offset),
    "unique": ((str, tuple), _unique),
    "printf": ((str,), _printf),
}


def _quoted(text: str) -> str:
    return go_quote(text, _SHOWN_CHARS)
