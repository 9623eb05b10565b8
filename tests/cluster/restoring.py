"""Four real servers, three of them with a vote, and what it takes to interrupt a restore on them.

A server can be stopped at a named point of the code while something happens to it or to another.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
from tests.cluster.chaos.cluster import SETTLE_S, Cluster, Copy, Server, wait_until
from tests.cluster.load import Record, records_of
from tests.support.etcd import run

from bellcow.acl.hashing import policy_hash
from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import CallFailed, open_client
from bellcow.failpoint import STOP, VARIABLE
from bellcow.model.acl import ACLPolicy
from bellcow.model.namespace import Namespace
from bellcow.model.raft import RaftConfiguration, RaftServer
from bellcow.snapshot import archive
from bellcow.state.tables import ACL_POLICIES, NAMESPACES, ONLY, RAFT, with_indexes
from bellcow.wire import to_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bellcow.state.tables import Table

SNAPSHOT = "/v1/operator/snapshot"
FLOOR = "/v1/operator/scheduler/configuration"
COPY_TAKEN = "state loaded from a voter"


class Held(Server):
    """A server that can be stopped at a named point. One that expects no others never votes."""

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        settings["server"]["non_voting_server"] = self._expect == 0
        return settings

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), VARIABLE: f"@{self._point}"}

    @property
    def _point(self) -> Path:
        return self.folder / "fail-point"

    @contextlib.contextmanager
    def stopped_at(self, point: str) -> Iterator[None]:
        """Its Python is stopped there; afterwards it goes on, if it still lives."""
        assert self.process is not None
        agent = psutil.Process(self.process.pid)
        wait_until(
            lambda: agent.status() == psutil.STATUS_STOPPED, SETTLE_S, f"{point} on {self.name}"
        )
        self._point.unlink()
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                agent.resume()

    def arm(self, point: str) -> None:
        self._point.write_text(point + STOP)

    @property
    def http_port(self) -> int:
        return self.place.http

    # What it holds

    def names(self) -> set[str]:
        """The namespaces in its memory."""
        answer = self.get("/v1/namespaces?stale")
        assert answer.status == 200, answer
        return {row["Name"] for row in answer.json()}

    def index(self) -> int:
        """The index that its stale answers carry."""
        answer = self.get(f"{FLOOR}?stale", timeout=3)
        assert answer.status == 200, answer
        return int(answer.header("X-Nomad-Index") or 0)

    def generations(self) -> set[int]:
        """The generations of objects in its store."""
        if not self.etcd():
            with contextlib.closing(_read_only(self.data_dir / "server/follow.db")) as store:
                return {row[0] for row in store.execute("SELECT DISTINCT gen FROM objects")}
        return run(_generations_in_etcd(self.data_dir / "server/raft"))

    def kept(self) -> set[Path]:
        """The archives it made before restores."""
        return set((self.data_dir / "server/snapshots").glob("before-restore-*.snap"))

    def litter(self) -> list[str]:
        """Files that are not complete, those that are just being written among them."""
        return [path.name for path in self.data_dir.rglob("*.partial")]

    def copies_taken(self) -> int:
        return sum(event.get("@message") == COPY_TAKEN for event in self.events())


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


async def _generations_in_etcd(directory: Path) -> set[int]:
    every = pb.RangeRequest(key=b"g/", range_end=b"g0", keys_only=True, serializable=True)
    async with open_client(directory) as client:
        return {int(row.key.split(b"/")[1]) for row in (await client.range(every)).kvs}


class Four(Cluster):
    """Three servers with a vote and one that never gets one."""

    def _add(self, place: Any, join: list[str], expect: int) -> Server:
        name = f"s{place.number}"
        server = Held(name, self.folder / name, place, join, expect, self._key)
        self.servers.append(server)
        return server

    def begin(self) -> Four:
        self.start().wait_for_leader()
        self.add().start()
        self.wait_until_whole()
        return self

    @property
    def standby(self) -> Held:
        return self.servers[3]  # type: ignore[return-value]

    @property
    def chief(self) -> Held:
        """The leader."""
        return self.wait_for_leader()  # type: ignore[return-value]

    def follower(self, number: int = 0) -> Held:
        """A server with a vote that does not lead."""
        chief = self.chief
        return [each for each in self.held()[:3] if each is not chief][number]

    def held(self) -> list[Held]:
        return self.servers  # type: ignore[return-value]

    def wait_until_whole(self) -> None:
        """All are in the configuration that each of them knows, and the votes are as they were."""
        self.wait_until_healthy(3, 60)

        def whole() -> bool:
            wanted = {each.server_id(): each is not self.standby for each in self.servers}
            with contextlib.suppress(OSError, http.client.HTTPException):
                return all(votes_of(each) == wanted for each in self.servers)
            return False

        wait_until(whole, SETTLE_S, "all four in the configuration", self.tail)

    def wait_until_clean(self) -> None:
        """No server keeps objects that are no longer the truth, nor half a file."""
        for server in self.held():

            def clean(server: Held = server) -> bool:
                with contextlib.suppress(CallFailed, sqlite3.Error):
                    return len(server.generations()) == 1 and not server.litter()
                return False

            wanted = f"one generation and complete files on {server.name}"
            wait_until(clean, SETTLE_S, wanted, self.tail)

    def settle(self) -> Copy:
        """The state that all agree on, once everything is as it should be."""
        self.wait_until_whole()
        copy = self.wait_until_equal()
        self.wait_until_clean()
        return copy


def votes_of(server: Server) -> dict[str, bool]:
    """The configuration as this server has it: who votes."""
    answer = server.get("/v1/operator/raft/configuration?stale", timeout=2)
    return {entry["ID"]: entry["Voter"] for entry in answer.json()["Servers"]}


class Watcher(threading.Thread):
    """Looks all the time at the index that a server shows, which never goes back while it lives."""

    def __init__(self, server: Held) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._over = threading.Event()
        self.highest = 0
        self.faults: list[str] = []

    def run(self) -> None:
        life, last = -1, 0
        while not self._over.wait(0.05):
            before = self._server.life
            try:
                index = self._server.index()
            except (OSError, http.client.HTTPException, AssertionError):
                continue
            if before != self._server.life:
                continue
            if life == before and index < last:
                self.faults.append(f"{self._server.name}: {index} after {last}")
            life, last = before, index
            self.highest = max(self.highest, index)

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def watched(servers: Iterable[Held]) -> Iterator[None]:
    """No server shows a lower index than before, and in the end none than any of them did."""
    watchers = [Watcher(server) for server in servers]
    for watcher in watchers:
        watcher.start()
    yield
    for watcher in watchers:
        watcher.stop()
    assert [fault for watcher in watchers for fault in watcher.faults] == []
    highest = max(watcher.highest for watcher in watchers)
    assert highest > 0
    for watcher in watchers:
        assert watcher._server.index() >= highest


class Sending(threading.Thread):
    """A request on its way. `outcome` is the status and the text, 0 without an answer."""

    def __init__(self, server: Server, method: str, path: str, body: bytes | None = None) -> None:
        super().__init__(daemon=True)
        self._asked = (server, method, path, body)
        self._outcome = (0, "never ended")
        self.body = b""

    def run(self) -> None:
        server, method, path, body = self._asked
        try:
            answer = server.request(method, path, body, timeout=60)
            self.body = answer.body
            self._outcome = (answer.status, answer.text[:200] if answer.status != 200 else "")
        except (OSError, http.client.HTTPException) as error:
            self._outcome = (0, repr(error))

    def outcome(self) -> tuple[int, str]:
        self.join(60)
        return self._outcome


def archive_of(prefix: str, count: int, comment: Callable[[], str] | None = None) -> bytes:
    """An archive of so many namespaces, as another cluster might have saved it.

    With comments, which may be long, of policies in their place.
    """
    names = [f"{prefix}{number}" for number in range(count)]
    records: list[Record] = [
        (NAMESPACES.name, name, to_msgpack(with_indexes(Namespace(name=name), 6, 6)))
        if comment is None
        else (ACL_POLICIES.name, name, to_msgpack(with_indexes(_policy(name, comment()), 6, 6)))
        for name in names
    ]
    stranger = RaftServer(id="stranger", address="192.0.2.1:4647", name="stranger", voter=True)
    configuration = RaftConfiguration(servers=(stranger,))
    records.append((RAFT.name, ONLY, to_msgpack(with_indexes(configuration, 2, 5))))
    out = io.BytesIO()
    origin = archive.Origin(index=6, term=1, wall_ns=time.time_ns())
    archive.write(out, origin, records, io.BytesIO())
    return out.getvalue()


def _policy(name: str, comment: str) -> ACLPolicy:
    policy = ACLPolicy(name=name, rules=f'agent {{ policy = "read" }} # {comment}')
    return msgspec.structs.replace(policy, hash=policy_hash(policy))


def names_in(body: bytes, table: Table[Any] = NAMESPACES) -> set[str]:
    """The names of the rows of a table in an archive."""
    return {row_id for name, row_id, _ in records_of(body) if name == table.name}
