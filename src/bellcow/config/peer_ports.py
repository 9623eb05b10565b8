"""The protection of the ports between servers, and the addresses they listen on.

Without certificates or a key a caller proves nothing. Then these ports listen on loopback only, and
a server that expects or joins servers on other machines does not start. No socket is opened.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Literal, TypeAlias

from bellcow.config import keyring
from bellcow.config.derive import join_addresses
from bellcow.config.joins import host_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bellcow.config.addresses import Address, Addresses, Machine
    from bellcow.config.model import Settings

Protection: TypeAlias = Literal["certificates", "key", "none"]
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def protection(settings: Settings) -> Protection:
    """How callers of these ports are authenticated. The operator's certificates win over the
    key.
    """
    if settings.tls.rpc:
        return "certificates"
    return "key" if keyring.exists(settings) else "none"


def are_open(settings: Settings, addresses: Addresses) -> bool:
    """Whether these ports accept unauthenticated callers from other machines."""
    hosts = (addresses.rpc_bind[0], addresses.serf_bind[0])
    return protection(settings) == "none" and not all(map(is_loopback, hosts))


def listening(settings: Settings, addresses: Addresses) -> Addresses:
    """The addresses; unprotected ports between servers are moved to loopback."""
    if protection(settings) != "none" or settings.server.open_peers:
        return addresses
    return addresses._replace(
        rpc_bind=_closed(addresses.rpc_bind), serf_bind=_closed(addresses.serf_bind)
    )


def are_closed(settings: Settings, addresses: Addresses) -> bool:
    """Whether these ports are unprotected and on loopback only."""
    hosts = (addresses.rpc_bind[0], addresses.serf_bind[0])
    return protection(settings) == "none" and all(map(is_loopback, hosts))


def needs_other_machines(settings: Settings, addresses: Addresses) -> tuple[str, str]:
    """The setting that needs servers on other machines, and why; ("", "") if there is none.

    `addresses` are those of the settings, before `listening` has moved any.
    """
    if protection(settings) != "none" or settings.server.open_peers:
        return "", ""
    # Malformed names are refused elsewhere, without their text: cloud auto-join carries secrets.
    joins = (host for host, _ in join_addresses(settings) if not host_fault(host))
    if abroad := next((host for host in joins if not is_loopback(host)), ""):
        return "server.server_join", f"is to join {abroad}"
    if settings.server.bootstrap_expect > 1 and are_open(settings, addresses):
        count = settings.server.bootstrap_expect
        return "server.bootstrap_expect", f"expects {count} servers (bootstrap_expect)"
    return "", ""


def refusal(why: str, key: str) -> tuple[str, ...]:
    """Why such a server does not start, and the lines to paste. `key` is a new random key."""
    return (
        (
            f"this server {why}, and nothing protects the ports between servers: anyone who "
            "reaches them could read and replace the whole state"
        ),
        (
            "Give all servers one key. This line goes into the `server` block of each, with the "
            "same key, or -encrypt=KEY onto the command line:"
        ),
        f'    encrypt = "{key}"',
        (
            "Certificates work too: tls { rpc = true }. Where only servers reach the ports, "
            "open_peers = true in the `server` block leaves them open."
        ),
    )


def _closed(address: Address) -> Address:
    host, port = address
    if is_loopback(host):
        return address
    return LOOPBACK[6 if ":" in host else 4], port


def is_loopback(host: str) -> bool:
    """Judged by the text: every name but `localhost` may resolve to another address elsewhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hosts_of(addresses: Addresses, machine: Machine, name: str) -> Iterator[str]:
    """Every address and name by which other servers may connect to this one, or see it connect.

    `name` is that of the machine. Link-local addresses are left out.
    """
    yield from LOOPBACK.values()
    yield name
    for host, _ in (addresses.rpc_adv, addresses.serf_adv, addresses.rpc_bind, addresses.serf_bind):
        yield from _specified([host])
    yield from _specified(str(found.ip.ip) for found in machine.network.interfaces)


def _specified(hosts: Iterable[str]) -> Iterator[str]:
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            yield host
            continue
        if not (address.is_unspecified or address.is_link_local):
            yield host
