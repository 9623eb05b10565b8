"""Resolves host names in daemon threads of its own.

A resolver that hangs would fill the shared thread pool, and delay the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from bellcow.config.joins import host_fault, is_ip
from bellcow.deadline import timeout
from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKUP_S = 5.0  # resolv.conf's default timeout for one name server
ADDRESSES_MAX = 64  # per name; more than any cluster has servers
_SHOWN = 80
_NOT_FOUND = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

Answer = tuple[str, ...] | Exception


class Lookups:
    """Resolves names. Callers that ask for the same name at one time share a lookup."""

    def __init__(self, lookup: Callable[[str], tuple[str, ...]] | None = None) -> None:
        self._lookup = lookup or _getaddrinfo
        self._running: dict[str, asyncio.Future[Answer]] = {}

    async def addresses(self, host: str) -> tuple[str, ...]:
        """All IPv6 and IPv4 addresses of a name; an address resolves to itself.

        Raises:
            Error: UNAVAILABLE, none is found within `LOOKUP_S`; the text is Go's.
        """  # noqa: DOC501  made by `_no_addresses`
        if is_ip(host):
            return (host,)
        if fault := host_fault(host):
            raise _no_addresses(host, fault)
        running = self._running.get(host)
        if running is None:
            running = self._start(host)
        try:
            async with timeout(LOOKUP_S):
                answer = await asyncio.shield(running)
        except TimeoutError:
            raise _no_addresses(host, "i/o timeout") from None
        if isinstance(answer, Exception):
            raise _no_addresses(host, _reason(answer))
        return answer[:ADDRESSES_MAX]

    def _start(self, host: str) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        running: asyncio.Future[Answer] = loop.create_future()
        self._running[host] = running

        def end(answer: Answer) -> None:
            self._running.pop(host, None)
            if not running.done():
                running.set_result(answer)

        def work() -> None:
            try:
                answer: Answer = self._lookup(host)
            except Exception as error:  # noqa: BLE001  the waiting caller gets it
                answer = error
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(end, answer)

        threading.Thread(target=work, name="lookup", daemon=True).start()
        return running


def _getaddrinfo(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def shown(host: str) -> str:
    """A name as a client sent it, shortened for a message."""
    return host if len(host) <= _SHOWN else f"{host[:_SHOWN]}..."


def _no_addresses(host: str, reason: str) -> Error:
    return Error(Code.UNAVAILABLE, f"lookup {shown(host)}: {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror) and error.errno in _NOT_FOUND:
        return "no such host"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "no such host"  # the name cannot be encoded for a query
