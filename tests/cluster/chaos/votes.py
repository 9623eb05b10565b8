"""Who votes, as the servers show it while faults go on: one poller a server, and pure rules."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.cluster.chaos.cluster import Server

PATH = "/v1/operator/raft/configuration?stale"
PAUSE_S = 0.25
PATIENCE_S = 2.0


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that a server shows at one moment of its life."""

    server: str
    life: int
    index: int
    servers: tuple[str, ...]
    voters: tuple[str, ...]


class Poller(threading.Thread):
    """Asks one server again and again; keeps what differs from the answer before."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True, name=f"votes of {server.name}")
        self.shown: list[Shown] = []
        self._server = server
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._look()

    def stop(self) -> None:
        self._over.set()

    def _look(self) -> None:
        life = self._server.life
        answer = self._server.get(PATH, timeout=PATIENCE_S)
        if answer.status != 200:
            return
        shown = shown_by(self._server.name, life, answer.json())
        if shown.index and shown not in self.shown[-1:]:
            self.shown.append(shown)


def shown_by(server: str, life: int, configuration: dict) -> Shown:
    entries = configuration["Servers"]
    return Shown(
        server=server,
        life=life,
        index=configuration["Index"],
        servers=tuple(sorted(each["ID"] for each in entries)),
        voters=tuple(sorted(each["ID"] for each in entries if each["Voter"])),
    )


@contextlib.contextmanager
def polled(servers: Sequence[Server]) -> Iterator[list[Shown]]:
    """What the servers show while this lasts; complete when it is over."""
    found: list[Shown] = []
    pollers = [Poller(server) for server in servers]
    for poller in pollers:
        poller.start()
    try:
        yield found
    finally:
        for poller in pollers:
            poller.stop()
        for poller in pollers:
            poller.join()
            found += poller.shown


def judge_votes(shown: Sequence[Shown], least: int) -> list[str]:
    """What is wrong: too few voters, or one index with two configurations."""
    problems = []
    known: dict[int, Shown] = {}
    for each in shown:
        other = known.setdefault(each.index, each)
        if (other.servers, other.voters) != (each.servers, each.voters):
            problems.append(
                f"{other.server} and {each.server} show two configurations at index {each.index}"
            )
        if len(each.voters) < least:
            who = " ".join(each.voters) or "nobody"
            problems.append(f"{each.server} shows at index {each.index} that only {who} votes")
    return sorted(set(problems))


def time_until(server: Server, other_id: str, *, healthy: bool, limit_s: float) -> float:
    """Seconds until the leader, asked through `server`, calls another server so."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < limit_s:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = server.get("/v1/operator/autopilot/health", timeout=limit_s)
            told = answer.json() if answer.status in {200, 429} else {}
            if any(
                each["ID"] == other_id and each["Healthy"] is healthy
                for each in told.get("Servers") or ()
            ):
                return round(time.monotonic() - began, 2)
        time.sleep(0.05)
    word = "healthy" if healthy else "unhealthy"
    raise AssertionError(f"a server was not called {word} within {passed:.1f} s")
