"""Clients for tests on real agents: writers that remember what they were told, and digests."""

from __future__ import annotations

import http.client
import io
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from bellcow.snapshot import archive
from bellcow.state.tables import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.restoring import Held
    from tests.harness import Agent

READS = (
    "/v1/namespaces",
    "/v1/acl/policies",
    "/v1/acl/tokens",
    "/v1/operator/autopilot/configuration",
    "/v1/operator/license",
)
Record = tuple[str, str, bytes]


class Writer(threading.Thread):
    """Creates namespaces of its own, one after the other, until stopped or cut off."""

    def __init__(
        self, agent: Agent | Held, name: str, token: str = "", *, host: str = "127.0.0.1"
    ) -> None:
        super().__init__(daemon=True)
        self._host, self._port = host, agent.http_port
        self._prefix = name
        self._headers = {"X-Nomad-Token": token} if token else {}
        self._over = threading.Event()
        self.acknowledged: dict[str, int] = {}  # name -> index
        self.refused: dict[str, str] = {}  # name -> what was said
        self.unanswered: set[str] = set()

    def run(self) -> None:
        address = (self._host, self._port)
        with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
            self._write(connection)

    def _write(self, connection: http.client.HTTPConnection) -> None:
        count = 0
        while not self._over.is_set():
            name = f"{self._prefix}-{count}"
            count += 1
            try:
                body = msgspec.json.encode({"Name": name})
                connection.request("PUT", "/v1/namespace", body, self._headers)
                answer = connection.getresponse()
                text = answer.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                self.unanswered.add(name)
                return
            if answer.status == 200:
                self.acknowledged[name] = int(answer.headers["X-Nomad-Index"])
            else:
                self.refused[name] = text

    def stop(self) -> None:
        self._over.set()
        self.join()


class Counter(threading.Thread):
    """Adds one to a number in the configuration again and again, by compare-and-set."""

    PATH = "/v1/operator/autopilot/configuration"

    def __init__(self, agent: Agent) -> None:
        super().__init__(daemon=True)
        self._agent = agent
        self._over = threading.Event()
        self.added = 0
        self.unanswered = 0

    def run(self) -> None:
        while not self._over.is_set():
            try:
                seen = self._agent.get(self.PATH).json()
                wanted = {**seen, "MaxTrailingLogs": seen["MaxTrailingLogs"] + 1}
            except (OSError, http.client.HTTPException, ValueError):
                return
            try:
                answer = self._agent.put(f"{self.PATH}?cas={seen['ModifyIndex']}", wanted)
                self.added += answer.json() is True
            except (OSError, http.client.HTTPException, ValueError):
                self.unanswered += 1
                return

    def stop(self) -> None:
        self._over.set()
        self.join()


def namespaces(agent: Agent, token: str = "") -> dict[str, int]:
    """Names and their ModifyIndex."""
    rows: list[dict[str, Any]] = agent.get("/v1/namespaces", token).json()
    return {row["Name"]: row["ModifyIndex"] for row in rows}


def answers(agent: Agent, token: str) -> dict[str, Any]:
    """What clients see of the state, but for the indexes that a restore moves on."""
    seen = {path: agent.get(path, token).json() for path in READS}
    scheduler = agent.get("/v1/operator/scheduler/configuration", token).json()
    return {**seen, "scheduler": scheduler["SchedulerConfig"]}


def records_of(body: bytes) -> set[Record]:
    """The records of an archive but for the configuration, which is each cluster's own."""
    spool = io.BytesIO()
    limit = archive.limit_for(len(body), 1 << 30)
    read = archive.read(io.BytesIO(body), spool, limit, known=REGISTRY)
    return {record for record in read.records() if record[0] != "raft_configuration"}


def save(agent: Agent, token: str = "") -> bytes:
    answer = agent.get("/v1/operator/snapshot", token)
    assert answer.status == 200, answer
    return answer.body


def generations(data_dir: Path) -> set[int]:
    """The generations of objects in the store file of an agent, running or not."""
    with closing(sqlite3.connect(f"file:{data_dir}/server/store.db?mode=ro", uri=True)) as store:
        return {row[0] for row in store.execute("SELECT DISTINCT gen FROM objects")}


def open_files(agent: Agent, folder: Path) -> list[str]:
    """What the agent's process has open below `folder`, nameless files included."""
    import os

    assert agent.process is not None
    held = f"/proc/{agent.process.pid}/fd"
    found = []
    for each in os.listdir(held):  # noqa: PTH208  names only, and they come and go
        with suppress(OSError):
            target = os.readlink(f"{held}/{each}")  # noqa: PTH115  not a path that exists
            if target.startswith(str(folder)):
                found.append(target)
    return found
