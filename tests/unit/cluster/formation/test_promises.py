"""The promises of a server: when they are on the disk, and what they forbid.

The rules by which they bind are tested in `test_rules.py`.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.clock import BEGIN_NS, FixedClock
from tests.sim.net import itself, meet

from bellcow.cluster import datadir
from bellcow.cluster.datadir import Promise, Promises
from bellcow.cluster.formation.promises import PromiseBook
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Leader, Table
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import BootstrapRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

ALWAYS = 1e12  # seconds: a server that answered then still counts as answering
OURS = Cluster("ours", 0)
THEIRS = Cluster("theirs", 0)


class Scene:
    """The promises of server b, and the servers in its roster."""

    def __init__(self, folder: Path, *others: str) -> None:
        self.folder = folder
        self.clock = FixedClock()
        self.roster = Roster(itself("b", server_id="b", bootstrap_expect=3), self.clock)
        for name in others:
            self.meet(name)
        self.cluster: Cluster | None = None
        self.book = self.opened()

    def opened(self) -> PromiseBook:
        """The promises on the disk, as after a crash."""
        book = PromiseBook(self.folder, self.roster, self.clock)
        book.read()
        return book

    def meet(self, name: str, cluster: Cluster | None = None) -> None:
        """Another server answers from now on."""
        meet(self.roster, name, cluster, answered=ALWAYS)

    def led_by(self, name: str) -> None:
        table = self.roster.table
        leader = Leader(server_id=name, epoch=0, term=1, heard=ALWAYS)
        self.roster.table = Table(
            me=table.me, known=table.known, contacts=table.contacts, leader=leader
        )

    def asked(self, *names: str, cluster_id: str = "new") -> Coroutine[Any, Any, None]:
        """A proposal of the first of them, with all of them."""
        request = BootstrapRequest(
            cluster_id=cluster_id, proposer=names[0], members=addresses(*names)
        )
        return self.book.give(request, lambda: self.cluster)

    def written(self) -> tuple[Promise, ...]:
        promises = datadir.read(self.folder / datadir.PROMISE, Promises)
        return promises.open if promises else ()

    def proposers(self) -> tuple[str, ...]:
        return tuple(each.proposer for each in self.written())


def addresses(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{name}:4647") for name in names)


def promise(proposer: str, cluster_id: str = "ours", **fields: Any) -> Promise:
    values = {"members": addresses("a", "b", "c"), "time_ns": BEGIN_NS, **fields}
    return Promise(cluster_id=cluster_id, proposer=proposer, **values)


def holding(folder: Path, *promises: Promise, others: tuple[str, ...] = ()) -> Scene:
    datadir.write(folder / datadir.PROMISE, Promises(promises))
    return Scene(folder, *others)


def refusal(call: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(Error) as caught:
        asyncio.run(call)
    assert caught.value.code is Code.REFUSED
    return caught.value.message


async def outcome(call: Coroutine[Any, Any, object]) -> str:
    try:
        await call
    except Error as error:
        return error.message
    return "done"


# Proposed by another server


def test_promise_is_on_the_disk_when_it_is_given(tmp_path):
    scene = Scene(tmp_path, "a", "c")
    asyncio.run(scene.asked("a", "b", "c"))
    assert scene.proposers() == ("a",)
    assert scene.opened().of(Cluster("new", 0)) == scene.written()[0]


def test_refused_promise_leaves_nothing_on_the_disk(tmp_path):
    scene = Scene(tmp_path, "a", "c")
    assert "lower ids" in refusal(scene.asked("b", "c"))
    assert scene.proposers() == ()


def test_promise_survives_a_restart_and_binds(tmp_path):
    scene = Scene(tmp_path, "aa", "c")
    asyncio.run(scene.asked("aa", "b", "c"))
    scene.meet("a")  # lower than all
    scene.book = scene.opened()
    lower = scene.asked("a", "aa", "b", cluster_id="other")
    assert refusal(lower) == "already promised to form the cluster of server aa"
    assert scene.proposers() == ("aa",)


def slow_writes(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Make each write report its start, and wait until the test lets it continue."""
    begun, go_on, write = threading.Event(), threading.Event(), datadir.write

    def slow(path: Path, value: Any) -> None:
        begun.set()
        go_on.wait(5)
        write(path, value)

    monkeypatch.setattr(datadir, "write", slow)
    return begun, go_on


async def test_request_during_the_write_of_a_promise_sees_that_promise(tmp_path, monkeypatch):
    scene = Scene(tmp_path, "aa", "c")
    begun, go_on = slow_writes(monkeypatch)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(outcome(scene.asked("aa", "b", "c")))
        await asyncio.to_thread(begun.wait, 5)
        scene.meet("a")
        second = group.create_task(outcome(scene.asked("a", "aa", "b", cluster_id="other")))
        await asyncio.sleep(0)
        go_on.set()
    assert first.result() == "done"
    assert second.result() == "already promised to form the cluster of server aa"


async def test_request_during_the_write_of_a_promise_sees_the_cluster_that_was_formed(
    tmp_path, monkeypatch
):
    scene = Scene(tmp_path, "a", "c")
    begun, go_on = slow_writes(monkeypatch)

    async with asyncio.TaskGroup() as group:
        group.create_task(outcome(scene.asked("a", "b", "c")))
        await asyncio.to_thread(begun.wait, 5)
        second = group.create_task(outcome(scene.asked("a", "b", "c", cluster_id="other")))
        await asyncio.sleep(0)
        scene.cluster = OURS
        go_on.set()
    assert second.result() == "this server belongs to cluster ours"


async def test_canceled_request_does_not_let_two_writes_overlap(tmp_path, monkeypatch):
    scene = Scene(tmp_path, "a", "c")
    begun, go_on, write = threading.Event(), threading.Event(), datadir.write
    under_way: list[int] = []

    def slow(path: Path, value: Any) -> None:
        under_way.append(1)
        assert len(under_way) == 1, "two writes of one file"
        begun.set()
        go_on.wait(5)
        write(path, value)
        under_way.pop()

    monkeypatch.setattr(datadir, "write", slow)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(outcome(scene.asked("a", "b", "c", cluster_id="one")))
        await asyncio.to_thread(begun.wait, 5)
        first.cancel()
        second = group.create_task(outcome(scene.asked("a", "b", "c", cluster_id="two")))
        await asyncio.sleep(0.01)
        go_on.set()
    assert first.cancelled()
    assert second.result() == "done"
    assert scene.proposers() == ("a",)


def test_promise_that_cannot_be_written_is_refused_with_the_reason(tmp_path, monkeypatch):
    scene, full = Scene(tmp_path, "a", "c"), True
    write = datadir.write

    def fails(path: Path, value: Any) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, value)

    monkeypatch.setattr(datadir, "write", fails)
    assert "No space left" in refusal(scene.asked("a", "b", "c"))
    assert scene.book.of(Cluster("new", 0)) is None
    full = False
    asyncio.run(scene.asked("a", "b", "c"))
    assert scene.proposers() == ("a",)


# Proposed by this server


def test_own_promise_comes_last_and_can_be_withdrawn(tmp_path):
    earlier = promise("b", "earlier")
    scene = holding(tmp_path, earlier, others=("c", "d"))
    own = asyncio.run(scene.book.propose("new", addresses("b", "c", "d")))
    assert scene.written() == (earlier, own)
    asyncio.run(scene.book.withdraw(own))
    assert scene.written() == (earlier,)


def test_nothing_is_proposed_while_a_promise_to_another_binds(tmp_path):
    scene = holding(tmp_path, promise("a"), others=("c", "d"))
    reason = refusal(scene.book.propose("new", addresses("b", "c", "d")))
    assert reason == "already promised to form the cluster of server a; waiting for it"
    assert scene.proposers() == ("a",)


def test_earlier_own_promise_does_not_forbid_a_new_proposal(tmp_path):
    scene = holding(tmp_path, promise("b"), others=("c", "d"))
    asyncio.run(scene.book.propose("new", addresses("b", "c", "d")))
    assert scene.written()[-1].cluster_id == "new"


def test_started_cluster_that_was_given_up_binds_whoever_proposed_it(tmp_path):
    scene = holding(tmp_path, promise("b", given_up=True), others=("c", "d"))
    reason = refusal(scene.book.propose("new", addresses("b", "d", "e")))
    assert reason.startswith("already started forming a cluster with a:4647, b:4647, c:4647;")


def test_own_promises_end_with_the_process_unless_they_were_given_up(tmp_path):
    begun = promise("b", "begun", given_up=True)
    scene = holding(tmp_path, promise("a", "x"), promise("b", "y"), begun)
    asyncio.run(scene.book.forget_own())
    assert scene.written() == (promise("a", "x"), begun)


# Kept, given up, dropped


def test_promise_is_found_by_its_cluster(tmp_path):
    book = holding(tmp_path, promise("a"), promise("c", "theirs")).book
    assert book.of(THEIRS) == promise("c", "theirs")
    assert book.of(Cluster("another", 0)) is None
    assert book.of(None) is None


def test_only_the_last_promise_may_form_a_cluster(tmp_path):
    book = holding(tmp_path, promise("a"), promise("c", "theirs"), others=("a", "c")).book
    assert book.to_form(THEIRS) == promise("c", "theirs")
    assert book.to_form(OURS) is None


@pytest.mark.parametrize(("led", "founded"), [(False, True), (True, False)], ids=["no", "yes"])
def test_old_promise_may_form_a_cluster_unless_it_has_a_leader(tmp_path, led, founded):
    scene = holding(tmp_path, promise("a"), others=("c",))
    scene.clock.advance(20.0)
    if led:
        scene.led_by("c")
    assert (scene.book.to_form(OURS) is not None) == founded


def test_given_up_promise_is_the_only_one_kept(tmp_path):
    scene = holding(tmp_path, promise("a"), promise("c", "theirs"))
    asyncio.run(scene.book.give_up(OURS))
    assert scene.written() == (promise("a", given_up=True),)
    assert scene.book.to_form(OURS) is None


def test_dropped_promises_leave_nothing_on_the_disk(tmp_path):
    scene = holding(tmp_path, promise("a"), promise("c", "theirs"))
    asyncio.run(scene.book.drop())
    assert not (tmp_path / datadir.PROMISE).exists()
    assert scene.book.of(OURS) is None


def test_unchanged_promises_are_not_written_again(tmp_path, monkeypatch):
    scene = holding(tmp_path, promise("a"))
    empty = Scene(tmp_path / "empty")

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datadir, "write", fails)
    monkeypatch.setattr(datadir, "remove", fails)
    asyncio.run(scene.book.forget_own())
    asyncio.run(empty.book.drop())
    assert scene.proposers() == ("a",)


def test_formation_is_abandoned_once_all_others_are_elsewhere(tmp_path):
    scene = holding(tmp_path, promise("a"), others=("a",))
    assert not scene.book.is_abandoned(OURS, {})  # c has not been heard
    assert scene.book.is_abandoned(OURS, {"c": THEIRS})
    scene.meet("a", OURS)
    assert not scene.book.is_abandoned(OURS, {"c": THEIRS})


def test_formation_that_was_not_promised_is_not_abandoned(tmp_path):
    assert not Scene(tmp_path, "a").book.is_abandoned(OURS, {"a": THEIRS})
