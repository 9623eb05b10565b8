"""Connections are counted by address."""

from __future__ import annotations

from bellcow.api.limits import Clients


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
