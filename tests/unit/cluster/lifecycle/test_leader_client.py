"""A server's requests to its leader, and the failures that count as no answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.clock import VirtualClock
from tests.sim.net import itself

from bellcow.cluster.lifecycle.leader_client import CALL_S, LeaderClient
from bellcow.cluster.members.roster import Roster
from bellcow.cluster.members.table import Known, Leader, Table
from bellcow.errors import Code, Error
from bellcow.model.hello import Record
from bellcow.model.membership_calls import (
    JOIN_PATH,
    STANDING_PATH,
    JoinRequest,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.throttle import Reminders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bellcow.cluster.members.schedule import Target

pytestmark = pytest.mark.virtual_time

STANDING = Standing(
    cluster_id="ours", epoch=2, founding="", configured=True, voter=False, is_member=True
)


class Scene:
    """Server b with this leader, and the requests that it sends."""

    def __init__(self, answer: Standing | Exception | float, leader: str = "a") -> None:
        self.answer = answer
        self.leader = leader
        self.asked: list[tuple[str, str, bytes]] = []
        self.events: list[tuple[str, Any]] = []

    async def asks(
        self, question: Callable[[LeaderClient], Awaitable[Standing | None]]
    ) -> Standing | None:
        clock = VirtualClock()
        roster = Roster(itself("b", server_id="b", non_voting=True, zone="z1"), clock)
        other = Record(itself=itself("a", server_id="a"), start_ns=1, status="alive", status_seq=0)
        roster.table = Table(
            me=roster.table.me,
            known={"a": Known(other, 0.0)},
            contacts={},
            leader=Leader(server_id=self.leader, epoch=2, term=1, heard=0.0),
        )
        reminders = Reminders(clock, self.report)
        return await question(LeaderClient(roster, self, clock, reminders))

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields.get("reason")))

    async def post(self, target: Target, path: str, body: bytes) -> bytes:
        self.asked.append((target.server_id, path, body))
        if isinstance(self.answer, float):
            await asyncio.sleep(self.answer)
            return encode(STANDING)
        if isinstance(self.answer, Exception):
            raise self.answer
        return encode(self.answer)


async def test_join_request_has_the_servers_own_facts():
    scene = Scene(STANDING)
    assert await scene.asks(lambda line: line.join("ours")) == STANDING
    ((whom, path, body),) = scene.asked
    assert (whom, path) == ("a", JOIN_PATH)
    assert decode(body, JoinRequest) == JoinRequest(
        server_id="b",
        address="b:4647",
        name="b.global",
        version="0.1.0",
        cluster_id="ours",
        non_voting=True,
        zone="z1",
        upgrade_version="",
    )


async def test_standing_request_names_the_servers_member():
    scene = Scene(STANDING)
    assert await scene.asks(lambda line: line.standing(7)) == STANDING
    ((whom, path, body),) = scene.asked
    assert (whom, path) == ("a", STANDING_PATH)
    assert decode(body, StandingRequest) == StandingRequest(server_id="b", member_id=7)


@pytest.mark.parametrize("leader", ["b", "x"], ids=["we lead", "one that is not known leads"])
async def test_no_request_is_sent_without_a_leader(leader):
    scene = Scene(STANDING, leader)
    assert await scene.asks(lambda line: line.standing(7)) is None
    assert (scene.asked, scene.events) == ([], [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Error(Code.REFUSED, "not now"), "not now"), (CALL_S + 1.0, "no answer in time")],
    ids=["refused", "late"],
)
async def test_failed_request_is_logged_and_not_raised(answer, reason):
    scene = Scene(answer)
    assert await scene.asks(lambda line: line.join("")) is None
    assert await scene.asks(lambda line: line.standing(7)) is None
    assert scene.events == [("join_refused", reason), ("membership_unconfirmed", reason)]
