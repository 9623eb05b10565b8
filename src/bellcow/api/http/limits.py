"""How much and how slow a client may be, and how many connections an address has."""

from __future__ import annotations

from typing import Literal

import msgspec

RESERVED = 256  # files for all but clients, where there are enough
MOST_CLIENTS = 20_000  # connections of 20 KiB each are 400 MiB
MOST_SERVERS = 8_192
FAILED_HANDSHAKES = 20  # a second from one address: a browser that distrusts us has fewer
REFUSALS = 16  # one connection more in so many, for those that are being refused


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much and how slow a client may be. Seconds, bytes.

    0 for `handshake_s`, `connections` or `connections_per_client` means no limit.
    """

    header_bytes: int = 64 * 1024
    header_s: float = 10.0
    handshake_s: float = 5.0
    body_s: float = 30.0
    bodies_bytes: int = 32 << 20  # of bodies on their way in, of all requests together
    upload_window_s: float = 30.0
    upload_bytes_per_s: int = 1024
    connections: int = 0
    connections_per_client: int = 100
    keep_alive_s: float = 75.0
    linger_s: float = 0.5
    stall_s: float = 60.0


class Clients:
    """Counts connections, in all and by address.

    Those over a limit get a 429, those over twice the limit of an address nothing. Other limits
    count for the connections to come; 0 is none.
    """

    def __init__(self, limit: int, total: int = 0) -> None:
        self.limit = limit
        self.total = total
        self.open = 0  # those admitted
        self.refused = 0  # since the start, cut ones included
        self._admitted: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._refused_now = 0

    @property
    def full(self) -> bool:
        """Whether there is no room for any address."""
        return bool(self.total) and self.open >= self.total

    def enter(self, address: str) -> Literal["admitted", "refused", "cut"]:
        if not self.full and (not self.limit or _count(self._admitted, address) < self.limit):
            self._admitted[address] = _count(self._admitted, address) + 1
            self.open += 1
            return "admitted"
        self.refused += 1
        here = self.limit or self.total
        if _count(self._refused, address) < here and self._may_refuse():
            self._refused[address] = _count(self._refused, address) + 1
            self._refused_now += 1
            return "refused"
        return "cut"

    def _may_refuse(self) -> bool:
        """A refusal takes a connection for a moment too, so there are few at once."""
        return not self.total or self._refused_now < max(1, self.total // REFUSALS)

    def leave(self, address: str, how: Literal["admitted", "refused", "cut"]) -> None:
        if how == "cut":
            return
        if how == "admitted":
            self.open -= 1
        else:
            self._refused_now -= 1
        counts = self._admitted if how == "admitted" else self._refused
        counts[address] -= 1
        if not counts[address]:
            del counts[address]


class FailedHandshakes:
    """Which addresses have failed too often within this second to be worth another handshake.

    Each costs a millisecond of the loop, and who asks for it need not prove anything before.
    """

    def __init__(self, most: int = FAILED_HANDSHAKES) -> None:
        self._most = most
        self._second = 0
        self._counts: dict[str, int] = {}

    def count(self, address: str, now: float) -> None:
        """One has failed. `now` is in seconds."""
        self._begin(now)
        self._counts[address] = _count(self._counts, address) + 1

    def too_many(self, address: str, now: float) -> bool:
        self._begin(now)
        return _count(self._counts, address) >= self._most

    def _begin(self, now: float) -> None:
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()


def _count(counts: dict[str, int], address: str) -> int:
    return counts.get(address, 0)


def rooms(files: int) -> tuple[int, int]:
    """Connections of clients, and of servers, where this process may open so many files.

    The rest is for the store, for files and for calls of our own: a quarter or 256 for all but
    clients, who get a quarter of very few.
    """
    clients = max(files - max(files // 4, RESERVED), files // 4)
    return min(clients, MOST_CLIENTS), min(max(files // 8, 1), MOST_SERVERS)
