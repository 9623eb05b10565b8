"""Joins a server by name: says hello once at each address of the name.

The text of a failure never quotes an answer that is not a server's refusal: it could leak what
another service on our network says.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bellcow.cluster.members.hearing import is_refusal
from bellcow.cluster.members.lookup import shown
from bellcow.config.joins import SERF_PORT
from bellcow.config.peer_ports import is_loopback
from bellcow.deadline import timeout
from bellcow.errors import Code, Error
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Knock = Callable[[tuple[str, int]], Awaitable[None]]

JOIN_S = 5.0  # limit for one address
CLOSED = "; a server without `encrypt` or certificates accepts calls from its own machine only"


class Greeter(Protocol):
    """The part of the `Exchange` that a join needs."""

    async def addresses(self, host: str) -> tuple[str, ...]:
        """All addresses of a name.

        Raises:
            Error: UNAVAILABLE, there are none; the text has the reason.
        """

    async def join(self, address: tuple[str, int], name: str = "") -> None:
        """Say hello at one address.

        Raises:
            Error: no server answered, or it refused.
        """


async def knock_over_tcp(address: tuple[str, int]) -> None:
    """Open a connection and close it.

    Raises:
        OSError: nothing listens there, or it is not reached.
    """
    _, writer = await asyncio.open_connection(*address)
    writer.close()


class Joined(NamedTuple):
    """How many servers answered, and why each other address did not, in Nomad's words."""

    servers: int
    failures: tuple[str, ...]


async def join(
    address: tuple[str, int],
    greeter: Greeter,
    knock: Knock = knock_over_tcp,
) -> Joined:
    """Say hello at every address of a name. `knock` checks first whether anything listens there."""
    host, port = address
    try:
        found = await greeter.addresses(host)
    except Error as error:
        return Joined(0, (f"Failed to resolve {shown(host)}: {error.message}",))
    answers = await asyncio.gather(*(_join((ip, port), host, greeter, knock) for ip in found))
    failures = [
        f"Failed to join {ip}: {reason}"
        for ip, reason in zip(found, answers, strict=True)
        if reason
    ]
    return Joined(len(found) - len(failures), tuple(failures))


async def _join(
    address: tuple[str, int],
    name: str,
    greeter: Greeter,
    knock: Knock,
) -> str:
    """The reason of a failure; "" after a success."""
    try:
        async with timeout(JOIN_S):
            await knock(address)
            await greeter.join(address, name)
    except (OSError, TimeoutError) as error:
        return _dial(address, error)
    except Error as error:
        return _unmet(address, error)
    return ""


def _dial(address: tuple[str, int], error: Exception) -> str:
    start = f"dial tcp {join_host_port(address)}"
    if isinstance(error, ConnectionRefusedError):
        return f"{start}: connect: connection refused{'' if is_loopback(address[0]) else CLOSED}"
    if isinstance(error, TimeoutError):
        return f"{start}: i/o timeout"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{start}: connect: {(reason or str(error)).lower()}"


def _unmet(address: tuple[str, int], error: Error) -> str:
    """Why no server accepted us at an address; often the address has the HTTP port."""
    where = join_host_port(address)
    if error.code is Code.DENIED:
        return f"{where}: {error.message}"
    if error.code is Code.CONFLICT or error.code is Code.TOO_MANY:
        return error.message  # this server refused the other's hello
    status, _, words = error.message.partition(": ")
    if error.code is Code.REFUSED and is_refusal(words):
        return error.message
    told = f" ({status})" if len(status) == 3 and status.isdigit() else ""
    return (
        f"{where}: no server port answers there{told}; it is {SERF_PORT} unless ports say otherwise"
    )
