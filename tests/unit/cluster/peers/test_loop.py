"""The leader's loop: what it orders, and how it treats a change that fails."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.herd import CLUSTER_ID, begun, refusal
from tests.sim.store import Fault

from bellcow.errors import Code
from bellcow.model.membership_calls import MEMBER_PATH, MemberOrder, decode

pytestmark = pytest.mark.virtual_time


async def test_order_names_every_member_and_the_new_one_by_its_own_id():
    async with begun() as herd:
        orders = []
        real = herd.post

        async def listen(target, path, body):
            if path == MEMBER_PATH:
                orders.append((target.server_id, decode(body, MemberOrder)))
            return await real(target, path, body)

        herd.post = listen
        herd.start("d")
        await herd.ask_to_join("d")
        await herd.servers["a"].membership.promote("d")
        await herd.settle()
        target, order = orders[0]
        assert target == order.server_id == "d"
        assert order.members == tuple((name, f"{name}:4647") for name in "abcd")
        assert (order.member_id, order.token) == (4, f"{CLUSTER_ID}.0")


async def test_promotion_that_failed_is_refused_until_its_pause_is_over():
    async with begun() as herd:
        membership = herd.servers["a"].membership
        herd.votes.fault = lambda change: Fault.UNAVAILABLE if change == "add" else None
        herd.start("d")
        await herd.ask_to_join("d")
        await membership.promote("d")
        await asyncio.sleep(61)
        herd.votes.fault = lambda change: None
        early = await refusal(membership.promote("d"))
        await asyncio.sleep(10)
        await herd.settle()
        assert early.code is Code.UNAVAILABLE
        assert "failed 1 times" in early.message
        assert "d" in herd.votes.voters()
