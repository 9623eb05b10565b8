"""What the leader sees: a view of the roster."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.sim.net import Net

from bellcow.cluster.peers.inputs import ClusterView, see

pytestmark = pytest.mark.virtual_time


async def test_view_has_the_servers_of_the_region_and_their_addresses():
    async with Net() as net:
        for name, join in (("a", ""), ("b", "a"), ("c", "a"), ("w", "a")):
            net.start(name, "west" if name == "w" else "global", join=join)
        net.hosts["a"].lead(1)
        await asyncio.sleep(3)
        await net.stop("c")
        await asyncio.sleep(2)
        early = see(net.hosts["a"].roster)
        await asyncio.sleep(6)
        late = see(net.hosts["a"].roster)
    assert early.alive == {"id-a", "id-b", "id-c"}
    assert early.answering == {"id-a", "id-b"}
    assert late.alive == {"id-a", "id-b"}
    assert early.addresses == {f"id-{name}": f"{name}:4647" for name in "abc"}
    assert late.names["id-c"] == "c.global"
    assert early.roles["id-b"] == "follower"
    assert early.targets["id-b"].address == ("b", 4648)
    assert set(late.targets) == {"id-b", "id-c"}


def test_server_without_a_member_answers_and_takes_no_part():
    view = ClusterView(
        alive=frozenset("ab"), answering=frozenset("ab"), roles={"a": "leader", "b": "none"}
    )
    assert view.taking_part == {"a"}


async def test_server_whose_member_is_down_takes_no_part():
    async with Net() as net:
        host, other = net.start("a"), net.start("b", join="a")
        other.raft = msgspec.structs.replace(other.raft, works=False)
        await asyncio.sleep(2)
        down = see(host.roster)
        other.raft = msgspec.structs.replace(other.raft, works=True)
        await asyncio.sleep(2)
        well = see(host.roster)
    assert (down.answering, down.taking_part) == ({"id-a", "id-b"}, {"id-a"})
    assert well.taking_part == {"id-a", "id-b"}


async def test_leaving_server_is_alive_until_it_has_left():
    async with Net() as net:
        host, other = net.start("a"), net.start("b", join="a")
        await asyncio.sleep(2)
        out = []
        for status in ("leaving", "left"):
            await other.exchange.announce(status)
            await asyncio.sleep(0.5)  # the others call it to check that
            out.append(see(host.roster).alive)
        assert out == [{"id-a", "id-b"}, {"id-a"}]
