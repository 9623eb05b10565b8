"""A network in memory: servers that exchange hellos, with seeded delay, loss and cuts."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from tests.sim.clock import VirtualClock

from bellcow.cluster.members.exchange import Exchange
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Contact, Inputs, Known, Table
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster, Itself, RaftView, Record, decode_hello

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from bellcow.cluster.members.exchange import Transport
    from bellcow.cluster.members.schedule import Target

FOLLOWER = RaftView(role="follower", term=0, index=0, commit="")


def itself(name: str, region: str = "global", **fields: object) -> Itself:
    """A server whose address is its name."""
    values: dict[str, object] = {
        "server_id": f"id-{name}",
        "name": name,
        "region": region,
        "datacenter": "dc1",
        "build": "1.0.18",
        "version": "0.1.0",
        "rpc": (name, 4647),
        "serf": (name, 4648),
        "raft_protocol": "3",
        "bootstrap_expect": 0,
        "non_voting": False,
        "zone": "",
        "upgrade_version": "",
    }
    return Itself(**{**values, **fields})  # type: ignore[arg-type]


def meet(
    roster: Roster, name: str, cluster: Cluster | None = None, *, answered: float, expect: int = 3
) -> None:
    """Put a server, whose id is its name, into the table as one that answered at that time."""
    other = itself(name, server_id=name, bootstrap_expect=expect)
    record = Record(itself=other, start_ns=1, status="alive", status_seq=0)
    raft = RaftView(role="follower", term=1, index=0, commit="")
    contact = Contact(answered=answered, raft=raft, cluster=cluster)
    table = roster.table
    roster.table = Table(
        me=table.me,
        known={**table.known, name: Known(record, 0.0)},
        contacts={**table.contacts, name: contact},
        leader=table.leader,
    )


class Host:
    """One server's exchange; the test sets its consensus."""

    def __init__(
        self,
        me: Itself,
        clock: VirtualClock,
        make_transport: Callable[[Host], Transport],
        joins: tuple[tuple[str, int], ...] = (),
        lookup: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
    ) -> None:
        self.clock = clock
        self.events: list[tuple[str, dict[str, object]]] = []
        self.cluster: Cluster | None = None
        self.raft = FOLLOWER
        self.servers: frozenset[str] = frozenset()  # in the raft configuration
        self.removed: frozenset[str] = frozenset()
        self.roster = Roster(me, clock)
        self.exchange = Exchange(
            self.roster, make_transport(self), self.look, clock, self.report, joins, lookup
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.roster.itself.name

    def look(self) -> Inputs:
        return Inputs(
            cluster=self.cluster, raft=self.raft, servers=self.servers, removed=self.removed
        )

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, {"at": round(self.clock.monotonic(), 1), **fields}))

    def saw(self, event: str, **fields: object) -> list[float]:
        """The times at which `event` was reported with these fields."""
        return [
            reported["at"]  # type: ignore[misc]
            for name, reported in self.events
            if name == event and fields.items() <= reported.items()
        ]

    def statuses(self) -> dict[str, str]:
        """The statuses of the other servers, by name."""
        known = self.roster.table.known.values()
        return {each.record.itself.name: each.record.status for each in known}

    def lead(self, term: int, index: int = 0) -> None:
        self.raft = RaftView(role="leader", term=term, index=index, commit=f"c{index}")
        self.exchange.nudge()

    def follow(self, term: int = 0, index: int = 0) -> None:
        self.raft = RaftView(role="follower", term=term, index=index, commit=f"c{index}")
        self.exchange.nudge()

    def start(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self.exchange.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None


class Net:
    """Use as `async with Net(...)`, inside a virtual loop."""

    def __init__(self, seed: int = 0, *, loss: float = 0.0, delay_s: float = 0.001) -> None:
        self.clock = VirtualClock(seed)
        self.hosts: dict[str, Host] = {}
        self.names: dict[str, tuple[str, ...]] = {}  # names with several addresses
        self.loss = loss
        self.calls = 0
        self._delay_s = delay_s
        self._chance = random.Random(seed)
        self._cut: set[tuple[str, str]] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for name in list(self.hosts):
            await self.stop(name)
        await self._group.__aexit__(*failure)  # type: ignore[arg-type]

    def start(self, name: str, region: str = "global", join: str = "", **fields: object) -> Host:
        """Start a server that joins by the addresses `join` names."""
        joins = tuple((each, 4648) for each in join.split())
        me = itself(name, region, **fields)
        host = Host(me, self.clock, lambda host: _MemoryTransport(self, host), joins, self.lookup)
        self.hosts[me.serf[0]] = host
        host.start(self._group)
        return host

    async def lookup(self, name: str) -> tuple[str, ...]:
        found = self.names.get(name, (name,))
        if not found:
            raise Error(Code.UNAVAILABLE, f"lookup {name}: no such host")
        return found

    async def stop(self, name: str) -> None:
        await self.hosts.pop(name).stop()

    def cut(self, one: str, other: str, *, one_way: bool = False) -> None:
        """Drop all messages from `one` to `other`, and back unless `one_way`."""
        self._cut.add((one, other))
        if not one_way:
            self._cut.add((other, one))

    def mend(self) -> None:
        self._cut.clear()

    def connects(self, source: str, target: str) -> bool:
        return (source, target) not in self._cut

    async def carry(self, source: str, target: str) -> None:
        """Deliver one message; one that is lost or meets a cut never arrives."""
        lost = self.loss and self._chance.random() < self.loss
        if lost or (source, target) in self._cut:
            await asyncio.sleep(3600)
        await asyncio.sleep(self._delay_s * (0.5 + self._chance.random()))


class _MemoryTransport:
    def __init__(self, net: Net, host: Host) -> None:
        self._net = net
        self._host = host

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        net, here, there = self._net, self._host.roster.itself.serf[0], target.address[0]
        net.calls += 1
        await net.carry(here, there)
        other = net.hosts.get(there)
        if other is None:
            raise Error(Code.UNAVAILABLE, "connection refused")
        try:
            answer = other.exchange.answer(decode_hello(body))
        except Error as error:
            other.report("peer_refused", client=here, path=path, reason=error.message)
            await net.carry(there, here)
            raise Error(Code.REFUSED, error.message) from None
        await net.carry(there, here)
        return answer
