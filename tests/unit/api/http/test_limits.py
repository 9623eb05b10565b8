"""Connections and failed handshakes are counted, in all and by address."""

from __future__ import annotations

import pytest

from bellcow.api.http.limits import Clients, FailedHandshakes, connection_limits


def test_connections_are_counted_by_address_until_they_leave():
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


def test_changed_limit_holds_at_once_and_counts_open_connections():
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


def test_limit_of_zero_admits_every_connection():
    clients = Clients(0)
    assert {clients.enter("a") for _ in range(1000)} == {"admitted"}


def test_limit_in_all_counts_all_addresses_and_few_refusals_are_open():
    clients = Clients(10, total=32)
    hows = [clients.enter(f"10.0.0.{number}") for number in range(40)]
    assert hows == ["admitted"] * 32 + ["refused"] * 2 + ["cut"] * 6
    assert (clients.open, clients.refused, clients.full) == (32, 8, True)
    clients.leave("10.0.0.32", "refused")
    assert clients.enter("x") == "refused"
    clients.leave("10.0.0.0", "admitted")
    assert not clients.full
    assert clients.enter("x") == "admitted"


@pytest.mark.parametrize("files", [1, 16, 64, 256, 1_024, 4_096, 65_536, 1 << 20, 1 << 30])
def test_limits_of_connections_leave_files_for_the_store(files: int):
    clients, servers = connection_limits(files)
    assert clients + servers <= max(files, 1)
    assert files < 16 or min(clients, servers) > 1
    assert files - clients - servers >= min(files // 2, 128)


def test_clients_get_most_of_many_files():
    assert connection_limits(1_024) == (768, 128)
    assert connection_limits(1 << 20) == (20_000, 8_192)


def test_failed_handshakes_are_counted_by_address_and_second():
    failed = FailedHandshakes(2)
    for now in (5.1, 5.9):
        assert not failed.too_many("a", now)
        failed.count("a", now)
    assert failed.too_many("a", 5.95)
    assert not failed.too_many("b", 5.95)
    assert not failed.too_many("a", 6.0)
