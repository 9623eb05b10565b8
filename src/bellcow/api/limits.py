"""How much and how slow a client may be, and how many connections an address has."""

from __future__ import annotations

from typing import Literal

import msgspec


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


def _count(counts: dict[str, int], address: str) -> int:
    return counts.get(address, 0)
