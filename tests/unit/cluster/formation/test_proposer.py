"""How the lowest id proposes: when, to which servers, and what a refusal does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.sim.clock import VirtualClock
from tests.sim.net import itself, meet

from bellcow.cluster import datadir
from bellcow.cluster.datadir import Promise, Promises
from bellcow.cluster.formation.promises import PromiseBook
from bellcow.cluster.formation.proposer import CALM_S, GRACE_S, Proposer
from bellcow.cluster.formation.rules import ROUND_S
from bellcow.cluster.members.roster import Roster
from bellcow.errors import refused
from bellcow.model.membership_calls import BOOTSTRAP_PATH, BootstrapRequest, Done, decode, encode
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.cluster.members.schedule import Target

pytestmark = pytest.mark.virtual_time

ALWAYS = 1e12  # seconds: a server that answered then still counts as answering


class Scene:
    """Server b, which forms a cluster with the others of a test."""

    def __init__(self, folder: Path, *others: str, count: int = 3, joins: bool = False) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.count = count
        self.events: list[tuple[str, object]] = []
        self.asked: list[tuple[str, BootstrapRequest]] = []
        self.refusals: dict[str, str] = {}
        self.silent: set[str] = set()
        self.roster = Roster(itself("b", server_id="b", bootstrap_expect=count), self.clock)
        for name in others:
            self.meet(name)
        self.book = PromiseBook(folder, self.roster, self.clock)
        self.book.read()
        self.proposer = Proposer(
            promises=self.book,
            roster=self.roster,
            transport=self,
            joins=joins,
            clock=self.clock,
            reminders=Reminders(self.clock, self.report),
            report=self.report,
        )

    def meet(self, name: str) -> None:
        meet(self.roster, name, answered=ALWAYS, expect=self.count)

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields.get("reason")))

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        assert path == BOOTSTRAP_PATH
        self.asked.append((target.server_id, decode(body, BootstrapRequest)))
        if target.server_id in self.silent:
            await asyncio.sleep(1000.0)
        await asyncio.sleep(0.001)
        if reason := self.refusals.get(target.server_id):
            raise refused(reason)
        return encode(Done())

    def promised(self) -> tuple[Promise, ...]:
        promises = datadir.read(self.folder / datadir.PROMISE, Promises)
        return promises.open if promises else ()


async def calm(scene: Scene) -> Promise | None:
    """The first call starts the calm."""
    await scene.proposer.propose()
    await asyncio.sleep(CALM_S)
    return await scene.proposer.propose()


async def test_all_others_are_asked_for_the_promise_made_here(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    promise = await calm(scene)
    assert promise is not None
    assert promise.members == (("b", "b:4647"), ("c", "c:4647"), ("d", "d:4647"))
    wanted = BootstrapRequest(cluster_id=promise.cluster_id, proposer="b", members=promise.members)
    assert sorted(scene.asked, key=lambda each: each[0]) == [("c", wanted), ("d", wanted)]
    assert scene.promised() == (promise,)
    assert scene.events == [("bootstrapped", None)]


@pytest.mark.parametrize("others", ["c", "ac"], ids=["too few", "another is lower"])
async def test_only_the_lowest_id_proposes(tmp_path, others):
    scene = Scene(tmp_path, *others)
    assert await calm(scene) is None
    assert scene.promised() == ()
    assert scene.asked == []


async def test_proposer_waits_again_when_another_server_appears(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    await scene.proposer.propose()
    await asyncio.sleep(CALM_S - 0.1)
    scene.meet("e")
    assert await scene.proposer.propose() is None
    await asyncio.sleep(0.2)
    assert await scene.proposer.propose() is None
    await asyncio.sleep(CALM_S)
    assert await scene.proposer.propose() is not None


@pytest.mark.parametrize(("joins", "waits"), [(True, True), (False, False)])
async def test_server_that_forms_a_cluster_alone_first_waits_for_the_servers_to_join(
    tmp_path, joins, waits
):
    scene = Scene(tmp_path, count=1, joins=joins)
    assert (await scene.proposer.propose() is None) == waits
    if waits:
        await asyncio.sleep(GRACE_S)
        assert await scene.proposer.propose() is not None
    assert scene.asked == []


async def test_refusal_leaves_no_cancellation_counted_on_the_proposing_task(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    scene.refusals["d"] = "not now"
    await calm(scene)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert scene.events == [("bootstrap_refused", "not now")]


async def test_one_refusal_withdraws_the_promise_and_is_logged(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    scene.refusals["d"] = "not now"
    assert await calm(scene) is None
    assert scene.promised() == ()
    scene.refusals.clear()
    assert await scene.proposer.propose() is not None
    assert scene.events == [("bootstrap_refused", "not now"), ("bootstrapped", None)]


async def test_server_that_does_not_answer_in_time_has_not_promised(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    scene.silent.add("d")
    began = scene.clock.monotonic()
    assert await calm(scene) is None
    assert scene.clock.monotonic() - began == pytest.approx(CALM_S + ROUND_S, abs=0.5)
    assert scene.promised() == ()
    assert scene.events == [("bootstrap_refused", "no answer in time")]


async def test_no_proposal_is_made_while_a_promise_to_another_binds(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    members = (("a", "a:4647"), ("b", "b:4647"), ("c", "c:4647"))
    held = Promise(cluster_id="old", proposer="a", members=members, time_ns=scene.clock.wall_ns())
    datadir.write(tmp_path / datadir.PROMISE, Promises((held,)))
    scene.book.read()
    assert await calm(scene) is None
    assert scene.promised() == (held,)
    assert scene.asked == []
    reason = "already promised to form the cluster of server a; waiting for it"
    assert scene.events == [("bootstrap_refused", reason)]
