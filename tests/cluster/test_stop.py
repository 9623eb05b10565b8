"""SIGTERM in the middle of each kind of request: a clean end in under five seconds, status 0."""

from __future__ import annotations

import gzip
import re
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.harness import until

if TYPE_CHECKING:
    from tests.harness import Agent

pytestmark = pytest.mark.slow

HOST = b"Host: 127.0.0.1\r\n"
REQUESTS = {
    "a connection without a request": b"",
    "half a request line": b"GET /v1/sta",
    "half a header": b"GET /v1/status/leader HTTP/1.1\r\nHos",
    "an idle connection": b"GET /v1/status/leader HTTP/1.1\r\n" + HOST + b"\r\n",
    "a blocking query": b"GET /v1/namespaces?index=1000&wait=300s HTTP/1.1\r\n" + HOST + b"\r\n",
    "the log being followed": b"GET /v1/agent/monitor HTTP/1.1\r\n" + HOST + b"\r\n",
    "a snapshot nobody reads": b"GET /v1/operator/snapshot HTTP/1.1\r\n" + HOST + b"\r\n",
    "half a body": (
        b"PUT /v1/namespace HTTP/1.1\r\n" + HOST + b'Content-Length: 100\r\n\r\n{"Name": '
    ),
    "half an archive": (
        b"PUT /v1/operator/snapshot HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n\x1f\x8b"
    ),
    "a write": (
        b"PUT /v1/namespace HTTP/1.1\r\n" + HOST + b'Content-Length: 13\r\n\r\n{"Name": "x"}'
    ),
}


def stop_amid(agent: Agent, requests: list[bytes]) -> None:
    """Send `requests`, each on a connection of its own, and SIGTERM while they are under way."""
    assert agent.process is not None
    with ExitStack() as stack:
        for request in requests:
            connection = socket.create_connection(("127.0.0.1", agent.http_port))
            stack.enter_context(connection)
            connection.sendall(request)
        time.sleep(0.1)
        children = psutil.Process(agent.process.pid).children(recursive=True)
        began = time.monotonic()
        assert agent.stop() == 0, agent.log
        assert time.monotonic() - began < 5
    assert not psutil.wait_procs(children, timeout=1)[1]
    assert "Traceback" not in agent.log


@pytest.mark.parametrize("kind", REQUESTS)
def test_agent_stops_cleanly_amid(kind, start_agent):
    agent = start_agent()
    stop_amid(agent, [REQUESTS[kind]])
    agent.start()
    assert agent.get("/v1/status/leader").status == 200


def test_agent_stops_cleanly_amid_all_of_them_at_once(start_agent):
    stop_amid(start_agent(), list(REQUESTS.values()) * 3)


def catches(agent: Agent, number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal."""
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    (mask,) = re.findall(r"SigCgt:\s*(\w+)", status)
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_agent_can_be_stopped_while_it_starts(start_agent):
    """Once the signal is watched for, from before it leads, the end is clean."""
    agent = start_agent()
    agent.stop()
    agent.start(wait=False)
    until(lambda: catches(agent, signal.SIGTERM), "a handler of the signal")
    assert agent.stop() == 0, agent.log


def test_agent_stops_in_five_seconds_under_everything_at_once(start_agent):
    """Bodies to decode, an archive to read, queries, streams and readers that do not read."""
    agent = start_agent({"limits": {"http_max_conns_per_client": 0}})
    odd = b"[" + b"0," * (1 << 19)
    odd = odd[: (1 << 20) - 3] + b"-0]"
    bodies = [
        b"PUT /v1/operator/scheduler/configuration HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: %d\r\n\r\n" % len(odd)
        + odd
    ] * 40
    zeros = gzip.compress(bytes(64 << 20), 1)
    archive = (
        b"PUT /v1/operator/snapshot HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: %d\r\n\r\n" % len(zeros)
        + zeros
    )
    stop_amid(agent, [*bodies, *[archive] * 4, *REQUESTS.values(), *REQUESTS.values()])
    agent.start()
