"""Connections are counted by address."""

from __future__ import annotations

import asyncio

import pytest

from bellcow.api.limits import Clients, Held, Share
from bellcow.errors import Code, Error


def test_clients_are_counted_by_address_and_forgotten_when_they_leave():
    clients = Clients(2)
    hows = [clients.enter("a") for _ in range(6)]
    assert hows == ["admitted", "admitted", "refused", "refused", "cut", "cut"]
    assert clients.enter("b") == "admitted"
    clients.leave("a", "refused")
    clients.leave("a", "cut")
    assert clients.enter("a") == "refused"
    clients.leave("a", "admitted")
    assert clients.enter("a") == "admitted"
    for how in ("admitted", "admitted", "refused", "refused"):
        clients.leave("a", how)
    clients.leave("b", "admitted")
    assert (clients._admitted, clients._refused) == ({}, {})


def test_another_limit_counts_at_once_and_those_who_are_there_count():
    clients = Clients(2)
    for _ in range(2):
        clients.enter("a")
    clients.limit = 3
    assert [clients.enter("a") for _ in range(2)] == ["admitted", "refused"]
    clients.limit = 1
    clients.leave("a", "admitted")
    assert [clients.enter("a") for _ in range(2)] == ["cut", "cut"]
    assert clients.enter("b") == "admitted"
    clients.limit = 0
    assert clients.enter("a") == "admitted"


def test_no_limit_admits_everyone():
    clients = Clients(0)
    assert {clients.enter("a") for _ in range(1000)} == {"admitted"}


def test_bytes_that_an_address_holds_are_bounded_and_given_back():
    held = Held(10)
    held.take("a", 10)
    held.take("b", 10)
    with pytest.raises(Error) as caught:
        held.take("a", 1)
    assert caught.value.code is Code.TOO_MANY
    held.give_back("a", 4)
    held.take("a", 4)
    held.give_back("a", 10)
    held.give_back("b", 10)
    assert held._bytes == {}


async def pieces(count: int):
    for _ in range(count):
        yield bytes(5)


async def pairs(chunks):
    """Of two pieces one thing is made."""
    before = b""
    async for chunk in chunks:
        if before:
            yield before + chunk
            before = b""
        else:
            before = chunk


def test_pieces_are_held_until_something_whole_is_made_of_them():
    async def test() -> None:
        held = Held(10)
        share = Share(held, "a")
        assert [each async for each in share.freed(pairs(share.counted(pieces(8))))] == (
            [bytes(10)] * 4
        )
        assert held._bytes == {}

    asyncio.run(test())


@pytest.mark.parametrize("count", [3, 5])
def test_share_of_a_request_that_ends_early_is_given_back(count: int):
    async def test() -> None:
        held = Held(10)
        share = Share(held, "a")

        async def never(chunks):
            async for _ in chunks:
                pass
            raise Error(Code.UNKNOWN_OUTCOME, "cut")
            yield b""

        with pytest.raises(Error):
            [each async for each in share.freed(never(share.counted(pieces(count))))]
        assert held._bytes == {}

    asyncio.run(test())
