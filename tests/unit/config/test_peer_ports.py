"""What protects the ports between servers, and where they listen without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bellcow.config import model
from bellcow.config.addresses import Machine, resolve_addresses
from bellcow.config.keys import put_value
from bellcow.config.peer_ports import (
    are_open,
    hosts_of,
    is_loopback,
    listening,
    needs_other_machines,
    protection,
)
from bellcow.config.server_block import ServerJoin

if TYPE_CHECKING:
    from pathlib import Path

    from bellcow.config.addresses import Addresses

KEY = "b29vb29vb29vb29vb29vbw=="
MACHINE = Machine(
    {
        "lo": ("127.0.0.1/8", "::1/128"),
        "eth0": ("10.0.0.1/24", "fe80::1/64"),
        "eth1": ("2001:db8::7/64",),
    },
    lambda host: {"one": ("10.0.0.1",), "localhost": ("127.0.0.1",)}[host],
)


def settings(**changes: Any) -> model.Settings:
    made = model.Settings()
    for path, value in changes.items():
        made = put_value(made, path.replace("__", "."), value)
    return made


def told(made: model.Settings) -> Addresses:
    return resolve_addresses(made, dev=False, machine=MACHINE)


def hosts(found: Addresses) -> tuple[str, ...]:
    return found.http_bind[0], found.rpc_bind[0], found.serf_bind[0]


@pytest.mark.parametrize("changes", [{"server__encrypt": KEY}, {"tls__rpc": True}])
def test_protected_ports_listen_on_the_configured_addresses(changes: dict[str, Any]):
    made = settings(**changes)
    found = listening(made, told(made))
    assert hosts(found) == ("0.0.0.0",) * 3
    assert not are_open(made, found)


@pytest.mark.parametrize(
    ("bind", "closed"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("10.0.0.1", "127.0.0.1"),
        ("one", "127.0.0.1"),
        ("2001:db8::7", "::1"),
        ("::", "::1"),
        ("127.0.0.2", "127.0.0.2"),
        ("localhost", "localhost"),
    ],
)
def test_unprotected_server_ports_stay_on_loopback_whatever_is_advertised(bind, closed):
    advertised = {"http": "10.0.0.1", "rpc": "10.0.0.1", "serf": "10.0.0.1"}
    made = settings(bind_addr=bind, advertise=model.Advertise(**advertised))
    found = listening(made, told(made))
    assert hosts(found) == (bind, closed, closed)
    assert not are_open(made, found)


@pytest.mark.parametrize("name", ["rpc", "serf"])
def test_an_address_of_one_port_opens_nothing_either(name: str):
    made = settings(bind_addr="127.0.0.1", **{f"addresses__{name}": "10.0.0.1"})
    made = put_value(made, "advertise", model.Advertise(http="h", rpc="h", serf="h"))
    assert are_open(made, told(made))
    assert hosts(listening(made, told(made))) == ("127.0.0.1",) * 3


def test_an_open_server_is_judged_by_its_bound_addresses():
    advertise = model.Advertise(http="127.0.0.1", rpc="127.0.0.1", serf="127.0.0.1")
    made = settings(server__open_peers=True, advertise=advertise)
    found = listening(made, told(made))
    assert hosts(found) == ("0.0.0.0",) * 3
    assert are_open(made, found)
    made = settings(server__open_peers=True, bind_addr="127.0.0.1", advertise=advertise)
    assert not are_open(made, listening(made, told(made)))


def test_the_operator_s_certificates_win_over_the_key():
    assert protection(settings()) == "none"
    assert protection(settings(server__encrypt=KEY)) == "key"
    assert protection(settings(server__encrypt=KEY, tls__rpc=True)) == "certificates"


def test_a_keyring_file_protects_without_a_key_in_the_settings(tmp_path: Path):
    made = settings(data_dir=str(tmp_path))
    assert protection(made) == "none"
    (tmp_path / "server").mkdir()
    (tmp_path / "server/serf.keyring").write_text(f'["{KEY}"]')
    assert protection(made) == "key"


def test_a_certificate_names_every_address_of_the_machine_and_the_advertised_ones():
    made = settings(advertise=model.Advertise(rpc="192.0.2.1", serf="one.example:4648"))
    found = set(hosts_of(told(made), MACHINE, "one"))
    wanted = {"127.0.0.1", "::1", "10.0.0.1", "2001:db8::7", "192.0.2.1", "one.example", "one"}
    assert found == wanted


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_known(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "", "one"])
def test_addresses_beyond_loopback_are_recognized(host: str):
    assert not is_loopback(host)


ABROAD = {"server__server_join": ServerJoin(retry_join=("127.0.0.1", "10.0.0.2:4648"))}
HERE = {"server__server_join": ServerJoin(start_join=("127.0.0.3", "localhost:5648"))}


@pytest.mark.parametrize(
    ("changes", "key", "why"),
    [
        (ABROAD, "server.server_join", "is to join 10.0.0.2"),
        (ABROAD | {"bind_addr": "127.0.0.1"}, "server.server_join", "is to join 10.0.0.2"),
        ({"server__retry_join": ("one",)}, "server.server_join", "is to join one"),
        ({"server__bootstrap_expect": 3}, "server.bootstrap_expect", "expects 3 servers"),
        (HERE | {"server__bootstrap_expect": 3}, "server.bootstrap_expect", "expects 3 servers"),
    ],
)
def test_a_server_that_joins_other_machines_needs_a_key(changes, key: str, why: str):
    advertise = {"advertise": model.Advertise(http="10.0.0.1", rpc="10.0.0.1", serf="10.0.0.1")}
    made = settings(**(changes | advertise))
    found = needs_other_machines(made, told(made))
    assert found[0] == key
    assert why in found[1]
    for protected in ({"server__encrypt": KEY}, {"tls__rpc": True}, {"server__open_peers": True}):
        made = settings(**(changes | advertise | protected))
        assert needs_other_machines(made, told(made)) == ("", "")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"server__bootstrap_expect": 1},
        HERE,
        HERE | {"server__bootstrap_expect": 3, "bind_addr": "127.0.0.1"},
    ],
)
def test_a_server_that_joins_no_other_machine_needs_no_key(changes: dict[str, Any]):
    advertise = {"advertise": model.Advertise(http="127.0.0.1", rpc="127.0.0.1", serf="127.0.0.1")}
    made = settings(**(changes | advertise))
    assert needs_other_machines(made, told(made)) == ("", "")
