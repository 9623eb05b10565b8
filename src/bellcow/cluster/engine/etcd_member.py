"""Runs the etcd member beside a server: process, client, store and peers as one context.

The lifecycle decides when, and in which cluster. Import this module late: it imports gRPC.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from bellcow.cluster.engine.etcd_peers import EtcdPeers
from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.backend import FILE, UnreadableError, read_members
from bellcow.etcd.client import CallFailed, open_client
from bellcow.etcd.flags import Founding, Plan, has_data, scheme
from bellcow.etcd.process import Member
from bellcow.etcd.version import CannotRun
from bellcow.store.etcd import EtcdStore, read_file
from bellcow.store.protocol import Corrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bellcow.clock import Clock
    from bellcow.cluster.engine.protocol import Start, State
    from bellcow.etcd.client import Client
    from bellcow.events import Report


LOOK_S = 0.2  # between two attempts to correct this member's peer URL
OTHER_SCHEME = {
    "https": "the servers of this cluster were founded without TLS and know each other by plain "
    "addresses: stop them all, and follow 'From plain ports to the key' in upgrade.md",
    "http": "the servers of this cluster speak TLS, and this one has neither key nor certificates: "
    "give it the same `encrypt`, or tls { rpc = true }, as the others",
}


class Running:
    """A running member. `ended` has a result once it was removed from the cluster, and raises
    StoreError when it fails.
    """

    def __init__(self, store: EtcdStore, peers: EtcdPeers, ended: asyncio.Future[None]) -> None:
        self.store = store
        self.peers = peers
        self.ended = ended


class EtcdMember:
    """The etcd member of this server. See `protocol.Engine`."""

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
        """Run the member as long as the context lasts. `start` is for its first start.

        An exception of the context's body passes through unwrapped.

        Raises:
            StoreError: the member cannot be started.
        """
        plan = msgspec.structs.replace(self._plan, founding=_founding(start))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        member = Member(plan, self._clock, self._report, end_when_hung=True)
        failure: Exception | None = None
        async with open_client(plan.directory) as client, asyncio.TaskGroup() as group:
            task = group.create_task(_until(ended, member), name="etcd")
            correct = group.create_task(_correct_scheme(client, plan), name="etcd scheme")
            store = EtcdStore(client)
            try:
                yield Running(store, EtcdPeers(client, tls=plan.tls is not None), ended)
            except Exception as error:  # noqa: BLE001  raised below, outside the task group
                failure = error
            finally:
                await store.close()
                correct.cancel()
                task.cancel()
                await asyncio.wait([task, correct])
        if failure is not None:
            raise failure


async def _until(ended: asyncio.Future[None], member: Member) -> None:
    try:
        await member.run()
    except (CannotRun, OSError) as error:
        ended.set_exception(Corrupt(str(error)))
    else:
        ended.set_result(None)


def check_schemes(plan: Plan) -> None:
    """Check that this server uses TLS between servers exactly if the others' peer URLs do.

    Raises:
        Corrupt: it does not; the calls between the servers would always fail.
    """
    try:
        members = read_members(plan.directory / FILE) if has_data(plan) else ()
    except UnreadableError:
        return  # etcd itself reports what is wrong with its files
    own = f"{scheme(plan)}://"
    others = [one for one in members if one.name != plan.server_id]
    if any(not url.startswith(own) for one in others for url in one.peer_urls):
        raise Corrupt(OTHER_SCHEME[scheme(plan)])


async def _correct_scheme(client: Client, plan: Plan) -> None:
    """Write this member's current peer URL into etcd, for members that join later.

    Only while it is the only member: then its scheme may have changed since the first start.
    """
    urls = [f"{scheme(plan)}://{plan.advertise}"]
    while True:
        try:
            listed = (await client.member_list(pb.MemberListRequest())).members
            if len(listed) == 1 and not listed[0].peer_urls[0].startswith(f"{scheme(plan)}://"):
                request = pb.MemberUpdateRequest(id=listed[0].id, peer_urls=urls)
                await client.member_update(request)
        except CallFailed:
            await asyncio.sleep(LOOK_S)  # it has not started, or does not lead yet
        else:
            return


def _founding(start: Start | None) -> Founding | None:
    if start is None:
        return None
    return Founding(
        state="existing" if start.existing else "new", members=start.members, token=start.token
    )
