"""What is measured, running: an agent of ours with ACLs on, and the reference server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
from tests.harness import Agent, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_S = 10.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much."""

    quick: bool = False

    @property
    def seconds(self) -> float:
        return 1.0 if self.quick else 5.0

    @property
    def turns(self) -> int:
        return 2 if self.quick else 6

    @property
    def connections(self) -> tuple[int, ...]:
        return (1, 64) if self.quick else (1, 8, 64, 256)

    @property
    def waiters(self) -> int:
        return 2_000 if self.quick else 10_000

    @property
    def objects(self) -> int:
        return 20_000 if self.quick else 100_000


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bellcow-bench-") as name:
        yield Path(name)


def make_agent(where: Path, limits: Mapping[str, int] | None = None) -> Agent:
    """An agent as an operator runs it, but without the limits that one client would meet."""
    settings: dict[str, Any] = {
        "log_level": "INFO",
        "acl": {"enabled": True},
        "limits": {"http_max_conns_per_client": 0, **(limits or {})},
    }
    return Agent(where / "agent", settings)


@contextlib.contextmanager
def running_agent() -> Iterator[tuple[Agent, str]]:
    """A fresh agent and its management token."""
    with folder() as where, make_agent(where) as agent:
        yield agent, agent.bootstrap()


@contextlib.contextmanager
def running_reference() -> Iterator[tuple[int, str]]:
    """The reference server: its process and its URL."""
    (port,) = free_ports(1)
    words = [sys.executable, "-m", "bench.reference", str(port)]
    with subprocess.Popen(words) as process:
        try:
            _wait_for(port)
            yield process.pid, f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.perf_counter() + START_S
    while time.perf_counter() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise RuntimeError("the reference server did not start")


def pid_of(agent: Agent) -> int:
    assert agent.process is not None
    return agent.process.pid


def resident_bytes(agent: Agent) -> int:
    """Resident memory of the agent and its children."""
    process = psutil.Process(pid_of(agent))
    everyone = (process, *process.children(recursive=True))
    return sum(int(each.memory_info().rss) for each in everyone)


def lift_file_limit(wanted: int) -> int:
    """Raise the limit of open files as far as allowed, up to `wanted`; it is inherited."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    return max(soft, limit)


def gauge(agent: Agent, token: str, name: str) -> float:
    """A gauge of /v1/metrics, whatever the host in its label."""
    for row in agent.get("/v1/metrics", token).json()["Gauges"]:
        if row["Name"] == name:
            return float(row["Value"])
    raise RuntimeError(f"no gauge {name} (host {os.uname().nodename})")
