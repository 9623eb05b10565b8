"""Reports the license in the log: a loop of the leader. `rules.py` decides when to report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.gocompat.duration import NS_PER_S
from bellcow.license.rules import LastReport, Phase, is_report_due, status

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
        last: LastReport | None = None
        while True:
            last, pause_s = self._look(last)
            await asyncio.sleep(pause_s)

    def _look(self, last: LastReport | None) -> tuple[LastReport, float]:
        """Report what is due. Returns the last report, and the seconds until the next check."""
        now_ns = self._clock.wall_ns()
        license_ = self._licenses.current()
        found = status(license_, now_ns)
        pause_s = LOOK_S
        if found.ends_ns is not None:
            pause_s = min(LOOK_S, (found.ends_ns - now_ns) / NS_PER_S)
        if is_report_due(license_.license_id, found, last, now_ns):
            self._report(EVENTS[found.phase], license=license_.license_id, status=found.text)
        elif last is not None:
            return last, pause_s
        return LastReport(license_.license_id, found.phase, now_ns), pause_s
