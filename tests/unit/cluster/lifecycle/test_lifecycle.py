"""The lifecycle of one server: its promises, the orders it takes, and the order of its writes.

Several servers together are tested in `tests/stories`.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.camp import Camp, Dies
from tests.sim.clock import BEGIN_NS, VirtualClock
from tests.sim.loop import simulate
from tests.sim.net import itself, meet
from tests.sim.store import Disk, MemoryStore

from bellcow.cluster import datadir
from bellcow.cluster.datadir import LocalState, MemberMark, Promise, Promises
from bellcow.cluster.engine.protocol import ReplaceablePeers, Single, Status
from bellcow.cluster.lifecycle.assembly import assemble
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Leader, Table
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import (
    BOOTSTRAP_PATH,
    JOIN_PATH,
    STANDING_PATH,
    BootstrapRequest,
    Done,
    JoinRequest,
    MemberOrder,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.state.tables import ONLY, RAFT, Tables
from bellcow.store.protocol import Corrupt, Head
from bellcow.store.replaceable import ReplaceableStore
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from bellcow.cluster.engine.protocol import Start
    from bellcow.cluster.lifecycle.lifecycle import ClusterLifecycle
    from bellcow.cluster.members.schedule import Target

ALWAYS = 1e12  # seconds: a server that answered then still counts as answering
OURS = Cluster("ours", 2)
HERE = LocalState(cluster_id="ours", epoch=2, role="non-voter", servers=(("a", 4648),))
VOTES = LocalState(cluster_id="ours", epoch=2, role="voter")
MARK = MemberMark(cluster_id="ours", epoch=2, member_id=7)
FOUNDERS = (("a", "a:4647"), ("b", "b:4647"), ("c", "c:4647"))
KINDS = {
    BOOTSTRAP_PATH: BootstrapRequest,
    JOIN_PATH: JoinRequest,
    STANDING_PATH: StandingRequest,
}


class Clock(VirtualClock):
    """A virtual clock that shows 0 while no loop runs."""

    def monotonic(self) -> float:
        try:
            return super().monotonic()
        except RuntimeError:
            return 0.0


class Votes(Single):
    """The votes of this server: member 7, with a leader unless a test changes that."""

    def __init__(self) -> None:
        super().__init__("b", "b:4647", 1)
        self.now = Status(member_id=7, leader_id=1, term=1)

    async def status(self) -> Status:
        return self.now


class Member:
    """A fake etcd. `starts` has the arguments of each start, and the files that it found."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / datadir.RAFT
        self.starts: list[tuple[Start | None, set[str]]] = []
        self.votes = Votes()
        self.store = MemoryStore(Disk())
        self.peers = self.votes
        self.ended: asyncio.Future[None] | None = None

    def has_data(self) -> bool:
        return (self.directory / "data").exists()

    @asynccontextmanager
    async def running(self, start: Start | None) -> AsyncIterator[Member]:
        folder = self.directory.parent
        self.starts.append((start, {path.name for path in folder.rglob("*")}))
        self.directory.mkdir(exist_ok=True)
        (self.directory / "data").touch()
        self.ended = asyncio.get_running_loop().create_future()
        yield self


class Scene:
    """The lifecycle of server b, with fakes around it."""

    def __init__(self, folder: Path, *others: str, **fields: object) -> None:
        self.folder = folder
        self.clock = Clock()
        self.events: list[str] = []
        self.asked: list[Any] = []
        self.answers: dict[str, Any] = {}
        self.member = Member(folder)
        self.tables = Tables()
        self.slot, self.votes = ReplaceableStore(), ReplaceablePeers()
        self.twin = ""
        self.recovered: bool | None = None
        me = itself("b", server_id="b", bootstrap_expect=3, **fields)
        self.roster = Roster(me, self.clock)
        for name in others:
            self.meet(name)
        self.lifecycle = self.assemble()

    def assemble(self) -> ClusterLifecycle:
        """A lifecycle on the present files, as after a crash."""
        return assemble(
            folder=self.folder,
            engine=self.member,  # type: ignore[arg-type]
            follow=lambda _cluster: MemoryStore(Disk()),
            recover=self.recover,
            roster=self.roster,
            line=self,  # type: ignore[arg-type]
            slot=self.slot,
            votes=self.votes,
            tables=self.tables,
            joins=True,
            clock=self.clock,
            report=lambda event, /, **_fields: self.events.append(event),
            duplicate=lambda: self.twin,
        )

    async def recover(self) -> bool | None:
        return self.recovered

    def meet(self, name: str, cluster: Cluster | None = None) -> None:
        """Another server answers from now on."""
        meet(self.roster, name, cluster, answered=ALWAYS)

    def led_by(self, name: str, cluster: Cluster = OURS) -> None:
        self.meet(name, cluster)
        table = self.roster.table
        leader = Leader(server_id=name, epoch=cluster.epoch, term=1, heard=ALWAYS)
        self.roster.table = Table(
            me=table.me, known=table.known, contacts=table.contacts, leader=leader
        )

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        message = decode(body, KINDS[path])
        self.asked.append(message)
        await asyncio.sleep(0.001)
        answer = self.answers.get(path, Error(Code.UNAVAILABLE, f"{target.server_id} is silent"))
        answer = answer(message) if callable(answer) else answer
        if isinstance(answer, Error):
            raise answer
        return encode(answer)

    def configured(self, *servers: RaftServer) -> None:
        row = to_msgpack(RaftConfiguration(servers=servers))
        self.tables.apply(Head(index=self.tables.index + 1), {(RAFT.name, ONLY): row})

    def written(self) -> LocalState | None:
        return datadir.read(self.folder / datadir.LOCAL_STATE, LocalState)

    def promised(self) -> tuple[str, ...]:
        """The proposers of the promises on the disk."""
        promises = datadir.read(self.folder / datadir.PROMISE, Promises)
        return tuple(each.proposer for each in promises.open) if promises else ()

    def plays(self, *acts: tuple[float, Callable[[], object]], until: float = 5.0) -> None:
        """Run until that second, with acts at given seconds."""

        async def life() -> None:
            async with asyncio.TaskGroup() as group:
                lifecycle = group.create_task(self.lifecycle.run())
                for at, act in acts:
                    await asyncio.sleep(at - self.clock.monotonic())
                    done = act()
                    if asyncio.iscoroutine(done):
                        await done
                await asyncio.sleep(until - self.clock.monotonic())
                lifecycle.cancel()

        simulate(life())


def standing(*, cluster: Cluster = OURS, **fields: bool) -> Standing:
    values = {"configured": True, "voter": False, **fields}
    return Standing(cluster_id=cluster.id, epoch=cluster.epoch, founding=cluster.founding, **values)


def request(proposer: str = "a", cluster_id: str = "new") -> BootstrapRequest:
    members = tuple(pair for pair in FOUNDERS if pair[0] >= proposer)
    return BootstrapRequest(cluster_id=cluster_id, proposer=proposer, members=members)


def order(**fields: object) -> MemberOrder:
    values: dict[str, object] = {
        "cluster_id": "ours",
        "epoch": 2,
        "server_id": "b",
        "member_id": 7,
        "members": FOUNDERS,
        "token": "ours.2",
    }
    return MemberOrder(**{**values, **fields})  # type: ignore[arg-type]


def refusal(call: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(Error) as caught:
        simulate(call)
    assert caught.value.code is Code.REFUSED
    return caught.value.message


def promise(proposer: str, cluster_id: str = "ours", epoch_s: float = 0.0) -> Promise:
    return Promise(
        cluster_id=cluster_id,
        proposer=proposer,
        members=FOUNDERS,
        time_ns=BEGIN_NS + round(epoch_s * 1e9),
    )


def put_member(folder: Path, mark: MemberMark | None = MARK) -> None:
    """The files of a voter."""
    datadir.write(folder / datadir.LOCAL_STATE, VOTES)
    (folder / datadir.RAFT).mkdir()
    (folder / datadir.RAFT / "data").touch()
    if mark is not None:
        datadir.write(folder / datadir.RAFT / datadir.MEMBER, mark)


class Full:
    """A disk that is full for files of that name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.name, self.full, self.tries = name, True, 0
        self._write = datadir.write
        monkeypatch.setattr(datadir, "write", self.write)

    def write(self, path: Path, value: Any) -> None:
        if path.name == self.name:
            self.tries += 1
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
        self._write(path, value)

    def free(self) -> None:
        self.full = False


# Promises


def test_promise_is_on_the_disk_before_it_is_answered(tmp_path):
    scene = Scene(tmp_path, "a", "c")
    assert simulate(scene.lifecycle.promise(request())) == Done()
    assert scene.promised() == ("a",)


def test_server_of_a_cluster_promises_nothing(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path, "a", "c")
    assert "belongs to cluster ours" in refusal(scene.lifecycle.promise(request()))


def test_refusal_withdraws_the_proposers_own_promise(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    held: list[tuple[str, ...]] = []

    def refuse(_message: object) -> Error:
        held.append(scene.promised())
        return Error(Code.REFUSED, "not now")

    scene.answers[BOOTSTRAP_PATH] = refuse
    scene.plays(until=0.52)
    assert held[0] == ("b",)  # written before any request
    assert scene.promised() == ()
    assert scene.member.starts == []


def test_own_proposal_ends_with_the_process(tmp_path):
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a", "x"), promise("b", "y"))))
    scene = Scene(tmp_path)
    scene.plays(until=0.1)
    assert scene.promised() == ("a",)


# Formation


def test_promise_and_local_state_are_written_before_a_founders_member_starts(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    scene.answers[BOOTSTRAP_PATH] = Done()
    scene.plays(until=2.0)
    ((start, found),) = scene.member.starts
    assert found == {datadir.LOCAL_STATE, datadir.PROMISE}
    assert start is not None
    assert not start.existing
    assert [name for name, _ in start.members] == ["b", "c", "d"]
    written = scene.written()
    assert written is not None
    assert start.token == f"{written.cluster_id}.0"


def test_founder_that_died_before_its_member_had_data_goes_on_with_its_promise(tmp_path):
    first = LocalState(cluster_id="ours", epoch=0, role="voter")
    datadir.write(tmp_path / datadir.LOCAL_STATE, first)
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a"),)))
    scene = Scene(tmp_path)
    scene.plays(until=0.5)
    ((start, _),) = scene.member.starts
    assert start is not None
    assert (start.token, start.members) == ("ours.0", FOUNDERS)


def test_charter_lists_the_servers_of_the_promise(tmp_path):
    datadir.write(
        tmp_path / datadir.LOCAL_STATE, LocalState(cluster_id="ours", epoch=0, role="voter")
    )
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a"),)))
    charter = Scene(tmp_path, "a").lifecycle.charter()
    assert charter is not None
    assert [(each.id, each.address, each.name) for each in charter.servers] == [
        ("a", "a:4647", "a.global"),
        ("b", "b:4647", "b.global"),
        ("c", "c:4647", "c"),  # its name is unknown
    ]


def test_there_is_no_charter_for_a_cluster_that_was_not_promised(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, VOTES)
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a", "another"),)))
    assert Scene(tmp_path).lifecycle.charter() is None


# Orders


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"server_id": "x"}, "this is server b"),
        ({"cluster_id": "theirs"}, "another cluster"),
        ({"epoch": 3}, "another epoch"),
        ({"founding": "2"}, "another epoch"),
    ],
    ids=["for another server", "of another cluster", "of another epoch", "of another recovery"],
)
def test_order_is_refused(tmp_path, wrong, reason):
    here = LocalState(cluster_id="ours", epoch=2, role="non-voter", founding="1")
    datadir.write(tmp_path / datadir.LOCAL_STATE, here)
    assert reason in refusal(Scene(tmp_path).lifecycle.obey(order(**{"founding": "1", **wrong})))


def test_server_in_no_cluster_refuses_orders(tmp_path):
    assert "another cluster" in refusal(Scene(tmp_path).lifecycle.obey(order()))


def test_order_for_the_running_member_changes_nothing(tmp_path):
    put_member(tmp_path)
    assert simulate(Scene(tmp_path).lifecycle.obey(order())) == Done()


@pytest.mark.parametrize("mark", [MARK, None], ids=["marked", "not marked"])
def test_order_for_another_member_than_the_running_one_is_refused(tmp_path, mark):
    put_member(tmp_path, mark)
    assert "still has the member" in refusal(Scene(tmp_path).lifecycle.obey(order(member_id=8)))


def followed(folder: Path) -> Scene:
    """A non-voter, admitted and configured."""
    datadir.write(folder / datadir.LOCAL_STATE, HERE)
    scene = Scene(folder)
    scene.led_by("a")
    scene.answers[JOIN_PATH] = standing()
    scene.answers[STANDING_PATH] = standing(is_member=True)
    scene.configured(RaftServer(id="b", address="b:4647", name="b.global", voter=False))
    return scene


def test_member_id_and_local_state_are_written_before_an_ordered_member_starts(tmp_path):
    scene = followed(tmp_path)
    (tmp_path / datadir.RAFT).mkdir()
    (tmp_path / datadir.RAFT / "old").touch()
    scene.plays((2.0, lambda: scene.lifecycle.obey(order())))
    ((start, found),) = scene.member.starts
    assert start is not None
    assert (start.existing, start.token, start.members) == (True, "ours.2", FOUNDERS)
    assert {datadir.LOCAL_STATE, datadir.MEMBER, datadir.RAFT} < found
    assert datadir.read(scene.member.directory / datadir.MEMBER, MemberMark) == MARK
    assert scene.written() == LocalState(
        cluster_id="ours", epoch=2, role="voter", servers=(("a", 4648),)
    )
    (aside,) = tmp_path.glob("raft.old-*")
    assert (aside / "old").exists()


def test_order_that_is_no_longer_in_force_is_dropped(tmp_path):
    scene = followed(tmp_path)
    scene.answers[STANDING_PATH] = standing(is_member=False)
    scene.plays((2.0, lambda: scene.lifecycle.obey(order())))
    assert StandingRequest(server_id="b", member_id=7) in scene.asked
    assert scene.member.starts == []
    assert scene.written() == HERE


def test_order_on_a_full_disk_removes_no_earlier_directory(tmp_path, monkeypatch):
    scene = followed(tmp_path)
    for name in ("raft.old-1", "raft.old-2"):
        (tmp_path / name).mkdir()
    disk = Full(monkeypatch, datadir.MEMBER)
    again = [(at, lambda: scene.lifecycle.obey(order())) for at in (2.0, 5.0, 8.0)]
    scene.plays(*again, until=11.0)
    assert disk.tries == len(again)
    assert {path.name for path in tmp_path.glob("raft*")} == {"raft.old-1", "raft.old-2"}
    assert "local_state_write_failed" in scene.events
    assert scene.written() == HERE


# Voting


def test_member_id_of_a_founder_is_written_once_its_member_hears_a_leader(tmp_path):
    put_member(tmp_path, None)
    scene = Scene(tmp_path, "a")
    silent = Status(member_id=7, leader_id=None, term=1)
    scene.member.votes.now, heard = silent, scene.member.votes.now

    def lead() -> None:
        assert not (scene.member.directory / datadir.MEMBER).exists()
        assert scene.lifecycle.serves() is None
        scene.member.votes.now = heard

    scene.plays((2.0, lead))
    assert datadir.read(scene.member.directory / datadir.MEMBER, MemberMark) == MARK


def test_member_id_is_written_once(tmp_path, monkeypatch):
    put_member(tmp_path, None)
    scene, disk = Scene(tmp_path, "a"), Full(monkeypatch, datadir.MEMBER)
    disk.free()
    scene.plays(until=10.0)
    assert disk.tries == 1


def test_server_votes_on_a_full_disk_and_writes_its_member_id_later(tmp_path, monkeypatch):
    put_member(tmp_path, None)
    scene, disk = Scene(tmp_path, "a"), Full(monkeypatch, datadir.MEMBER)

    def look() -> None:
        assert scene.lifecycle.serves() == OURS
        assert len(scene.member.starts) == 1
        disk.free()

    scene.plays((4.0, look))
    assert disk.tries > 1
    assert datadir.read(scene.member.directory / datadir.MEMBER, MemberMark) == MARK


def test_member_id_that_was_not_written_is_still_used_after_the_member_ends(tmp_path, monkeypatch):
    put_member(tmp_path, None)
    scene = Scene(tmp_path)
    scene.led_by("a")
    Full(monkeypatch, datadir.MEMBER)

    def break_down() -> None:
        assert scene.member.ended is not None
        scene.member.ended.set_exception(Corrupt("a bad block"))

    scene.answers[STANDING_PATH] = lambda asked: standing(is_member=asked.member_id == 7)
    scene.plays((3.0, break_down), until=20.0)
    assert StandingRequest(server_id="b", member_id=7) in scene.asked
    assert scene.member.has_data()
    assert scene.written() == LocalState(
        cluster_id="ours", epoch=2, role="voter", servers=(("a", 4648),)
    )


def test_files_of_a_removed_member_are_set_aside(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.configured(RaftServer(id="b", address="b:4647", name="b.global"))

    def take_out() -> None:
        assert scene.lifecycle.serves() == OURS
        assert scene.member.ended is not None
        scene.member.ended.set_result(None)

    scene.answers[STANDING_PATH] = standing(is_member=False)
    scene.plays((3.0, take_out), until=6.0)
    assert scene.written() == HERE
    assert scene.lifecycle.serves() is None
    assert not scene.member.has_data()


def test_moved_server_reports_its_address_to_the_leader(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.answers[JOIN_PATH] = standing(voter=True)
    scene.configured(RaftServer(id="b", address="elsewhere:4647", name="b.global"))
    scene.plays(until=3.0)
    told = [each.address for each in scene.asked if isinstance(each, JoinRequest)]
    assert told[0] == "b:4647"


def test_server_that_has_not_moved_reports_no_address(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.configured(RaftServer(id="b", address="b:4647", name="b.global"))
    scene.plays(until=3.0)
    assert scene.asked == []


def test_promises_are_dropped_once_the_clusters_state_is_loaded(tmp_path):
    put_member(tmp_path)
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a"),)))
    scene = Scene(tmp_path, "a")

    def found() -> None:
        assert scene.promised() == ("a",)
        scene.configured(RaftServer(id="b", address="b:4647", name="b.global"))

    scene.plays((3.0, found))
    assert scene.promised() == ()


# Another server with our id


def test_member_does_not_start_while_another_server_has_our_id(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path, "a")
    scene.twin = "is its data directory a copy?"
    with pytest.raises(ExceptionGroup) as caught:
        scene.plays(until=20.0)
    assert caught.group_contains(Corrupt, match="copy")
    assert scene.member.starts == []


def test_member_starts_once_the_duplicate_id_is_no_longer_heard(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path, "a")
    scene.twin = "is its data directory a copy?"

    def end() -> None:
        assert scene.member.starts == []
        scene.twin = ""

    scene.plays((5.0, end), until=7.0)
    assert len(scene.member.starts) == 1


# Joining


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (standing(), True),
        (standing(cluster=Cluster("ours", 3)), True),
        (standing(cluster=Cluster("ours", 1)), False),
        (standing(cluster=Cluster("theirs", 0)), True),
        (standing(voter=True), False),
    ],
    ids=[
        "of this epoch",
        "of a later epoch",
        "of an earlier epoch",
        "to another cluster",
        "with a vote",
    ],
)
def test_admission(tmp_path, answer, taken):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    scene.led_by("a", Cluster(answer.cluster_id, answer.epoch))
    scene.answers[JOIN_PATH] = answer
    scene.plays(until=1.5)
    assert ("joined" in scene.events) == taken
    assert scene.lifecycle.cluster == (Cluster(answer.cluster_id, answer.epoch) if taken else OURS)


def test_voter_without_a_directory_asks_for_admission(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, VOTES)
    scene = Scene(tmp_path)
    scene.plays(until=90.0)
    assert scene.member.starts == []
    assert scene.written() == VOTES


def test_local_state_that_cannot_be_written_is_tried_again(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.answers[JOIN_PATH] = standing()
    disk = Full(monkeypatch, datadir.LOCAL_STATE)
    scene.plays((5.0, disk.free), until=8.0)
    assert disk.tries > 1
    assert "local_state_write_failed" in scene.events
    assert scene.written() == HERE


@pytest.mark.parametrize(("configured", "times"), [(False, 2), (True, 1)], ids=["out", "in"])
def test_rejoin_asks_for_admission_only_if_the_server_was_removed(tmp_path, configured, times):
    scene = followed(tmp_path)
    scene.answers[STANDING_PATH] = standing(configured=configured)
    scene.plays((2.0, scene.lifecycle.rejoin))
    assert scene.events.count("joined") == times


@pytest.mark.parametrize(
    ("founded", "votes"), [(True, 1), (False, 0)], ids=["founded anew", "shall join"]
)
def test_recovery_decides_the_first_step(tmp_path, founded, votes):
    scene = Scene(tmp_path)
    scene.recovered = founded
    put_member(tmp_path)  # by the recovery, after the lifecycle was created
    scene.plays(until=0.5)
    assert len(scene.member.starts) == votes
    assert scene.lifecycle.cluster == OURS


# Known addresses


def test_known_addresses_are_the_last_written_ones(tmp_path):
    assert Scene(tmp_path).lifecycle.known_addresses == ()
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    assert Scene(tmp_path).lifecycle.known_addresses == (("a", 4648),)


def test_changed_addresses_are_written_even_if_the_first_write_fails(tmp_path, monkeypatch):
    scene = followed(tmp_path)
    disk = Full(monkeypatch, datadir.LOCAL_STATE)
    disk.free()

    def fill() -> None:
        disk.full = True
        scene.meet("d")

    scene.plays((2.0, fill), (3.0, disk.free))
    assert scene.lifecycle.known_addresses == (("a", 4648), ("d", 4648))
    assert "local_state_write_failed" not in scene.events


# A formation that is given up


@pytest.mark.parametrize(
    ("dies_after", "in_cluster", "given_up"),
    [("set_aside raft", True, False), ("remove cluster.json", False, True)],
)
def test_promise_binds_after_a_crash_while_formation_is_given_up(
    tmp_path, dies_after, in_cluster, given_up
):
    """Others may still form that cluster: the promise is marked before cluster.json goes."""

    async def story() -> None:
        async with Camp(tmp_path, "a", "b", "c") as camp:
            camp.start("a").dies = Dies(1, before=False, what="write cluster.json")
            camp.start("b")
            camp.start("c")
            await asyncio.sleep(5)
            for name in "bc":
                await camp.stop(name)
                camp.wipe(name)
            camp.start("a").dies = Dies(1, before=False, what=dies_after)
            camp.start("b")
            camp.start("c")
            await asyncio.sleep(120)
            assert "a" not in camp.servers, "it was not killed"

    simulate(story())
    assert (tmp_path / "a" / datadir.LOCAL_STATE).exists() == in_cluster
    promises = datadir.read(tmp_path / "a" / datadir.PROMISE, Promises)
    assert promises is not None
    assert [each.given_up for each in promises.open] == [given_up]
