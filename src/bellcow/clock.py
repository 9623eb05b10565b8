"""The only reader of time and the only source of randomness.

Code that decides takes the time as an argument; code that gathers asks a `Clock`. Tests use a
virtual clock (`tests/sim/clock.py`): a simulated day takes a fraction of a second.
"""

from __future__ import annotations

import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time in nanoseconds (wall) and seconds (monotonic), and randomness."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 in UTC; may jump when an operator sets the clock."""

    def monotonic(self) -> float:
        """Seconds that never decrease; comparable within one process only."""

    def uniform(self, low: float, high: float) -> float:
        """A random number between `low` and `high`, for jitter; not for secrets."""

    def random_bytes(self, count: int) -> bytes:
        """`count` random bytes, strong enough for secrets."""


class SystemClock:
    """The clock and the random source of the machine."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)  # noqa: S311  jitter, not a secret

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)


def new_uuid(clock: Clock) -> str:
    """A random identifier in UUID form, lower case, 36 characters.

    Nomad: all 128 bits are random; the version and variant bits of RFC 4122 are not set.
    """
    digits = clock.random_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
