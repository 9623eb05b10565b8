"""How much and how slow a client may be, and how many connections an address has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from bellcow.errors import Code, Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much and how slow a client may be. Seconds, bytes.

    0 for `handshake_s` or `connections_per_client` means no limit.
    """

    header_bytes: int = 64 * 1024
    header_s: float = 10.0
    handshake_s: float = 5.0
    body_s: float = 30.0
    upload_window_s: float = 30.0
    upload_bytes_per_s: int = 1024
    connections_per_client: int = 100
    keep_alive_s: float = 75.0
    linger_s: float = 0.5
    stall_s: float = 60.0


class Clients:
    """Connections a client address: those over the limit get a 429, those over twice it nothing.

    Another `limit` counts for the connections to come.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._admitted: dict[str, int] = {}
        self._refused: dict[str, int] = {}

    def enter(self, address: str) -> Literal["admitted", "refused", "cut"]:
        if not self.limit or _count(self._admitted, address) < self.limit:
            self._admitted[address] = _count(self._admitted, address) + 1
            return "admitted"
        if _count(self._refused, address) < self.limit:
            self._refused[address] = _count(self._refused, address) + 1
            return "refused"
        return "cut"

    def leave(self, address: str, how: Literal["admitted", "refused", "cut"]) -> None:
        if how == "cut":
            return
        counts = self._admitted if how == "admitted" else self._refused
        counts[address] -= 1
        if not counts[address]:
            del counts[address]


class Held:
    """Bytes of requests that are not whole yet, by address.

    Connections alone do not bound them: an address may have thousands.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes for one address."""
        self._limit = limit
        self._bytes: dict[str, int] = {}

    def take(self, address: str, size: int) -> None:
        """Count bytes in. Raises Error(TOO_MANY) where the address holds too many already."""
        held = self._bytes.get(address, 0) + size
        if held > self._limit:
            raise Error(
                Code.TOO_MANY,
                f"unfinished requests from this address hold more than {self._limit} bytes",
            )
        self._bytes[address] = held

    def give_back(self, address: str, size: int) -> None:
        """Count bytes out."""
        held = self._bytes.get(address, 0) - size
        if held > 0:
            self._bytes[address] = held
        else:
            self._bytes.pop(address, None)


class Share:
    """What one request holds of it. Close it."""

    def __init__(self, held: Held, address: str) -> None:
        self._held = held
        self._address = address
        self._size = 0

    async def counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same pieces, counted before they are given on."""
        async for chunk in chunks:
            self._held.take(self._address, len(chunk))
            self._size += len(chunk)
            yield chunk

    async def freed(self, whole: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What is made of the pieces. Each is whole: it is not held any more."""
        try:
            async for one in whole:
                self.close()
                yield one
        finally:
            self.close()

    def close(self) -> None:
        self._held.give_back(self._address, self._size)
        self._size = 0


def _count(counts: dict[str, int], address: str) -> int:
    return counts.get(address, 0)
