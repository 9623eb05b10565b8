"""The etcd member beside a server as one thing that runs: process, client, store and votes.

When to run it, and in which cluster, is decided above. Import this module late: it brings gRPC.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.etcd_peers import EtcdPeers
from bellcow.etcd.client import CallFailed, open_client
from bellcow.etcd.flags import Founding, Plan, has_data
from bellcow.etcd.process import Member
from bellcow.etcd.version import CannotRun
from bellcow.store.etcd import EtcdStore, read_file
from bellcow.store.protocol import Corrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.engine import Start, State
    from bellcow.etcd.client import Client
    from bellcow.events import Report


class Running:
    """What a member is good for while it runs. `ended` has a result when it is no member."""

    def __init__(self, store: EtcdStore, peers: EtcdPeers, ended: asyncio.Future[None]) -> None:
        self.store = store
        self.peers = peers
        self.ended = ended


class EtcdMember:
    """The member of this server, in whichever cluster."""

    def __init__(self, plan: Plan, clock: Clock, report: Report) -> None:
        self._plan = plan
        self._clock = clock
        self._report = report

    @property
    def directory(self) -> Path:
        return self._plan.directory

    def has_data(self) -> bool:
        return has_data(self._plan)

    async def last_state(self) -> State:
        return await asyncio.to_thread(read_file, self._plan.directory)

    @asynccontextmanager
    async def running(self, start: Start | None) -> AsyncIterator[Running]:
        """The member, started; it is ended on leaving. `start` is what its first start is told."""
        plan = msgspec.structs.replace(self._plan, founding=_founding(start))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        member = Member(plan, self._clock, self._report, end_when_hung=True)
        failure: Exception | None = None
        async with self._client() as client, asyncio.TaskGroup() as group:
            task = group.create_task(_until(ended, member), name="etcd")
            store = EtcdStore(client)
            try:
                yield Running(store, EtcdPeers(client, tls=plan.tls is not None), ended)
            except Exception as error:  # noqa: BLE001  raised below, where no group wraps it
                failure = error
            finally:
                await store.close()
                task.cancel()
                await asyncio.wait([task])
        if failure is not None:
            raise failure

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        try:
            async with open_client(self._plan.directory) as client:
                yield client
        except CallFailed as failed:
            raise Corrupt(str(failed)) from None


async def _until(ended: asyncio.Future[None], member: Member) -> None:
    try:
        await member.run()
    except (CannotRun, OSError) as error:
        ended.set_exception(Corrupt(str(error)))
    else:
        ended.set_result(None)


def _founding(start: Start | None) -> Founding | None:
    if start is None:
        return None
    return Founding(
        state="existing" if start.existing else "new", members=start.members, token=start.token
    )
