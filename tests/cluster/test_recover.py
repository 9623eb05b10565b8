"""Servers that are left of a cluster agree, in hello, who founds it anew; with a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING, Self

import msgspec
import pytest
from tests.cluster.founding import CLOCK, US, copy_of, fill_embedded, me, plan_of
from tests.support.etcd import Events, needs_etcd, run, short_directory

from bellcow.cluster import datadir
from bellcow.cluster.members.exchange import Exchange
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Inputs
from bellcow.cluster.recovery import recover
from bellcow.cluster.recovery.recover import Outcome, file_of, recover_embedded
from bellcow.cluster.recovery.rules import INDEX_STEP
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster, RaftView, decode_hello

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bellcow.cluster.members.schedule import Target

pytestmark = pytest.mark.slow

PORTS = {"one": 4647, "two": 4747, "three": 4847}
FILE = b'["127.0.0.1:4647", "127.0.0.1:4747"]'
SAME = (
    b"""[{"id": "two", "address": "127.0.0.1:4747"}, {"id": "one", "address": "127.0.0.1:4647"}]"""
)
DIFFERS = "127.0.0.1:4747 has a peers.json with other servers: make them the same"
SILENT = "no answer from 127.0.0.1:4847"
VIEW = RaftView(role="none", term=0, index=0, commit="")


class Left:
    """One of the servers that are left, and the line on which the others reach it."""

    def __init__(self, name: str, folder: Path, others: dict[str, Self]) -> None:
        self.server_dir = folder / name
        self.itself = msgspec.structs.replace(me(name, PORTS[name]), serf=(name, 1))
        self.here = Inputs(cluster=Cluster(US, 0), raft=VIEW)
        self.events = Events()
        self.roster = Roster(self.itself, CLOCK)
        self.others = others
        joins = tuple((other, 1) for other in PORTS if other != name)
        self.exchange = Exchange(
            self.roster, self, lambda: self.here, CLOCK, self.events, joins=joins
        )
        others[name] = self

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        other = self.others.get(target.address[0])
        if other is None:
            raise Error(Code.UNAVAILABLE, "nobody there")
        return other.exchange.answer(decode_hello(body))

    async def recover(self) -> Outcome:
        outcome = await recover.recover(
            server_dir=self.server_dir,
            me=self.itself,
            roster=self.roster,
            exchange=self.exchange,
            clock=CLOCK,
            report=self.events,
            plan_of=plan_of,
        )
        if outcome.kind == "rebuilt":
            view = RaftView(role="leader", term=2, index=1, commit="c")
            self.here = Inputs(cluster=outcome.cluster, raft=view)
        return outcome

    @property
    def said(self) -> list[str]:
        """What it has waited for."""
        return [fields["reason"] for name, fields in self.events.seen if name == "recovery_waiting"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory.parent


async def left(folder: Path, name: str, file: bytes, index: int) -> Path:
    """The directory of a server without a vote, that had come to this index."""
    server_dir = folder / name
    await fill_embedded(server_dir, count=3, index=index)
    for path in server_dir.glob("store.db*"):
        path.rename(server_dir / path.name.replace("store", "follow"))
    file_of(server_dir).parent.mkdir()
    file_of(server_dir).write_bytes(file)
    return server_dir


@contextlib.asynccontextmanager
async def talking(*servers: Left):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(server.exchange.run()) for server in servers]
        try:
            yield group
        finally:
            for task in tasks:
                task.cancel()


def test_epoch_that_anybody_has_shown_is_kept(folder: Path):
    async def story() -> int:
        server_dir = await left(folder, "one", FILE, 10)
        path = server_dir / datadir.LOCAL_STATE
        datadir.write(path, datadir.LocalState(cluster_id=US, epoch=0, role="voter"))
        shared: dict[str, Left] = {}
        one, two = Left("one", folder, shared), Left("two", folder, shared)
        two.here = Inputs(cluster=Cluster(US, 5, "theirs"), raft=VIEW)
        async with talking(one, two) as group, asyncio.timeout(60):
            task = group.create_task(one.recover())
            while not one.said:  # noqa: ASYNC110  nobody tells of it
                await asyncio.sleep(0.05)
            task.cancel()
        written = datadir.read(path, datadir.LocalState)
        assert written is not None
        assert written.cluster == Cluster(US, 0)
        return written.epoch_seen

    assert run(story()) == 5


@needs_etcd
def test_newest_copy_founds_and_the_other_server_joins(folder: Path):
    async def story() -> None:
        await left(folder, "one", FILE, 10)
        await left(folder, "two", SAME, 12)
        shared: dict[str, Left] = {}
        one, two = Left("one", folder, shared), Left("two", folder, shared)
        async with talking(one, two) as group, asyncio.timeout(60):
            tasks = [group.create_task(server.recover()) for server in (one, two)]
            outcomes = [await task for task in tasks]
        assert outcomes == [Outcome("join", Cluster(US, 1)), Outcome("rebuilt", Cluster(US, 1))]
        assert one.roster.table.recovery is two.roster.table.recovery is None
        assert "two at 127.0.0.1:4747 has the newest copy and rebuilds the cluster" in one.said
        assert (one.events.count("recovery_joining"), two.events.count("cluster_rebuilt")) == (1, 1)
        copy = await copy_of(two.server_dir)
        assert (copy.source, copy.head.epoch, copy.head.index) == ("raft", 1, 12 + INDEX_STEP)
        assert copy.configuration is not None
        assert [each.id for each in copy.configuration.servers] == ["two"]
        for server in (one, two):
            assert not file_of(server.server_dir).exists()
            assert len(list(server.server_dir.glob("raft.old-*/peers.json"))) == 1

    run(story())


def test_nobody_founds_while_a_listed_server_is_missing_or_differs(folder: Path):
    async def story() -> None:
        await left(folder, "one", FILE, 10)
        await left(folder, "two", b'["127.0.0.1:4747", "127.0.0.1:4847"]', 12)
        shared: dict[str, Left] = {}
        one, two = Left("one", folder, shared), Left("two", folder, shared)
        async with talking(one, two) as group:
            tasks = [group.create_task(server.recover()) for server in (one, two)]
            async with asyncio.timeout(60):
                await one.events.wait_for("recovery_waiting")
                await two.events.wait_for("recovery_waiting")
                # Before they have heard of each other both wait for an answer.
                while one.said[-1] != DIFFERS or not two.said[-1].startswith(SILENT):  # noqa: ASYNC110  nobody tells of it
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()

    run(story())


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"[", "recovery failed to parse peers.json: "),
        (b'["127.0.0.1:1"]', "no entry is this server, whose address is 127.0.0.1:4647"),
        (b" " * (1 << 20) + b"[]", "over 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("embedded", [False, True])
def test_wrong_file_is_refused_before_anything_is_touched(
    folder: Path, file: bytes, said: str, embedded: bool
):
    async def story() -> None:
        server_dir = await left(folder, "one", file, 10)
        before = sorted(server_dir.iterdir())
        server, events = Left("one", folder, {}), Events()
        going = server.recover()
        if embedded:
            going.close()
            itself = server.itself
            going = recover_embedded(server_dir=server_dir, me=itself, clock=CLOCK, report=events)
        with pytest.raises(Error, match=said) as caught:
            await going
        assert caught.value.code is Code.INVALID
        assert str(file_of(server_dir)) in caught.value.message
        assert sorted(server_dir.iterdir()) == before
        assert file_of(server_dir).read_bytes() == file

    run(story())


def test_embedded_server_becomes_the_only_one_in_one_commit_and_the_file_goes(folder: Path):
    async def story() -> None:
        server_dir = folder / "one"
        events = Events()
        head = await fill_embedded(server_dir, count=3)
        before = await copy_of(server_dir)
        file_of(server_dir).parent.mkdir()
        file_of(server_dir).write_bytes(FILE)
        kept = file_of(server_dir).read_bytes()

        async def go() -> None:
            await recover_embedded(server_dir=server_dir, me=me("one"), clock=CLOCK, report=events)

        await go()
        after = await copy_of(server_dir)
        assert after.source == "store.db"
        index = head.index + INDEX_STEP
        assert (after.head.index, after.head.floor, after.head.epoch) == (index, index, 1)
        assert after.configuration is not None
        assert [each.id for each in after.configuration.servers] == ["one"]
        assert len(after.items) == len(before.items)
        assert not file_of(server_dir).exists()

        file_of(server_dir).write_bytes(kept)  # as if it had died before the file was removed
        await go()
        assert (await copy_of(server_dir)) == after
        assert not file_of(server_dir).exists()
        assert events.count("cluster_rebuilt") == 1

    run(story())


def test_two_recoveries_of_one_embedded_state_are_told_apart(folder: Path):
    async def story() -> None:
        clusters = []
        await fill_embedded(folder / "one", count=3)
        shutil.copytree(folder / "one", folder / "copy")
        for server_dir in (folder / "one", folder / "copy"):
            file_of(server_dir).parent.mkdir()
            file_of(server_dir).write_bytes(FILE)
            await recover_embedded(
                server_dir=server_dir, me=me("one"), clock=CLOCK, report=Events()
            )
            copy = await copy_of(server_dir)
            assert copy.identity is not None
            assert copy.identity.founding == copy.head.commit
            clusters.append(Cluster(copy.cluster_id, copy.head.epoch, copy.identity.founding))
        assert clusters[0].is_fork_of(clusters[1])

    run(story())


def test_embedded_server_without_a_file_is_left_alone(folder: Path):
    async def story() -> None:
        await recover_embedded(
            server_dir=folder / "nothing", me=me("one"), clock=CLOCK, report=Events()
        )
        assert not (folder / "nothing").exists()

    run(story())


@needs_etcd
def test_embedded_copy_of_a_cluster_on_etcd_is_founded_in_etcd(folder: Path):
    """A server that was told to convert and to recover at once does both in one."""

    async def story() -> None:
        server_dir = await left(folder, "one", b'["127.0.0.1:4647"]', 10)
        for path in server_dir.glob("follow.db*"):
            shutil.move(path, server_dir / path.name.replace("follow", "store"))
        one = Left("one", folder, {})
        async with talking(one), asyncio.timeout(60):
            assert (await one.recover()).kind == "rebuilt"
        assert (await copy_of(server_dir)).source == "raft"
        found = datadir.read(server_dir / datadir.LOCAL_STATE, datadir.LocalState)
        assert found is not None
        assert (found.role, found.epoch) == ("voter", 1)
        assert list(server_dir.glob("store.db.before-etcd-*"))

    run(story())
