"""The ports between servers: what protects them, and where they listen.

Nothing proves who calls without certificates or a key. Then these ports stay on the loopback
interface, and a server that needs others elsewhere does not start. It opens no socket.
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
    """What a caller of these ports must show. The operator's certificates win over the key."""
    if settings.tls.rpc:
        return "certificates"
    return "key" if keyring.is_there(settings) else "none"


def are_open(settings: Settings, addresses: Addresses) -> bool:
    """Whether anybody who reaches these ports may pass for a server, from another machine too."""
    hosts = (addresses.rpc_bind[0], addresses.serf_bind[0])
    return protection(settings) == "none" and not all(map(is_loopback, hosts))


def listening(settings: Settings, addresses: Addresses) -> Addresses:
    """The addresses with those of these ports moved to loopback where nothing protects them."""
    if protection(settings) != "none" or settings.server.open_peers:
        return addresses
    return addresses._replace(
        rpc_bind=_closed(addresses.rpc_bind), serf_bind=_closed(addresses.serf_bind)
    )


def are_closed(settings: Settings, addresses: Addresses) -> bool:
    """Whether nobody on another machine reaches these ports, and nobody there is to be called."""
    hosts = (addresses.rpc_bind[0], addresses.serf_bind[0])
    return protection(settings) == "none" and all(map(is_loopback, hosts))


def waits_in_vain(settings: Settings, addresses: Addresses) -> tuple[str, str]:
    """The setting that needs servers on other machines, and how; empty where all is well.

    `addresses` are those that the settings ask for, before `listening` has closed any.
    """
    if protection(settings) != "none" or settings.server.open_peers:
        return "", ""
    # What can be no name is refused elsewhere, without its text: cloud auto-join carries secrets.
    joins = (host for host, _ in join_addresses(settings) if not host_fault(host))
    if abroad := next((host for host in joins if not is_loopback(host)), ""):
        return "server.server_join", f"is to join {abroad}"
    if settings.server.bootstrap_expect > 1 and are_open(settings, addresses):
        count = settings.server.bootstrap_expect
        return "server.bootstrap_expect", f"expects {count} servers (bootstrap_expect)"
    return "", ""


def refusal(why: str, key: str) -> tuple[str, ...]:
    """Why a server that `why` does not start, and what to paste. `key` is a fresh one."""
    return (
        (
            f"this server {why}, and nothing protects the ports between servers: whoever reached "
            "them could read and replace the whole state"
        ),
        (
            "Give all servers one key. This line goes into the `server` block of each, with the "
            "same key, or -encrypt=KEY onto the command line:"
        ),
        f'    encrypt = "{key}"',
        (
            "Certificates do as well: tls { rpc = true }. open_peers = true in the `server` block "
            "leaves the ports open, where only servers reach them."
        ),
    )


def _closed(address: Address) -> Address:
    host, port = address
    if is_loopback(host):
        return address
    return LOOPBACK[6 if ":" in host else 4], port


def is_loopback(host: str) -> bool:
    """By what is written. A name but `localhost` is not: it may mean something else elsewhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hosts_of(addresses: Addresses, machine: Machine, name: str) -> Iterator[str]:
    """Every address and name under which other servers may call this one or hear from it.

    `name` is that of the machine. Addresses that mean something on one link only are left out.
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
