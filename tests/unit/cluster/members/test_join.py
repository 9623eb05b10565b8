"""Joins by name: all addresses are called, and failures have Nomad's texts."""

from __future__ import annotations

import asyncio

import pytest

from bellcow.cluster.members.join import CLOSED, Joined, join
from bellcow.errors import Code, Error

HOSTS = {"servers": ("10.0.0.1", "10.0.0.2", "10.0.0.3")}


class Neighbors:
    """An exchange for which each address answers as the test says."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked = []

    async def addresses(self, host):
        if host not in HOSTS and not host[0].isdigit():
            raise Error(Code.UNAVAILABLE, f"lookup {host}: no such host")
        return HOSTS.get(host, (host,))

    async def join(self, address, name=""):
        self.asked.append((address[0], name))
        error = self.answers.get(f"ip{address[0][-1]}")
        if error is not None:
            raise error

    async def knock(self, address):
        error = self.answers.get(f"knock{address[0][-1]}")
        if error is not None:
            raise error


def joined(host, **answers):
    neighbors = Neighbors(**answers)
    return asyncio.run(join((host, 4648), neighbors, neighbors.knock)), neighbors.asked


def test_every_address_of_a_name_is_joined():
    found, asked = joined("servers")
    assert found == Joined(3, ())
    assert sorted(asked) == [(ip, "servers") for ip in HOSTS["servers"]]


def test_one_answer_is_enough_and_the_failures_are_listed():
    found, _ = joined("servers", knock1=ConnectionRefusedError(), knock3=TimeoutError())
    assert found == Joined(
        1,
        (
            f"Failed to join 10.0.0.1: dial tcp 10.0.0.1:4648: connect: connection refused{CLOSED}",
            "Failed to join 10.0.0.3: dial tcp 10.0.0.3:4648: i/o timeout",
        ),
    )


def test_name_without_an_address_fails_with_nomad_s_text():
    found, _ = joined("nope")
    assert found == Joined(0, ("Failed to resolve nope: lookup nope: no such host",))


NO_SERVER = "10.0.0.1:4648: no server port answers there"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Error(Code.REFUSED, "404: <html>secret"), f"{NO_SERVER} (404); it is 4648 unless"),
        (Error(Code.REFUSED, "200: secret"), f"{NO_SERVER} (200);"),
        (Error(Code.UNAVAILABLE, "Bad status line: 'SSH-2.0-secret'"), f"{NO_SERVER}; it is"),
        (Error(Code.INVALID, "this is not a hello: secret"), NO_SERVER),
        (Error(Code.CONFLICT, "server of another cluster"), "server of another cluster"),
        (
            Error(Code.REFUSED, "409: server of another cluster: theirs is a, ours is b"),
            "409: server of another cluster: theirs is a, ours is b",
        ),
        (Error(Code.DENIED, "TLS: certificate unknown"), "4648: TLS: certificate unknown"),
    ],
)
def test_answer_of_another_service_is_never_quoted(error, words):
    found, _ = joined("10.0.0.1", ip1=error)
    (failure,) = found.failures
    assert words in failure
    assert "secret" not in failure
