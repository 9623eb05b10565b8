"""A server that holds the key of the cluster, and lies: what it says costs the others nothing.

Three servers vote. The faulty one speaks to their port as a server does, with the right proof: in
its own name, or in that of another one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec
import psutil
import pytest
from tests.abuse.rows_http import AUTOPILOT, RAFT, SCHEDULER
from tests.abuse.site import FAULT
from tests.several import Several
from tests.sim.net import itself
from tests.support.etcd import needs_etcd
from tests.support.wires import KEY, keyed

from bellcow.cluster.members.exchange import HELLO_PATH
from bellcow.cluster.members.schedule import Target
from bellcow.cluster.members.table import MEMBERS_MAX, UNHEARD_MAX
from bellcow.cluster.transport.client import PeerClient
from bellcow.cluster.transport.frames import FRAME_BYTES, QUESTION_BYTES
from bellcow.errors import Error
from bellcow.model.forwarded import LAST_HOP, Answer, Ask
from bellcow.model.hello import COUNT_MAX, Hello, RaftView, Record, decode_hello, encode_hello
from bellcow.model.membership_calls import (
    FORWARD_PATH,
    JOIN_PATH,
    LEAVE_PATH,
    JoinRequest,
    LeaveRequest,
    decode,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.harness import Agent

pytestmark = [pytest.mark.slow, needs_etcd]

NAMES = ("s1", "s2", "s3")
SETTINGS: dict[str, Any] = {
    "acl": {"enabled": True},
    "server": {"encrypt": base64.b64encode(KEY).decode()},
}
MIB = 1 << 20
FAR_TERM = 2**61
CALLERS = 30
WATCHED_S = 3.0  # a lie that is believed shows within a second


class Site:
    """The servers, a management token, and the faulty server's voice."""

    def __init__(self, several: Several) -> None:
        self.several = several
        self.agents = several.agents
        self.token = several.one().bootstrap()
        self.settle()
        self.id_of = {
            name: each["ID"] for name, each in self.several.servers(None, self.token).items()
        }

    def settle(self) -> None:
        self.several.until(
            lambda: self.several.voters(token=self.token) == set(NAMES) and self.leader(),
            "three voters and a leader",
        )

    def leader(self) -> str:
        return self.several.leader(token=self.token)

    def follower(self) -> str:
        return next(name for name in NAMES if name != self.leader())

    def post(self, name: str, path: str, body: bytes, region: str = "global") -> bytes:
        """What the server answers. Raises Error with its words when it refuses."""

        async def ask() -> bytes:
            async with speaker(region) as client, asyncio.timeout(5):
                return await client.post(target(self.agents[name]), path, body)

        return asyncio.run(ask())

    def tell(self, name: str, hello: Hello) -> Hello:
        return decode_hello(self.post(name, HELLO_PATH, encode_hello(hello), hello.region))

    def seen_by(self, name: str) -> Hello:
        """What a server says of itself and of the others, told to one that is no member yet."""
        return self.tell(name, hello_of(faulty(region="elsewhere"), region="elsewhere"))

    def record(self, name: str, via: str) -> Record:
        told = self.seen_by(via)
        records = (told.sender, *told.others)
        return next(each for each in records if each.server_id == self.id_of[name])

    def cluster_of(self, name: str) -> Any:
        """The cluster, which a server of the region is told."""
        return self.tell(name, hello_of(faulty())).cluster

    def members(self, name: str) -> dict[str, str]:
        """Statuses by full name, as this server tells them."""
        answer = self.agents[name].get("/v1/agent/members", self.token)
        return {each["Name"]: each["Status"] for each in answer.json()["Members"]}

    def works(self) -> None:
        """Every server reads and writes, and all three vote."""
        for name in NAMES:
            agent = self.agents[name]
            read = agent.get(SCHEDULER, self.token)
            assert read.status == 200, (name, read)
            written = agent.put(AUTOPILOT, {}, token=self.token)
            assert written.status == 200, (name, written)
        assert self.several.voters(token=self.token) == set(NAMES)

    def lies(self, to: tuple[str, ...], lie: Callable[[], Hello]) -> None:
        """Say it to these servers again and again, while they must go on working."""
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            for name in to:
                with contextlib.suppress(Error):
                    self.tell(name, lie())
            self.works()


@contextlib.asynccontextmanager
async def speaker(region: str = "global") -> AsyncIterator[PeerClient]:
    """Calls others as a server of that region with the key does."""
    made = keyed(KEY, region)
    async with PeerClient(tls=made.call_with, names=made.gate.names) as client:
        yield client
    # TLS says goodbye after the client has closed, and nothing else shows when that is over.
    open_ones = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while any(getattr(each, "_sock", None) is not None for each in open_ones.values()):  # noqa: ASYNC110  no event
            await asyncio.sleep(0.02)


def target(agent: Agent) -> Target:
    return Target(server_id="", address=("127.0.0.1", agent.serf_port), region="global")


def faulty(port: int = 1, name: str = "faulty", **fields: Any) -> Record:
    """What the faulty server says of itself, or of one that it makes up."""
    address = ("127.0.0.1", port)
    me = itself(name, **{"rpc": address, "serf": address, **fields})
    return Record(itself=me, start_ns=time.time_ns(), status="alive", status_seq=0)


def hello_of(sender: Record, *others: Record, region: str = "global", **fields: Any) -> Hello:
    values = {"cluster": None, "leader": "", "raft": None, "since_leader_ms": None, **fields}
    return Hello(region=region, sender=sender, others=others, **values)


class Ear:
    """Listens on a port and keeps the first bytes of whoever calls."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._socket.accept()
                with caller, contextlib.suppress(OSError):
                    caller.settimeout(0.5)
                    self.heard.append(caller.recv(65_536))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Several(*NAMES, settings=SETTINGS) as several:
        yield Site(several)
        for name, agent in several.agents.items():
            assert "Traceback" not in agent.log, name
            assert not FAULT.findall(agent.log), name


@pytest.fixture(autouse=True)
def _as_before(site: Site) -> Iterator[None]:
    yield
    site.settle()
    site.works()


def leads(term: int, index: int = 1) -> RaftView:
    return RaftView(role="leader", term=term, index=index, commit="c")


def test_stranger_that_says_that_it_leads_gets_no_request(site: Site) -> None:
    cluster = site.cluster_of("s1")
    with Ear() as ear:
        lie = hello_of(faulty(ear.port), cluster=cluster, raft=leads(FAR_TERM))
        site.lies(NAMES, lambda: lie)
    assert not [heard for heard in ear.heard if FORWARD_PATH.encode() in heard]
    assert not [heard for heard in ear.heard if site.token.encode() in heard]


@pytest.mark.parametrize("term", [9, FAR_TERM])
def test_claim_in_the_name_of_a_follower_deposes_nobody(site: Site, term: int) -> None:
    leader, follower = site.leader(), site.follower()
    cluster = site.cluster_of("s1")
    record = site.record(follower, leader)
    others = tuple(name for name in NAMES if name != follower)
    site.lies(others, lambda: hello_of(record, cluster=cluster, raft=leads(term, COUNT_MAX)))
    assert site.leader() == leader


def test_living_voter_is_not_said_to_have_left_for_good(site: Site) -> None:
    leader = site.leader()
    victim = site.follower()
    record = site.record(victim, leader)
    gone = msgspec.structs.replace(record, status="left", start_ns=COUNT_MAX, status_seq=COUNT_MAX)
    soon = msgspec.structs.replace(record, status="left", status_seq=record.status_seq + 5)
    for lie in (gone, soon):
        site.lies(NAMES, lambda lie=lie: hello_of(faulty(), lie))
        site.lies((leader,), lambda lie=lie: hello_of(lie))
    # One that is late with its own hello may count as failed; it is never said to have left.
    assert site.members(leader)[f"{victim}.global"] != "left"
    site.several.until(lambda: site.members(leader)[f"{victim}.global"] == "alive", "it is alive")


@pytest.mark.parametrize("announced", [False, True])
def test_server_is_not_made_to_leave_by_another_one(site: Site, announced: bool) -> None:
    leader, victim = site.leader(), site.follower()
    if announced:
        record = site.record(victim, leader)
        seq = record.status_seq + 1
        site.tell(
            leader, hello_of(msgspec.structs.replace(record, status="leaving", status_seq=seq))
        )
    with pytest.raises(Error, match="has not announced that it leaves"):
        site.post(leader, LEAVE_PATH, encode(LeaveRequest(server_id=site.id_of[victim])))


def test_crowd_of_servers_that_do_not_exist_is_neither_kept_nor_called(site: Site) -> None:
    leader = site.leader()
    agent = site.agents[leader]
    process = psutil.Process(agent.process.pid)
    memory, sockets = process.memory_info().rss, process.num_fds()
    with Ear() as ear:
        crowd = [
            faulty(ear.port, server_id=f"fake-{number}", name=f"fake-{number}")
            for number in range(MEMBERS_MAX)
        ]
        began = time.monotonic()
        site.lies((leader,), lambda: hello_of(faulty(), *crowd))
        seconds = time.monotonic() - began
    assert len(site.members(leader)) <= len(NAMES) + UNHEARD_MAX + 2
    # Each of the servers asks each of those it keeps once a second, and at once.
    assert len(ear.heard) < len(NAMES) * UNHEARD_MAX * (seconds + 2)
    assert process.num_fds() - sockets < 2 * UNHEARD_MAX
    assert (process.memory_info().rss - memory) / MIB < 50


def test_impostor_gets_no_request_whatever_its_name(site: Site) -> None:
    follower, leader = site.follower(), site.leader()
    with Ear() as ear:
        impostor = faulty(ear.port, name=follower, server_id="impostor")
        site.tell(leader, hello_of(impostor))
        for name in (f"{follower}.global", "impostor"):
            path = f"/v1/agent/pprof/cmdline?server_id={name}"
            site.agents[leader].get(path, site.token)
        west = faulty(ear.port, server_id="west", name="west", region="west")
        site.tell(leader, hello_of(west, region="west", leader="west"))
        answer = site.agents[leader].get(f"{SCHEDULER}?region=west", site.token)
        assert answer.text == "No path to region"
    assert not [heard for heard in ear.heard if FORWARD_PATH.encode() in heard]


def test_servers_that_do_not_answer_are_not_let_in(site: Site) -> None:
    leader = site.leader()
    agent = site.agents[leader]
    before = agent.get(RAFT, site.token).json()["Servers"]
    for number in range(20):
        name = f"joins-{number}"
        me = faulty(1, server_id=name, name=name)
        site.tell(leader, hello_of(me))
        asked = JoinRequest(
            server_id=name, address="127.0.0.1:1", name=f"{name}.global", version="1"
        )
        with pytest.raises(Error, match="does not answer the leader"):
            site.post(leader, JOIN_PATH, encode(asked))
    assert agent.get(RAFT, site.token).json()["Servers"] == before


def test_index_beyond_all_counts_silences_nobody(site: Site) -> None:
    follower, leader = site.follower(), site.leader()
    raft = RaftView(role="follower", term=1, index=2**62 + 1, commit="c")
    record = site.record(follower, leader)
    assert site.tell(leader, hello_of(record, cluster=site.cluster_of(leader), raft=raft))


def test_guessed_tokens_that_are_forwarded_are_answered_with_too_many(site: Site) -> None:
    leader = site.leader()

    async def guess(count: int) -> list[int]:
        statuses = []
        async with speaker() as client, asyncio.timeout(60):
            for number in range(count):
                secret = f"deadbeef-0000-4000-8000-{number:012x}"
                ask = Ask(
                    method="GET",
                    target=SCHEDULER.encode(),
                    headers=((b"x-nomad-token", secret.encode()),),
                    client="192.0.2.1",
                    hops=LAST_HOP,
                )
                answer = await client.stream(
                    target(site.agents[leader]), FORWARD_PATH, [encode(ask)]
                )
                statuses.append(decode(await anext(answer), Answer).status)
                await answer.aclose()
        return statuses

    statuses = asyncio.run(guess(150))
    assert statuses[:100] == [403] * 100
    assert set(statuses[100:]) == {429}


@pytest.mark.parametrize("size", [QUESTION_BYTES, FRAME_BYTES])
def test_frames_that_never_end_do_not_fill_the_memory(site: Site, size: int) -> None:
    leader = site.leader()
    agent = site.agents[leader]
    process = psutil.Process(agent.process.pid)
    memory = process.memory_info().rss

    async def drip(client: PeerClient, sent: asyncio.Event, over: asyncio.Event) -> None:
        async def part_of_a_frame() -> AsyncIterator[bytes]:
            yield size.to_bytes(4, "big") + bytes(size - 1)
            sent.set()
            await over.wait()

        with contextlib.suppress(aiohttp.ClientError):
            answer = await client._post(target(agent), FORWARD_PATH, part_of_a_frame(), {})
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()  # TLS would first send what waits
        sent.set()  # or refused

    async def all_at_once() -> int:
        over = asyncio.Event()
        async with speaker() as client, asyncio.TaskGroup() as group:
            sent = [asyncio.Event() for _ in range(CALLERS)]
            for each in sent:
                group.create_task(drip(client, each, over))
            for each in sent:
                await each.wait()
            grown = int(process.memory_info().rss)
            over.set()
        return grown

    grown = (asyncio.run(all_at_once()) - memory) / MIB
    assert grown < 50
