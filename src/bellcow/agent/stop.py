"""The stop of an agent: how its time is divided, leaving the cluster, handing over leadership."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

from bellcow.cluster.lifecycle.leave import leave
from bellcow.deadline import timeout
from bellcow.errors import Error
from bellcow.store.protocol import StoreError

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.server import Server

STOP_S = 5.0  # from a signal to the end of the process, in any case; the others are shares of it
CLOSE_S = 0.75  # to close connections and files
ETCD_S = 2.0  # in place of CLOSE_S where an etcd process has to be stopped; then it is killed
EXIT_S = 0.25  # for the process itself to end
ANSWER_S = 0.5  # at least, for requests that are being answered
HAND_OVER_S = 1.0  # at most, for another server to become the leader


class Stop:
    """The deadlines of one stop, in seconds of `clock.monotonic`."""

    def __init__(self, clock: Clock, *, etcd: bool) -> None:
        """Starts the time. `etcd` says whether an etcd process has to be stopped as well."""
        self._clock = clock
        self.ends_at = clock.monotonic() + STOP_S - EXIT_S  # when the process must be gone
        self._answered_at = self.ends_at - (ETCD_S if etcd else CLOSE_S)

    def answer_s(self) -> float:
        """Seconds that are left for requests that are being answered."""
        return max(ANSWER_S, self._left_s())

    def _left_s(self) -> float:
        return max(0.0, self._answered_at - self._clock.monotonic())

    async def leave(self, server: Server, number: signal.Signals) -> None:
        """Leave the cluster for good, if the settings ask for it for this signal."""
        settings, interrupted = server.settings, number is signal.SIGINT
        if not (settings.leave_on_interrupt if interrupted else settings.leave_on_terminate):
            return
        server.report("leaving")
        try:
            await leave(
                roster=server.roster,
                exchange=server.exchange,
                lead=server.leadership,
                membership=server.membership,
                transport=server.transport,
                within_s=self._left_s() - ANSWER_S,
            )
        except Error as error:
            server.report("leave_refused", reason=error.message)

    async def hand_over(self, server: Server) -> None:
        """Let another server lead before the stop, so that no client waits for an election."""
        if not server.leadership.is_leader:
            return
        with contextlib.suppress(Error, StoreError, TimeoutError):
            async with timeout(min(HAND_OVER_S, self._left_s() - ANSWER_S)):
                await server.membership.hand_on()
