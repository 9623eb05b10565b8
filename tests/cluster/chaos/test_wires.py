"""Wires between servers carry what they should, and nothing over a cut."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.cluster.chaos.wires import Loopback, Namespaces, can_have_namespaces, wires

PORT = 4647
HEAR = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{address}", {port}))
s.settimeout(1)
print("listening", flush=True)
try:
    print(s.recv(10).decode())
except TimeoutError:
    print("nothing")
"""
SAY = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3):
    s.sendto(b"hello", ("{address}", {port}))
"""


def script(place, text, address):
    code = text.format(address=address, port=PORT)
    return [*place.command_prefix, sys.executable, "-I", "-S", "-c", code]


def heard(from_, to, address):
    """What `to` hears on `address` of what `from_` says."""
    words = script(to, HEAR, address)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        subprocess.run(script(from_, SAY, address), check=True)
        return listener.stdout.read().strip()


@pytest.fixture(scope="module")
def made():
    if not can_have_namespaces():
        pytest.skip("network namespaces need root and the right to make them")
    with wires() as namespaces:
        yield namespaces, namespaces.place(1), namespaces.place(2)


@pytest.mark.slow
def test_cut_is_one_way_silent_and_mended(made):
    namespaces, one, two = made
    assert heard(one, two, two.server_ip) == "hello"
    namespaces.cut(one, two)
    assert heard(one, two, two.server_ip) == "nothing"
    assert heard(two, one, one.server_ip) == "hello"
    assert heard(one, two, two.client_ip) == "hello"  # clients' wire is whole
    namespaces.mend()
    assert heard(one, two, two.server_ip) == "hello"


def test_slow_wire_is_mended(made):
    namespaces, one, _ = made
    show = ["tc", "-n", one.namespace, "qdisc", "show", "dev", "s"]
    namespaces.slow_down(one)
    assert b"tbf" in subprocess.run(show, capture_output=True, check=True).stdout
    namespaces.mend()
    assert b"tbf" not in subprocess.run(show, capture_output=True, check=True).stdout


def test_nothing_is_left_of_namespaces():
    if not can_have_namespaces():
        pytest.skip("network namespaces need root and the right to make them")
    made = Namespaces()
    name = made.place(1).namespace
    made.close()
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    links = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert name not in listed
    assert name.split("-")[1] not in links


def test_without_namespaces_servers_share_the_loopback_interface():
    places = [Loopback().place(number) for number in (1, 2)]
    assert {place.server_ip for place in places} == {"127.0.0.1"}
    assert len({port for place in places for port in (place.http, place.rpc, place.serf)}) == 6
    assert not Loopback.can_cut
