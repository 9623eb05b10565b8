"""A clock that follows the running loop, with randomness from a seed."""

from __future__ import annotations

import asyncio
import random

from bellcow.gocompat.duration import NS_PER_S

BEGIN_NS = 1_800_000_000 * NS_PER_S  # 2027-01-15T08:00:00Z, when every simulation begins


class VirtualClock:
    """A `Clock`. `set_ahead` moves the wall clock, as an operator would."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._ahead_ns = 0

    def set_ahead(self, seconds: float) -> None:
        self._ahead_ns += round(seconds * NS_PER_S)

    def wall_ns(self) -> int:
        return BEGIN_NS + round(self.monotonic() * NS_PER_S) + self._ahead_ns

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def uniform(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)

    def random_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)


class FixedClock:
    """A clock for code without a loop: it stands until `advance` is called."""

    def __init__(self, wall_ns: int = BEGIN_NS, seed: int = 0) -> None:
        self._wall_ns = wall_ns
        self._now = 0.0
        self._chance = random.Random(seed)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._wall_ns += round(seconds * NS_PER_S)

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic(self) -> float:
        return self._now

    def uniform(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)

    def random_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)
