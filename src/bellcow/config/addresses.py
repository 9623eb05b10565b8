"""The addresses to listen on and to advertise, from templates, names and the machine's interfaces.

Interfaces and name resolution come through a `Machine`, which tests replace; no socket is opened.
"""

from __future__ import annotations

import importlib
import ipaddress
import socket
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bellcow.config.problem import quoted
from bellcow.gocompat.sockaddr import evaluate
from bellcow.gocompat.sockaddr_interfaces import Interface, TemplateError, private_interfaces
from bellcow.gocompat.sockaddr_networks import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bellcow.config.model import Settings

Address = tuple[str, int]
_LOOPBACK = "Defaulting advertise to localhost is unsafe, please set advertise manually"


class Machine(NamedTuple):
    """A machine's interfaces, with addresses as `10.0.0.5/24`, and how it looks up a host name.

    `default` is the interface of the default route, "" without one. `flags` are the system's flags
    of each interface; an interface without an entry is up.
    """

    interfaces: Mapping[str, tuple[str, ...]]
    lookup: Callable[[str], tuple[str, ...]]
    default: str = ""
    flags: Mapping[str, frozenset[str]] = types.MappingProxyType({})

    @property
    def network(self) -> Network:
        """The interfaces as address templates see them."""
        up = frozenset({"up"})
        return Network(
            tuple(
                Interface(name, ipaddress.ip_interface(text), self.flags.get(name, up))
                for name, texts in self.interfaces.items()
                for text in texts
            ),
            self.default,
        )


class Addresses(NamedTuple):
    """Host and port of each service: to listen on (`bind`) and to advertise (`adv`)."""

    http_bind: Address
    rpc_bind: Address
    serf_bind: Address
    http_adv: Address
    rpc_adv: Address
    serf_adv: Address


class AddressError(ValueError):
    """An address that cannot be used, with the settings it comes from."""

    def __init__(self, message: str, *keys: str, allowed: str = "") -> None:
        super().__init__(message)
        self.keys = keys
        self.allowed = allowed


def this_machine() -> Machine:
    # imported late: only servers need it; it has no types
    psutil: Any = importlib.import_module("psutil")
    flags = {
        name: frozenset(stats.flags.split(",")) for name, stats in psutil.net_if_stats().items()
    }
    found = psutil.net_if_addrs()
    return Machine(
        {name: _with_lengths(found[name]) for name in sorted(found, key=_position)},
        _lookup,
        default_interface(_routes()),
        flags,
    )


def _position(name: str) -> int:
    """The number of an interface: Nomad lists them in this order."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 1 << 31  # the interface was removed meanwhile


def _with_lengths(found: Iterable[Any]) -> tuple[str, ...]:
    out = []
    for one in found:
        address = one.address.partition("%")[0]
        if one.family == socket.AF_INET:
            out.append(str(ipaddress.ip_interface(f"{address}/{one.netmask or 32}")))
        elif one.family == socket.AF_INET6:
            mask = int(ipaddress.IPv6Address(one.netmask)) if one.netmask else (1 << 128) - 1
            out.append(f"{address}/{mask.bit_count()}")
    return tuple(out)


def _routes() -> str:
    """The kernel's table of IPv4 routes, preferred routes first; "" if it cannot be read."""
    try:
        return Path("/proc/net/route").read_text(encoding="ascii")
    except OSError:
        return ""


def default_interface(routes: str) -> str:
    """The interface of the first default route through a gateway, "" without one.

    Nomad: a default route without a gateway, as of a tunnel, does not count.
    """
    for line in routes.splitlines()[1:]:
        name, goal, gateway, *rest = line.split()
        if goal == "00000000" and rest[4] == "00000000" and gateway != "00000000":
            return name
    return ""


def _lookup(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def resolve_addresses(settings: Settings, dev: bool, machine: Machine | None = None) -> Addresses:
    """All six addresses.

    Raises:
        AddressError: one cannot be resolved; the text is Nomad's, for the first of them.
    """
    machine = machine or this_machine()
    try:
        bind = _bare(_single(settings.bind_addr or "0.0.0.0", machine))
    except ValueError as error:
        raise AddressError(f"Bind address resolution failed: {error}", "bind_addr") from None
    ports = settings.ports
    http = (_bind("http", "HTTP", settings.addresses.http, bind, machine), ports.http)
    rpc = (_bind("rpc", "RPC", settings.addresses.rpc, bind, machine), ports.rpc)
    serf = (_bind("serf", "Serf", settings.addresses.serf, bind, machine), ports.serf)
    told = settings.advertise
    # Nomad: only the first of the three messages repeats the setting.
    shown = f" ({told.http}, {http[0]}, {http[1]}, {'true' if dev else 'false'})"
    found = Addresses(
        http_bind=http,
        rpc_bind=rpc,
        serf_bind=serf,
        http_adv=_advertise("http", "HTTP", shown, told.http, http, dev, machine),
        rpc_adv=_advertise("rpc", "RPC", "", told.rpc, rpc, dev, machine),
        serf_adv=_advertise("serf", "Serf", "", told.serf, serf, dev, machine),
    )
    for name, title, (host, _) in (
        ("http", "HTTP", http),
        ("rpc", "RPC", rpc),
        ("serf", "Serf", serf),
    ):
        _check_known(name, title, host, machine)
    return found


def _check_known(name: str, title: str, host: str, machine: Machine) -> None:
    """Check that a host to listen on resolves.

    Raises:
        AddressError: it does not.
    """
    try:
        _ips(host, machine)
    except ValueError as error:
        message = f"Failed to parse {title} address: {error}"
        raise AddressError(message, f"addresses.{name}", "bind_addr") from None


def _bind(name: str, title: str, written: str, bind: str, machine: Machine) -> str:
    if not written:
        return bind
    try:
        return _bare(_single(written, machine))
    except ValueError as error:
        message = f"Failed to parse {title} address: {error}"
        raise AddressError(message, f"addresses.{name}") from None


def _advertise(
    name: str, title: str, shown: str, written: str, bind: Address, dev: bool, machine: Machine
) -> Address:
    try:
        return _told(written, bind, dev, machine)
    except ValueError as error:
        keys = (f"advertise.{name}", f"addresses.{name}", "bind_addr", f"ports.{name}")
        allowed = (
            "set advertise { http, rpc and serf } in a file to addresses that others can reach; "
            "for this machine alone start with -dev"
        )
        message = f"Failed to parse {title} advertise address{shown}: {error}"
        raise AddressError(message, *keys, allowed=allowed) from None


def _told(written: str, bind: Address, dev: bool, machine: Machine) -> Address:
    host, port = bind
    if written:
        try:
            text = _single(written, machine)
        except ValueError as error:
            raise ValueError(f"Error parsing advertise address template: {error}") from None
        return split_host_port(text, port)
    for found in _ips(host, machine):
        if found.is_loopback and not dev:
            raise ValueError(_LOOPBACK)
        if not found.is_unspecified and not found.is_multicast:
            return str(found), port
    private = _default_address(machine.network, host)
    if not private:
        raise ValueError("No private address found on this machine, please set advertise manually")
    return private, port


def _default_address(network: Network, bind: str) -> str:
    """The address to advertise when the agent listens on all; "" without any.

    Nomad takes an IPv6 address even when it listens on IPv4 only, which no peer can reach. Here
    addresses that no router forwards come before that, such as those of a test network.
    """
    private = private_interfaces(network)
    if bind == "0.0.0.0":
        private = tuple(found for found in private if found.ip.version == 4)
        private += tuple(
            found
            for found in sorted(network.interfaces, key=lambda one: one.name != network.default)
            if found.ip.version == 4
            and found.ip.is_private
            and not (found.ip.is_loopback or found.ip.is_link_local)
            and "up" in found.flags
        )
    return str(private[0].ip.ip) if private else ""


def _ips(host: str, machine: Machine) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        return [ipaddress.ip_address(found) for found in machine.lookup(host)]
    except OSError:
        bad = f"Error resolving bind address {quoted(host)}: lookup {host}: no such host"
        raise ValueError(bad) from None


def split_host_port(text: str, default_port: int) -> Address:
    """Split `host`, `host:port`, `[v6]:port` or a bare v6 address.

    Raises:
        ValueError: the port is no number up to 65535.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        return text.strip("[]"), default_port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"Error parsing advertise address {quoted(text)}: invalid port")
    return host.strip("[]"), int(port)


def _single(text: str, machine: Machine) -> str:
    """The one address that a text or template evaluates to, without brackets.

    Raises:
        ValueError: the template is malformed, or evaluates to none or to several.
    """
    out = text
    if "{{" in text:
        try:
            out = evaluate(text, machine.network)
        except TemplateError as error:
            start = f"Unable to parse address template {quoted(text)}"
            raise ValueError(f"{start}: unable to parse template {quoted(text)}: {error}") from None
    found = out.split(" ")
    if len(found) > 1:
        raise ValueError(f"Multiple addresses found ({quoted(out)}), please configure one.")
    if not out:
        raise ValueError("No addresses found, please configure one.")
    return out


def _bare(host: str) -> str:
    """A host without the brackets around an IPv6 address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host
