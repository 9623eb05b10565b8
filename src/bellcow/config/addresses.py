"""Where the agent listens and what it tells others: templates and names become addresses.

It looks at the machine's interfaces and at name resolution through a `Machine`, so that tests can
bring their own; it opens no socket.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from bellcow.config.problem import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bellcow.config.model import Settings

Address = tuple[str, int]
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")
_CALL = re.compile(r'\s*(\w+)(?:\s+"([^"]*)")?\s*')
_LOOPBACK = "Defaulting advertise to localhost is unsafe, please set advertise manually"


class Machine(NamedTuple):
    """The addresses of each interface that is up, and how a host name is looked up."""

    interfaces: Mapping[str, tuple[str, ...]]
    lookup: Callable[[str], tuple[str, ...]]


class Addresses(NamedTuple):
    """Host and port of each service: where it listens (`bind`), what others are told (`adv`)."""

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
    psutil: Any = importlib.import_module("psutil")  # late, and it carries no types
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    families = {socket.AF_INET, socket.AF_INET6}
    interfaces = {
        name: tuple(found.address.split("%")[0] for found in addresses if found.family in families)
        for name, addresses in psutil.net_if_addrs().items()
        if name in up
    }
    return Machine(interfaces, _lookup)


def _lookup(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def join_host_port(address: Address) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve_addresses(settings: Settings, dev: bool, machine: Machine | None = None) -> Addresses:
    """All six addresses; raises AddressError with Nomad's text for the first that cannot be had."""
    machine = machine or this_machine()
    try:
        bind = _single(settings.bind_addr or "0.0.0.0", machine)
    except ValueError as error:
        raise AddressError(f"Bind address resolution failed: {error}", "bind_addr") from None
    ports = settings.ports
    http = (_bind("http", "HTTP", settings.addresses.http, bind, machine), ports.http)
    rpc = (_bind("rpc", "RPC", settings.addresses.rpc, bind, machine), ports.rpc)
    serf = (_bind("serf", "Serf", settings.addresses.serf, bind, machine), ports.serf)
    told = settings.advertise
    # Nomad: only the first of the three messages shows what went in.
    shown = f" ({told.http}, {http[0]}, {http[1]}, {'true' if dev else 'false'})"
    return Addresses(
        http_bind=http,
        rpc_bind=rpc,
        serf_bind=serf,
        http_adv=_advertise("http", "HTTP", shown, told.http, http, dev, machine),
        rpc_adv=_advertise("rpc", "RPC", "", told.rpc, rpc, dev, machine),
        serf_adv=_advertise("serf", "Serf", "", told.serf, serf, dev, machine),
    )


def _bind(name: str, title: str, written: str, bind: str, machine: Machine) -> str:
    if not written:
        return bind
    try:
        return _single(written, machine)
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
        allowed = "set advertise { http, rpc and serf } to addresses that others can reach"
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
    private = _private(machine)
    if not private:
        raise ValueError("No private address found on this machine, please set advertise manually")
    return private[0], port


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
    """`host`, `host:port`, `[v6]:port` or a bare v6 address; raises ValueError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        return text.strip("[]"), default_port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"Error parsing advertise address {quoted(text)}: invalid port")
    return host.strip("[]"), int(port)


def _single(text: str, machine: Machine) -> str:
    """The one address that a text or template stands for."""
    out = _TEMPLATE.sub(lambda found: _call(text, found[1], machine), text)
    found = out.split(" ")
    if len(found) > 1:
        raise ValueError(f"Multiple addresses found ({quoted(out)}), please configure one.")
    if not out:
        raise ValueError("No addresses found, please configure one.")
    return out


def _call(template: str, call: str, machine: Machine) -> str:
    start = f"Unable to parse address template {quoted(template)}: "
    found = _CALL.fullmatch(call)
    name, argument = (found[1], found[2]) if found else (call.strip(), None)
    if name in {"GetInterfaceIP", "GetInterfaceIPs"} and argument is not None:
        addresses = machine.interfaces.get(argument, ())
    elif name in {"GetPrivateIP", "GetPrivateIPs"} and argument is None:
        addresses = _private(machine)
    elif name in {"GetPublicIP", "GetPublicIPs"} and argument is None:
        addresses = _public(machine)
    else:
        raise ValueError(
            f"{start}unable to parse template {quoted(template)}: "
            f"template: sockaddr.Parse:1: function {quoted(name)} not defined"
        )
    return " ".join(addresses if name.endswith("s") else addresses[:1])


def _all_v4(machine: Machine) -> list[ipaddress.IPv4Address]:
    found = [ipaddress.ip_address(text) for ips in machine.interfaces.values() for text in ips]
    return [ip for ip in found if isinstance(ip, ipaddress.IPv4Address) and not ip.is_loopback]


def _private(machine: Machine) -> tuple[str, ...]:
    return tuple(str(ip) for ip in _all_v4(machine) if ip.is_private and not ip.is_link_local)


def _public(machine: Machine) -> tuple[str, ...]:
    return tuple(str(ip) for ip in _all_v4(machine) if ip.is_global)
