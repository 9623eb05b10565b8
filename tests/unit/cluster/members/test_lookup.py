"""Names are resolved in daemon threads."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from bellcow.cluster.members import lookup
from bellcow.cluster.members.lookup import Lookups
from bellcow.errors import Error


def table(names):
    def look(host):
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return names[host]

    return look


def refused(lookups, host):
    with pytest.raises(Error) as caught:
        asyncio.run(lookups.addresses(host))
    return caught.value.message


def test_name_resolves_to_all_its_addresses():
    lookups = Lookups(table({"servers": ("10.3.1.2", "10.3.2.2", "fd00::3")}))
    assert asyncio.run(lookups.addresses("servers")) == ("10.3.1.2", "10.3.2.2", "fd00::3")


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1", "fe80::1%eth0"])
def test_address_resolves_to_itself_without_a_lookup(host):
    assert asyncio.run(Lookups(table({})).addresses(host)) == (host,)


def test_localhost_is_resolved():
    assert "127.0.0.1" in asyncio.run(Lookups().addresses("localhost"))


def test_unknown_name_is_refused_with_go_s_text():
    assert refused(Lookups(table({})), "nope") == "lookup nope: no such host"


def test_failure_of_the_name_service_is_reported():
    def look(host):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    assert refused(Lookups(look), "a") == "lookup a: temporary failure in name resolution"


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "%%HOST%%", "x\ud800"])
def test_malformed_name_is_refused_without_a_lookup(host):
    asked = []
    assert refused(Lookups(asked.append), host).startswith("lookup ")
    assert asked == []


async def test_hanging_resolver_is_abandoned_and_called_once(monkeypatch, caplog):
    monkeypatch.setattr(lookup, "LOOKUP_S", 0.05)
    release, asked = threading.Event(), []

    def look(host):
        asked.append(host)
        release.wait(10)
        raise OSError("too late")

    lookups = Lookups(look)
    for _ in range(3):
        with pytest.raises(Error, match="lookup slow: i/o timeout"):
            await lookups.addresses("slow")
    release.set()
    (late,) = [each for each in threading.enumerate() if each.name == "lookup"]
    await asyncio.to_thread(late.join, 10)
    await asyncio.sleep(0)  # the answer that came too late
    assert asked == ["slow"]
    assert caplog.text == ""


async def test_concurrent_callers_share_one_lookup():
    asked = []

    def look(host):
        asked.append(host)
        return ("10.0.0.1",)

    lookups = Lookups(look)
    answers = await asyncio.gather(*(lookups.addresses("a") for _ in range(5)))
    assert answers == [("10.0.0.1",)] * 5
    assert asked == ["a"]
