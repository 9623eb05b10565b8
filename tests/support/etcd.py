"""A real etcd for tests: members in a temporary directory, clients on their sockets.

`started` is one member that lives in a thread of its own, for a whole session of tests; `Cluster`
is several on loopback, inside the loop of one test. Both run the very supervisor of the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psutil
import pytest
import uvloop
from tests.harness import free_ports

from bellcow.clock import SystemClock
from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import CallFailed, Client, open_client
from bellcow.etcd.flags import Founding, PeerTls, Plan
from bellcow.etcd.process import Member
from bellcow.etcd.version import CannotRun, find_program, read_version

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

START_S = 30.0

T = TypeVar("T")

try:
    PROGRAM = find_program("")
    VERSION = asyncio.run(read_version(PROGRAM))
except CannotRun as missing:
    PROGRAM, VERSION, WHY = "", (0, 0, 0), str(missing)
else:
    WHY = ""

needs_etcd = pytest.mark.skipif(bool(WHY), reason=WHY or "etcd is there")


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story on the loop that servers run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(story)


def free_address() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def plan_of_one(directory: Path, name: str = "one") -> Plan:
    """A cluster of one, to be founded in `directory`."""
    address = free_address()
    return Plan(
        server_id=name,
        directory=directory,
        program=PROGRAM,
        version=VERSION,
        bind=address,
        advertise=address,
        founding=Founding(state="new", members=((name, address),), token="test.0"),
    )


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """The kernel takes paths of sockets up to 107 bytes; pytest's directories may be longer."""
    directory = tempfile.mkdtemp(prefix="etcd-")
    try:
        yield Path(directory) / "raft"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Events:
    """A `Report` that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._more = asyncio.Event()

    def __call__(self, event: str, /, **fields: object) -> None:
        self.seen.append((event, fields))
        self._more.set()

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.seen)

    async def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        while self.count(event) < count:
            self._more.clear()
            await self._more.wait()
        return [fields for name, fields in self.seen if name == event][count - 1]


def etcd_pid(directory: Path) -> int:
    return int((directory / "etcd.pid").read_text())


def freeze(pid: int) -> None:
    """Stop a process as a whole: when this returns, none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    while not all(_is_stopped(task) for task in tasks.iterdir()):
        os.sched_yield()


def _is_stopped(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def thaw(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


async def answering(client: Client, *, leads: bool | None = None) -> pb.StatusResponse:
    """The member's status, once it answers and knows a leader."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(CallFailed):
                status = await client.status(pb.StatusRequest())
                mine = status.leader == status.header.member_id
                if status.leader and leads in {None, mine}:
                    return status
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def started(chosen: Path | None = None) -> Iterator[Path]:
    """One member on a thread of its own, in the chosen directory if any. Yields its directory."""
    with contextlib.nullcontext(chosen) if chosen else short_directory() as directory:
        plan = plan_of_one(directory)
        ready = threading.Event()
        stop: list[Any] = []

        async def live() -> None:
            task = asyncio.ensure_future(Member(plan, SystemClock(), Events()).run())
            stop.extend([asyncio.get_running_loop(), task])
            ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        thread = threading.Thread(target=run, args=(live(),))
        thread.start()
        ready.wait()
        try:
            yield directory
        finally:
            stop[0].call_soon_threadsafe(stop[1].cancel)
            thread.join()


async def wipe(client: Client) -> None:
    """Make the member look new: no keys, and no history to watch."""
    await answering(client)
    everything = pb.DeleteRangeRequest(key=b"\0", range_end=b"\0")
    done = await client.txn(pb.TxnRequest(success=[pb.RequestOp(request_delete_range=everything)]))
    await forget(client, done.header.revision)


async def forget(client: Client, revision: int = 0) -> None:
    """Compact history up to `revision`, or all of it."""
    if not revision:
        newest = await client.range(pb.RangeRequest(key=b"head"))
        revision = newest.header.revision
    with contextlib.suppress(CallFailed):  # nothing was written since the last time
        await client.compact(pb.CompactionRequest(revision=revision, physical=True))


class Server:
    """One member of a `Cluster`, with its client."""

    def __init__(self, plan: Plan, group: asyncio.TaskGroup) -> None:
        self.plan = plan
        self.events = Events()
        self._group = group
        self._stack = contextlib.AsyncExitStack()
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        self.task = self._group.create_task(self._run())
        self.client = await self._stack.enter_async_context(open_client(self.plan.directory))
        return self

    async def _run(self) -> None:
        with contextlib.suppress(CannotRun):
            await Member(self.plan, SystemClock(), self.events).run()

    @property
    def pid(self) -> int:
        return etcd_pid(self.plan.directory)

    def signal(self, number: signal.Signals) -> None:
        psutil.Process(self.pid).send_signal(number)

    async def stop(self) -> None:
        """Stop it cleanly; it may be started again."""
        await self._stack.aclose()
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])


class Cluster:
    """Members on loopback. Use as `async with Cluster(...)`."""

    def __init__(self, directory: Path, count: int = 3, tls: PeerTls | None = None) -> None:
        self.directory = directory
        self.tls = tls
        self.names = [f"s{number}" for number in range(1, count + 1)]
        self.servers: dict[str, Server] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            addresses = {name: free_address() for name in self.names}
            founding = Founding(state="new", members=tuple(addresses.items()), token="test.0")
            for name, address in addresses.items():
                await self.add(name, address, founding)
            for server in self.servers.values():
                await answering(server.client)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def add(self, name: str, address: str, founding: Founding) -> Server:
        plan = Plan(
            server_id=name,
            directory=self.directory / name,
            program=PROGRAM,
            version=VERSION,
            bind=address,
            advertise=address,
            founding=founding,
            tls=self.tls,
        )
        server = self.servers[name] = Server(plan, self._group)
        return await server.start()

    async def leader(self, *, but: tuple[str, ...] = (), after_term: int = 0) -> Server:
        """The server whose member leads, as it says itself, in a later term than `after_term`."""
        async with asyncio.timeout(START_S):
            while True:
                for name, server in self.servers.items():
                    if name not in but:
                        with contextlib.suppress(CallFailed):
                            status = await server.client.status(pb.StatusRequest())
                            leads = status.leader == status.header.member_id
                            if leads and status.raft_term > after_term:
                                return server
                await asyncio.sleep(0.05)

    async def __aexit__(self, *failure: object) -> None:
        for server in self.servers.values():
            await server.stop()
        await self._group.__aexit__(*failure)  # type: ignore[arg-type]
