"""A removed server that is told to join at once, before it has heard of its removal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.camp import Camp

from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import RAFT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sim.camp import CampServer

pytestmark = pytest.mark.virtual_time


def configured(server: CampServer) -> set[str]:
    return {each.id for each in (server.tables.one(RAFT) or RaftConfiguration()).servers}


async def until(holds: Callable[[], bool], what: str) -> None:
    for _ in range(600):
        if holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(what)


async def settled(camp: Camp, *names: str) -> CampServer:
    """Wait until all are configured and know each other; returns the leader."""
    for name in names:
        camp.start(name)
    leader = await camp.led()
    wanted = set(names)
    await until(lambda: all(configured(each) == wanted for each in camp.servers.values()), "all in")
    return leader


async def test_removed_voter_that_has_not_heard_of_it_is_admitted_when_told_to_join(tmp_path: Path):
    async with Camp(tmp_path, "a", "b", "c") as camp:
        leader = await settled(camp, "a", "b", "c")
        other = next(each for each in camp.servers.values() if each is not leader)
        for name in camp.names:
            if name != other.name:
                camp.net.cut(other.name, name)
        await leader.membership.remove(other.name)
        camp.net.mend()
        assert other.name in configured(other)  # it has not heard of it
        await other.lifecycle.rejoin()
        await until(lambda: other.name in configured(leader), "it is in again")


async def test_removed_non_voter_that_has_not_heard_of_it_is_admitted_when_told_to_join(
    tmp_path: Path,
):
    async with Camp(tmp_path, "a", "b") as camp:
        camp.settle_in("a", 1)
        camp.settle_in("b", 0, "a", non_voting=True)
        leader = await settled(camp, "a", "b")
        other = camp.servers["b"]
        await leader.membership.remove("b")
        assert "b" in configured(other)
        await other.lifecycle.rejoin()
        await until(lambda: "b" in configured(leader), "it is in again")


async def test_join_before_a_removal_does_not_undo_it(
    tmp_path: Path,
):
    async with Camp(tmp_path, "a", "b", "c") as camp:
        leader = await settled(camp, "a", "b", "c")
        other = next(each for each in camp.servers.values() if each is not leader)
        await other.lifecycle.rejoin()
        await leader.membership.remove(other.name)
        await asyncio.sleep(30.0)
        assert other.name not in configured(leader)


async def test_rejoin_without_a_leader_goes_by_memory(tmp_path: Path):
    async with Camp(tmp_path, "a", "b", "c") as camp:
        leader = await settled(camp, "a", "b", "c")
        other = next(each for each in camp.servers.values() if each is not leader)
        await leader.membership.remove(other.name)
        await until(lambda: other.name not in configured(other), "it knows")
        for name in camp.names:
            if name != other.name:
                camp.net.cut(other.name, name)
        await asyncio.sleep(5.0)
        await other.lifecycle.rejoin()
        camp.net.mend()
        await until(lambda: other.name in configured(leader), "it is in again")


async def test_leader_removed_right_after_its_election_stays_out(tmp_path: Path):
    async with Camp(tmp_path, "a", "b", "c") as camp:
        leader = await settled(camp, "a", "b", "c")
        # It has not looked since its election.
        leader.lifecycle._context.watch = msgspec.structs.replace(
            leader.lifecycle._context.watch, away=True
        )
        await leader.membership.remove(leader.name)
        await asyncio.sleep(30.0)
        assert leader.name not in configured(await camp.led())
