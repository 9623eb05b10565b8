"""A server that leaves, among servers on a network in memory."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.net import Net

from bellcow.cluster.lifecycle.leave import leave
from bellcow.errors import Code, Error
from bellcow.model.membership_calls import LEAVE_PATH, LeaveRequest, decode

pytestmark = pytest.mark.virtual_time

WITHIN_S = 2.5


class Leader:
    """The leader: the requests it got, and how it answers them."""

    def __init__(self, refusal: Exception | None = None, takes_s: float = 0.0) -> None:
        self.refusal, self.takes_s = refusal, takes_s
        self.asked: list[str] = []
        self.is_leader = False
        self.leader_id = "id-a"
        self.seen: list[str] = []
        self.net: Net | None = None

    async def leave(self, server_id: str) -> object:
        assert self.net is not None
        self.asked.append(server_id)
        self.seen.append(self.net.hosts["a"].statuses().get("b", ""))
        await asyncio.sleep(self.takes_s)
        if self.refusal:
            raise self.refusal
        return None

    async def post(self, target, path, body):
        assert (target.server_id, path) == (self.leader_id, LEAVE_PATH)
        await self.leave(decode(body, LeaveRequest).server_id)
        return b""


async def goes(leader: Leader, who: str = "b", *, deaf: str = ""):
    """Let a server leave; returns the error, and its status as the others see it."""
    async with Net() as net:
        leader.net = net
        for name, join in (("a", ""), ("b", "a"), ("c", "a")):
            net.start(name, join=join)
        net.hosts["a"].lead(1)
        await asyncio.sleep(3)
        host, reason = net.hosts[who], ""
        if deaf:
            net.cut(who, deaf)
        began = net.clock.monotonic()
        try:
            await leave(
                roster=host.roster,
                exchange=host.exchange,
                lead=leader,
                membership=leader,
                transport=leader,
                within_s=WITHIN_S,
            )
        except Error as error:
            reason = error.message
        assert net.clock.monotonic() - began <= WITHIN_S + 0.01
        await net.stop(who)
        await asyncio.sleep(0.5)  # the others call it to check that it has left
        return reason, [each.statuses()[who] for each in net.hosts.values()]


async def test_follower_asks_the_leader_and_announces_that_it_left():
    leader = Leader()
    assert await goes(leader) == ("", ["left", "left"])
    assert (leader.asked, leader.seen) == (["id-b"], ["leaving"])


async def test_leader_that_leaves_asks_its_own_membership():
    leader = Leader()
    leader.is_leader, leader.leader_id = True, "nobody"
    assert await goes(leader, "a") == ("", ["left", "left"])
    assert leader.asked == ["id-a"]


@pytest.mark.parametrize(
    ("leader", "reason"),
    [
        (Leader(Error(Code.CONFLICT, "it would cost the quorum")), "it would cost the quorum"),
        (Leader(takes_s=60.0), f"not removed from the cluster within {WITHIN_S:.1f} s"),
    ],
    ids=["refused", "too slow"],
)
async def test_server_that_may_not_leave_announces_that_it_is_alive(leader, reason):
    assert await goes(leader) == (reason, ["alive", "alive"])


async def test_dead_server_does_not_delay_an_announcement():
    leader = Leader(takes_s=60.0)
    reason, _ = await goes(leader, deaf="c")
    assert reason == f"not removed from the cluster within {WITHIN_S:.1f} s"


async def test_server_without_a_leader_does_not_leave():
    leader = Leader()
    leader.leader_id = ""
    assert await goes(leader) == ("No cluster leader", ["alive", "alive"])
    assert not leader.asked
