"""Saves and restores on four servers: through each of them, under load, and a large one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.cluster.load import Writer, records_of
from tests.cluster.restoring import (
    SNAPSHOT,
    Four,
    Held,
    archive_of,
    names_in,
    votes_of,
    watched,
)
from tests.support.etcd import needs_etcd

from bellcow.state.tables import ACL_POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, needs_etcd]

MB = 1 << 20
PART: dict[str, Callable[[Four], Held]] = {
    "leader": lambda cluster: cluster.chief,
    "follower": lambda cluster: cluster.follower(),
    "non-voter": lambda cluster: cluster.standby,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Four]:
    with Four(keep=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster.begin()


@pytest.mark.parametrize("query", ["", "?stale"])
@pytest.mark.parametrize("part", PART)
def test_snapshot_is_saved_through_a(part, query, cluster):
    index = cluster.settle().index
    server = PART[part](cluster)
    answer = server.get(SNAPSHOT + query)
    assert answer.status == 200, answer
    digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode()
    assert answer.header("Digest") == f"sha-256={digest}"
    assert server.copy().index == index
    assert records_of(answer.body) == records_of(cluster.chief.get(SNAPSHOT).body)


@pytest.mark.parametrize("part", PART)
def test_snapshot_is_restored_through_a(part, cluster):
    before, configuration = cluster.settle(), votes_of(cluster.chief)
    leader, copies = cluster.chief, cluster.standby.copies_taken()
    names, kept = leader.names(), leader.kept()
    with watched(cluster.held()):
        answer = PART[part](cluster).request("PUT", SNAPSHOT, archive_of(part, 1_200))
        assert answer.status == 200, answer
        after = cluster.settle()
    (path,) = leader.kept() - kept
    assert answer.header("X-Bellcow-Kept") == path.name
    assert answer.header("X-Bellcow-Kept-On") == f"{leader.name}.global"
    assert names_in(path.read_bytes()) == names
    assert after.index > before.index
    wanted = {"default", *(f"{part}{number}" for number in range(1_200))}
    assert all(server.names() == wanted for server in cluster.held())
    assert all(votes_of(server) == configuration for server in cluster.held())
    assert cluster.standby.copies_taken() == copies + 1


def test_write_during_restores_is_on_exactly_one_side_of_each(cluster):
    cluster.settle()
    archive = cluster.chief.get(SNAPSHOT).body
    archived = cluster.chief.names()
    writers = [
        Writer(server, f"w{server.name}", host=server.place.client_ip) for server in cluster.held()
    ]
    with watched(cluster.held()):
        for writer in writers:
            writer.start()
        for server in cluster.held():
            time.sleep(0.3)
            answer = server.request("PUT", SNAPSHOT, archive)
            assert answer.status == 200, answer
        time.sleep(0.3)
        for writer in writers:
            writer.stop()
        cluster.settle()
    assert not any(writer.unanswered for writer in writers)
    acknowledged = {name: at for writer in writers for name, at in writer.acknowledged.items()}
    refused = {name for writer in writers for name in writer.refused}
    rows = cluster.chief.get("/v1/namespaces").json()
    present = {row["Name"]: row["ModifyIndex"] for row in rows}
    kept = {name: at for name, at in acknowledged.items() if name in present}
    gone = {name: at for name, at in acknowledged.items() if name not in present}
    assert set(present) == archived | set(kept)
    assert not refused & set(present)
    assert kept
    assert gone
    assert max(gone.values()) < min(kept.values())
    assert all(present[name] == index for name, index in kept.items())


# A large one

OBJECTS, OBJECT_BYTES = 320, 440_000  # of text that packs to three quarters


class Memory(threading.Thread):
    """The most that a server's process grows while this is looking."""

    def __init__(self, server: Held) -> None:
        super().__init__(daemon=True)
        assert server.process is not None
        self._process = psutil.Process(server.process.pid)
        self._over = threading.Event()
        self._start = self.peak = self._process.memory_info().rss

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    @property
    def growth_mb(self) -> float:
        return (self.peak - self._start) / MB

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def measured(*servers: Held) -> Iterator[list[Memory]]:
    memories = [Memory(server) for server in servers]
    for memory in memories:
        memory.start()
    yield memories
    for memory in memories:
        memory.stop()


@pytest.fixture(scope="module")
def large() -> bytes:
    chance = random.Random(1)
    archive = archive_of(
        "large", OBJECTS, lambda: base64.b64encode(chance.randbytes(OBJECT_BYTES * 3 // 4)).decode()
    )
    assert len(archive) > 100 * MB
    return archive


@pytest.mark.parametrize("part", ["follower", "non-voter"])
def test_large_archive_streams_with_flat_memory_through_a(part, large, cluster):
    index = cluster.settle().index
    through, leader = PART[part](cluster), cluster.chief
    broken = large[:-40] + bytes(40)
    with measured(through, leader) as (between, last):
        answer = through.request("PUT", SNAPSHOT, broken, timeout=120)
    assert "failed to restore from snapshot" in answer.text
    assert between.growth_mb < 24, last.growth_mb
    assert last.growth_mb < 96
    assert cluster.settle().index == index


def test_large_archive_is_restored_and_saved_through_a_non_voter(large, cluster):
    for _ in range(3):
        before = cluster.settle()
        answer = cluster.standby.request("PUT", SNAPSHOT, large, timeout=120)
        if "leadership was lost" not in answer.text:  # as it may be where all share a slow disk
            break
    assert answer.status == 200, answer
    assert cluster.settle().index == before.index + 1
    with measured(cluster.standby) as (between,):
        saved = cluster.standby.get(SNAPSHOT, timeout=120)
    assert between.growth_mb < 24
    assert len(names_in(saved.body, ACL_POLICIES)) == OBJECTS
    small = cluster.follower().request("PUT", SNAPSHOT, archive_of("small", 10))
    assert small.status == 200, small
    cluster.settle()
