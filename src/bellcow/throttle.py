"""Limits how often the log says the same thing.

`Throttle` decides and reads no clock. `Reminders` reports events through one, and remembers which
of them were due lately.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.clock import Clock
    from bellcow.events import Report

KEYS_MAX = 256  # bounds memory; no cause that lasts has been seen to make more than a dozen
REMIND_S = 60.0  # between two events with the same fields
LATELY_S = 15.0  # a cause that lasts makes its event due again within this time


class Throttle:
    """Lets each key pass once per `every_s` seconds, and counts how often it did not pass.

    It remembers at most `most` keys. When that is not enough, `drop_when_full` stops further keys
    until old ones expire, which bounds the log too; otherwise all keys may pass again.
    """

    def __init__(
        self, every_s: float = math.inf, most: int = KEYS_MAX, *, drop_when_full: bool = False
    ) -> None:
        """Without `every_s` a key passes once until `forget`."""
        self._every_s = every_s
        self._most = most
        self._drop_when_full = drop_when_full
        self._passed: dict[object, tuple[float, int]] = {}  # when, and how many did not since

    def passes(self, key: object, now: float = 0.0) -> bool:
        """Whether this key passes at `now` (seconds of any clock that only grows)."""
        return self.held_back(key, now) is not None

    def held_back(self, key: object, now: float) -> int | None:
        """How often the key was held back since it last passed; None when it does not pass now."""
        since, held = self._passed.get(key, (None, 0))
        if since is not None and now - since < self._every_s:
            self._passed[key] = (since, held + 1)
            return None
        if since is None and len(self._passed) >= self._most and not self._make_room(now):
            return None
        self._passed[key] = (now, 0)
        return held

    def forget(self) -> None:
        """Let all keys pass again."""
        self._passed.clear()

    def _make_room(self, now: float) -> bool:
        if not self._drop_when_full:
            self._passed.clear()
            return True
        for key, (since, _) in list(self._passed.items()):
            if now - since >= self._every_s:
                del self._passed[key]
        return len(self._passed) < self._most


class Reminders:
    """Reports an event whose cause lasts once a minute instead of each time it is due."""

    def __init__(self, clock: Clock, report: Report, every_s: float = REMIND_S) -> None:
        self._clock = clock
        self._report = report
        self._throttle = Throttle(every_s)
        self._latest: dict[str, tuple[float, Mapping[str, object]]] = {}

    def latest(self) -> dict[str, Mapping[str, object]]:
        """The fields of each event that was due within `LATELY_S`, reported or not."""
        now = self._clock.monotonic()
        return {e: fields for e, (at, fields) in self._latest.items() if now - at <= LATELY_S}

    def report(self, event: str, /, **fields: object) -> None:
        """Report the event, unless the same event with the same fields was reported lately."""
        now = self._clock.monotonic()
        self._latest[event] = now, fields
        if self._throttle.passes(f"{event} {sorted(fields.items())}", now):
            self._report(event, **fields)

    def forget(self) -> None:
        """Report each event anew when it is next due."""
        self._throttle.forget()
