"""Reports the license in the log: a loop of the leader. `rules.py` decides when to report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.license.rules import Phase, Told, status, to_tell
from bellcow.wire import NS_PER_S

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.events import Report
    from bellcow.license.keeper import Licenses

LOOK_S = 60.0  # between two checks: no event of the license is later than that
EVENTS = {
    Phase.VALID: "license_valid",
    Phase.EXPIRING: "license_expiring",
    Phase.EXPIRED: "license_expired",
    Phase.TERMINATED: "license_terminated",
}


class LicenseWatch:
    """Checks once a minute, and at the moment a phase ends."""

    def __init__(self, licenses: Licenses, clock: Clock, report: Report) -> None:
        self._licenses = licenses
        self._clock = clock
        self._report = report

    async def run(self) -> None:
        """Work for one leadership. Each leadership reports again."""
        told: Told | None = None
        while True:
            told, pause_s = self._look(told)
            await asyncio.sleep(pause_s)

    def _look(self, told: Told | None) -> tuple[Told, float]:
        """Report what is due. Returns the last report, and the seconds until the next check."""
        now_ns = self._clock.wall_ns()
        license_ = self._licenses.current()
        found = status(license_, now_ns)
        pause_s = LOOK_S
        if found.ends_ns is not None:
            pause_s = min(LOOK_S, (found.ends_ns - now_ns) / NS_PER_S)
        if to_tell(license_.license_id, found, told, now_ns):
            self._report(EVENTS[found.phase], license=license_.license_id, status=found.text)
        elif told is not None:
            return told, pause_s
        return Told(license_.license_id, found.phase, now_ns), pause_s
