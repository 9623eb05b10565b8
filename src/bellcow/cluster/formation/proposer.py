"""How the first server by id asks the others to form a cluster with it.

It waits until all of them have answered, records its own promise, then asks for theirs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bellcow.clock import new_uuid
from bellcow.cluster.formation.rules import ROUND_S, founders, pairs
from bellcow.cluster.members.schedule import target_of
from bellcow.deadline import timeout
from bellcow.errors import Error
from bellcow.model.membership_calls import BOOTSTRAP_PATH, BootstrapRequest, encode

if TYPE_CHECKING:
    from bellcow.clock import Clock
    from bellcow.cluster.datadir import Promise
    from bellcow.cluster.formation.promises import PromiseBook
    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.roster import Roster
    from bellcow.cluster.members.schedule import Target
    from bellcow.events import Report
    from bellcow.throttle import Reminders

CALM_S = 0.5  # without a new server, before a cluster is proposed
GRACE_S = 10.0  # in which a server may hear of a cluster, before it forms one alone
REFUSED_S = 0.3  # pause after a refusal


class Proposer:
    """Proposes a cluster: call `propose` again and again. Times count from the construction."""

    def __init__(
        self,
        *,
        promises: PromiseBook,
        roster: Roster,
        transport: Transport,
        joins: bool,
        clock: Clock,
        reminders: Reminders,
        report: Report,
    ) -> None:
        """`joins` says whether the settings name servers to join."""
        self._promises = promises
        self._roster = roster
        self._transport = transport
        self._joins = joins
        self._clock = clock
        self._reminders = reminders
        self._report = report
        self._began = clock.monotonic()
        self._known = (0, self._began)  # the number of servers, and since when

    async def propose(self) -> Promise | None:
        """If our id is the lowest, ask the other first servers; None unless all have promised.

        Raises:
            OSError: the promise cannot be written.
        """
        chosen = founders(self._roster.table)
        me = self._roster.itself.server_id
        if not chosen or chosen[0].server_id != me or self._may_hear_of_others(len(chosen)):
            return None
        members, cluster_id = pairs(chosen), new_uuid(self._clock)
        try:
            promise = await self._promises.propose(cluster_id, members)
        except Error as error:
            self._reminders.report("bootstrap_refused", reason=error.message)
            return None
        request = encode(BootstrapRequest(cluster_id=cluster_id, proposer=me, members=members))
        targets = [target_of(self._roster.table.known[i.server_id].record) for i in chosen[1:]]
        if problem := await self._ask_all(targets, request):
            await self._promises.withdraw(promise)
            self._reminders.report("bootstrap_refused", reason=problem)
            await asyncio.sleep(REFUSED_S)
            return None
        self._report("bootstrapped", cluster=cluster_id, servers=len(members))
        return promise

    async def _ask_all(self, targets: list[Target], request: bytes) -> str:
        """The first refusal, which ends the round; "" when all have promised.

        No task of the group raises. If one did, the group would cancel this task, and Python would
        go on counting that cancellation after the error was caught.
        """
        try:
            async with timeout(ROUND_S), asyncio.TaskGroup() as group:
                asking = [group.create_task(self._ask(target, request)) for target in targets]
                for answer in asyncio.as_completed(asking):
                    if problem := await answer:
                        for each in asking:
                            each.cancel()
                        return problem
        except TimeoutError:
            return "no answer in time"
        return ""

    async def _ask(self, target: Target, request: bytes) -> str:
        """Why that server has not promised; "" when it has."""
        try:
            await self._transport.post(target, BOOTSTRAP_PATH, request)
        except Error as refusal:
            return str(refusal)
        return ""

    def _may_hear_of_others(self, count: int) -> bool:
        """Whether to wait: servers that start together hear of each other one by one.

        A server that could form a cluster alone first asks the servers that it is to join.
        """
        now, known = self._clock.monotonic(), len(self._roster.table.known)
        if known != self._known[0]:
            self._known = known, now
        alone = count == 1 and self._joins and now - self._began < GRACE_S
        return alone or (count > 1 and now - self._known[1] < CALM_S)
