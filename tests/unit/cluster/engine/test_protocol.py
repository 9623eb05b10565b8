"""Consensus of a single server."""

from __future__ import annotations

import asyncio

import pytest

from bellcow.cluster.engine.protocol import Peer, Single, Status
from bellcow.store.protocol import Unavailable


def test_single_server_leads_in_the_term_of_its_starts():
    status = asyncio.run(Single("id", "127.0.0.1:4647", starts=3).status())
    assert status == Status(member_id=1, leader_id=1, term=3)


def test_single_server_is_the_only_voter():
    members = asyncio.run(Single("id", "127.0.0.1:4647", starts=1).members())
    assert members == [Peer(member_id=1, server_id="id", address="127.0.0.1:4647", voter=True)]


async def test_address_of_a_single_server_may_change():
    single = Single("id", "old:4647", starts=1)
    await single.update(1, "new:4647")
    await single.update(2, "other:4647")
    assert [each.address for each in await single.members()] == ["new:4647"]


@pytest.mark.parametrize(
    "call",
    [
        lambda single: single.add("b:4647"),
        lambda single: single.promote(2),
        lambda single: single.remove(1),
        lambda single: single.transfer(2),
    ],
    ids=["add", "promote", "remove", "transfer"],
)
def test_membership_of_a_single_server_does_not_change(call):
    with pytest.raises(Unavailable, match="the embedded store has one voter"):
        asyncio.run(call(Single("id", "a:4647", starts=1)))
