"""Where servers live, and what can be done to the wires between them.

With the right to do so each server has a network namespace: one wire to the other servers, which
can be cut and slowed down, and one to its clients, which stays. Without it all share the loopback
interface, and nothing can be cut.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Protocol

import msgspec
from tests.harness import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = "02:00:00:00:00:01"  # no interface has this address: what is sent to it is lost
SERVER_NET = "198.18.0"  # inside namespaces only, so every run may use the same
CLIENT_NETS = ("198.19", range(256))
_letters = itertools.cycle("ghijklmnopqrstuvwxyz")
SLOW = ("rate", "256kbit", "burst", "8kb", "latency", "400ms")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one server lives: its addresses, its ports, and the namespace if it has one."""

    number: int
    namespace: str = ""
    server_ip: str = "127.0.0.1"
    client_ip: str = "127.0.0.1"
    http: int = 4646
    rpc: int = 4647
    serf: int = 4648

    @property
    def command_prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []


class Wires(Protocol):
    """Gives places to servers; cuts and mends what is between them."""

    can_cut: bool

    def place(self, number: int) -> Place: ...
    def cut(self, from_: Place, to: Place) -> None: ...
    def slow_down(self, place: Place) -> None: ...
    def mend(self) -> None: ...
    def close(self) -> None: ...


class Loopback:
    """Everybody on 127.0.0.1."""

    can_cut = False

    def place(self, number: int) -> Place:
        http, rpc, serf = free_ports(3)
        return Place(number=number, http=http, rpc=rpc, serf=serf)

    def cut(self, from_: Place, to: Place) -> None:
        raise NotImplementedError

    def slow_down(self, place: Place) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        """Nothing is ever cut."""

    def close(self) -> None:
        """Nothing was made."""


class Namespaces:
    """A namespace for each server, and two bridges: one for servers, one to the clients."""

    can_cut = True

    def __init__(self) -> None:
        self._tag = f"{os.getpid():x}{next(_letters)}"  # a name of a wire has 15 characters
        self._places: list[Place] = []
        self._slow: list[Place] = []
        self._cuts: list[tuple[Place, Place]] = []
        self._client_net = _free_net()
        for kind in ("s", "c"):
            _ip("link", "add", self._bridge(kind), "type", "bridge")
            _ip("link", "set", self._bridge(kind), "up")
        _ip("addr", "add", f"{self._client_net}.1/24", "dev", self._bridge("c"))

    def _bridge(self, kind: str) -> str:
        return f"bc{kind}{self._tag}"

    def place(self, number: int) -> Place:
        """A new namespace with its two wires."""
        host = 10 + number
        place = Place(
            number=number,
            namespace=f"bellcow-{self._tag}-{number}",
            server_ip=f"{SERVER_NET}.{host}",
            client_ip=f"{self._client_net}.{host}",
        )
        _ip("netns", "add", place.namespace)
        self._places.append(place)
        _ip("-n", place.namespace, "link", "set", "lo", "up")
        for kind, address in (("s", place.server_ip), ("c", place.client_ip)):
            outer = f"bc{kind}{self._tag}-{number}"
            inner = ("peer", "name", kind, "netns", place.namespace)
            _ip("link", "add", outer, "type", "veth", *inner)
            _ip("link", "set", outer, "master", self._bridge(kind), "up")
            _ip("-n", place.namespace, "addr", "add", f"{address}/24", "dev", kind)
            _ip("-n", place.namespace, "link", "set", kind, "up")
        return place

    def cut(self, from_: Place, to: Place) -> None:
        """Lose all that one server sends to another, without a word to either."""
        at = (to.server_ip, "lladdr", NOBODY, "dev", "s", "nud", "permanent")
        _ip("-n", from_.namespace, "neigh", "replace", *at)
        self._cuts.append((from_, to))

    def slow_down(self, place: Place) -> None:
        """Narrow what a server sends to the others."""
        _run("tc", "-n", place.namespace, "qdisc", "replace", "dev", "s", "root", "tbf", *SLOW)
        self._slow.append(place)

    def mend(self) -> None:
        for from_, to in self._cuts:
            _ip("-n", from_.namespace, "neigh", "del", to.server_ip, "dev", "s")
        for place in self._slow:
            _run("tc", "-n", place.namespace, "qdisc", "del", "dev", "s", "root")
        self._cuts, self._slow = [], []

    def close(self) -> None:
        for place in self._places:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", place.namespace)
        for kind in ("s", "c"):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("link", "del", self._bridge(kind))


@contextlib.contextmanager
def wires() -> Iterator[Wires]:
    """The best wires that can be had here."""
    chosen: Wires = Namespaces() if can_have_namespaces() else Loopback()
    try:
        yield chosen
    finally:
        chosen.close()


def can_have_namespaces() -> bool:
    """Whether namespaces and bridges may be made here, found out by making them."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        return False
    name = f"bellcow-try-{os.getpid():x}"
    bridge = f"bct{os.getpid():x}"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", bridge, "type", "bridge")
    except subprocess.CalledProcessError:
        return False
    finally:
        for undo in (("link", "del", bridge), ("netns", "del", name)):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(*undo)
    return True


def _free_net() -> str:
    """A network for clients that no other run on this machine uses."""
    used = subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    start, numbers = CLIENT_NETS
    for number in numbers:
        net = f"{start}.{number}"
        if f" {ipaddress.ip_address(net + '.1')}/" not in used:
            return net
    raise RuntimeError("no client network is free; old runs have left their bridges behind")


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)
