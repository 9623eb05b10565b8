"""The text that a starting agent prints: its addresses, and what to type next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import bellcow
from bellcow.config.peer_ports import are_open
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from bellcow.config.addresses import Address, Addresses
    from bellcow.config.model import Settings

WIDTH = 18


def say(text: Iterable[str], out: TextIO | None = None) -> None:
    """Write lines and flush; to standard output by default.

    Nomad: scripts that start the program as `nomad` may wait for a line with "Nomad agent".
    """
    out = out or sys.stdout
    product = "Nomad" if Path(sys.argv[0]).name == "nomad" else "bellcow"
    out.writelines(f"{line.replace('Nomad agent', f'{product} agent')}\n" for line in text)
    out.flush()


def lines(settings: Settings, addresses: Addresses, *, dev: bool, consensus: bool) -> Iterator[str]:
    """The block of facts that Nomad prints, then the first steps for a development server.

    A server on the embedded store has no `consensus` and does not listen on the RPC port.
    """
    facts = {
        "Advertise Addrs": _three(addresses.http_adv, addresses.rpc_adv, addresses.serf_adv),
        "Bind Addrs": _three(
            addresses.http_bind, addresses.rpc_bind if consensus else None, addresses.serf_bind
        ),
        "Client": "false",
        "Log Level": settings.log_level,
        "Region": f"{settings.region} (DC: {settings.datacenter})",
        "Server": "true",
        "Version": bellcow.BUILD,
    }
    yield "==> Nomad agent configuration:"
    yield ""
    for name, value in sorted(facts.items()):
        yield f"    {name:>{WIDTH}}: {value}"
    yield ""
    if are_open(settings, addresses):
        yield "==> WARNING: the ports between servers are open: anyone who reaches them can read"
        yield "    and replace the whole state. Set encrypt on all servers, or tls { rpc = true }."
        yield ""
    if dev:
        yield from _first_steps(settings, addresses)
    yield "==> Nomad agent started! Log data will stream in below:"
    yield ""


def _three(http: Address, rpc: Address | None, serf: Address) -> str:
    shown = join_host_port(rpc) if rpc else "none"
    return f"HTTP: {join_host_port(http)}; RPC: {shown}; Serf: {join_host_port(serf)}"


def _first_steps(settings: Settings, addresses: Addresses) -> Iterator[str]:
    scheme = "https" if settings.tls.http else "http"
    url = f"{scheme}://{join_host_port(addresses.http_adv)}"
    program = program_path()
    address = "" if addresses.http_adv[1] == 4646 and not settings.tls.http else f" -address={url}"
    kept = settings.data_dir or "memory only; -data-dir=DIR keeps it"
    yield "==> bellcow is a server without a client: it runs no jobs on this machine."
    yield f"    Web page:  {url}/ui/"
    yield f"    State in:  {kept}"
    yield f"    Type next: {program} operator autopilot health{address}"
    yield "    Stop with: Ctrl-C"
    yield ""


def program_path() -> str:
    """The path of the program, relative to the current directory where possible."""
    path = Path(sys.argv[0])
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def not_an_address(name: str, address: tuple[str, int]) -> str:
    """Advice when the machine does not have the address that the port `name` should use."""
    return (
        f"    This machine has no address {address[0]}. See which it has: ip -brief address\n"
        f'    Write one of them, or "0.0.0.0" for all: bind_addr, or addresses {{ {name} = ... }}'
    )


def port_taken(name: str, address: tuple[str, int]) -> str:
    """Advice when the port that the settings call `name` is in use."""
    port = address[1]
    return (
        f"    Another program answers on port {port}. See which: ss -ltnp 'sport = :{port}'\n"
        f"    Stop it, or choose another port: ports {{ {name} = 1{port % 10_000} }} "
        "in a file given by -config"
    )
