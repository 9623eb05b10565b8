"""Limits of the HTTP servers, and the counts of connections and failed handshakes they apply to."""

from __future__ import annotations

from typing import Literal

import msgspec

RESERVED = 256  # files for everything but clients, if there are enough
MOST_CLIENTS = 20_000  # connections of 20 KiB each are 400 MiB
MOST_SERVERS = 8_192
# A second from one address. A browser that does not trust our certificate has fewer.
FAILED_HANDSHAKES = 20
REFUSALS = 16  # one more connection for so many may be open, to be refused with a 429


Admitted = Literal["admitted", "refused", "cut"]


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a client may send and hold, and how slow it may be. Seconds, bytes.

    0 for `handshake_s`, `connections` or `connections_per_client` means no limit. `linger_s` is how
    long a connection stays after its last answer, `stall_s` how long a client may read nothing. An
    upload may be no slower than `upload_bytes_per_s`, on average over `upload_window_s`.
    """

    header_bytes: int = 64 * 1024
    header_s: float = 10.0
    handshake_s: float = 5.0
    body_s: float = 30.0
    bodies_bytes: int = 32 << 20  # of bodies that are being read, of all requests together
    upload_window_s: float = 30.0
    upload_bytes_per_s: int = 1024
    connections: int = 0
    connections_per_client: int = 100
    keep_alive_s: float = 75.0
    linger_s: float = 0.5
    stall_s: float = 60.0


class Clients:
    """Counts connections, in all and by address.

    Connections over a limit get a 429, those over twice the limit of an address are cut. A changed
    limit holds for new connections; 0 is no limit.
    """

    def __init__(self, limit: int, total: int = 0) -> None:
        self.limit = limit
        self.total = total
        self.open = 0  # admitted now
        self.refused = 0  # since the start, cut ones included
        self._admitted: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._refused_now = 0

    @property
    def full(self) -> bool:
        """Whether the limit in all is reached."""
        return bool(self.total) and self.open >= self.total

    def enter(self, address: str) -> Admitted:
        """Count a connection, and decide whether to answer it."""
        if not self.full and (not self.limit or _count(self._admitted, address) < self.limit):
            self._admitted[address] = _count(self._admitted, address) + 1
            self.open += 1
            return "admitted"
        self.refused += 1
        most = self.limit or self.total
        if _count(self._refused, address) < most and self._may_refuse():
            self._refused[address] = _count(self._refused, address) + 1
            self._refused_now += 1
            return "refused"
        return "cut"

    def _may_refuse(self) -> bool:
        """Whether another refusal may be open: each holds a connection for a moment."""
        return not self.total or self._refused_now < max(1, self.total // REFUSALS)

    def leave(self, address: str, how: Admitted) -> None:
        """Count a connection no longer. `how` is what `enter` returned."""
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
    """Addresses that have failed too many handshakes in this second to get another.

    A handshake blocks the loop for a millisecond, and a client need prove nothing to ask for one.
    """

    def __init__(self, most: int = FAILED_HANDSHAKES) -> None:
        self._most = most
        self._second = 0
        self._counts: dict[str, int] = {}

    def count(self, address: str, now: float) -> None:
        """Count a failed handshake. `now` is in seconds."""
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


def connection_limits(files: int) -> tuple[int, int]:
    """Limits for connections of clients and of servers, if the process may open `files` files.

    Everything else (the store, files, our own calls) gets a quarter of them, and at least
    `RESERVED`; but clients get at least a quarter.
    """
    clients = max(files - max(files // 4, RESERVED), files // 4)
    return min(clients, MOST_CLIENTS), min(max(files // 8, 1), MOST_SERVERS)
