"""Restores, saves and writes that meet on one running agent."""

from __future__ import annotations

import base64
import hashlib
import http.client
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from tests.cluster.load import Writer, namespaces, open_files, records_of, save
from tests.harness import exchange, until

pytestmark = pytest.mark.slow

SETTINGS = {"limits": {"http_max_conns_per_client": 0}}
PATH = "/v1/operator/snapshot"


@pytest.fixture
def agent(start_agent):
    agent = start_agent(SETTINGS)
    connection = http.client.HTTPConnection("127.0.0.1", agent.http_port)
    for number in range(600):
        connection.request("PUT", "/v1/namespace", b'{"Name": "n%d"}' % number)
        connection.getresponse().read()
    connection.close()
    return agent


def test_second_restore_is_refused_while_one_is_under_way(agent):
    archive = save(agent)
    with closing(http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=10)) as slow:
        slow.putrequest("PUT", PATH)
        slow.putheader("Content-Length", str(len(archive)))
        slow.endheaders()
        slow.send(archive[:100])
        folder = agent.data_dir / "server/snapshots"
        until(lambda: open_files(agent, folder), "the first restore's file")
        second = agent.put(PATH, archive)
        assert (second.status, second.text) == (409, "another snapshot restore is in progress")
        slow.send(archive[100:])
        assert slow.getresponse().status == 200
    assert agent.put(PATH, archive).status == 200


def test_write_during_a_restore_is_on_exactly_one_side_of_it(agent):
    archive = save(agent)
    archived = set(namespaces(agent))
    writers = [Writer(agent, f"w{n}") for n in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        time.sleep(0.1)
        assert agent.put(PATH, archive).status == 200
    time.sleep(0.1)
    for writer in writers:
        writer.stop()
        assert not writer.unanswered
    acknowledged = {name: index for w in writers for name, index in w.acknowledged.items()}
    refused = {name for w in writers for name in w.refused}
    present = namespaces(agent)
    kept = {name: index for name, index in acknowledged.items() if name in present}
    gone = {name: index for name, index in acknowledged.items() if name not in present}
    assert archived <= set(present)
    assert set(present) == archived | set(kept)
    assert not refused & set(present)
    assert kept
    assert gone
    assert max(gone.values()) < min(kept.values())
    assert all(present[name] == index for name, index in kept.items())


def test_snapshot_saved_during_a_restore_is_wholly_old_or_new(agent):
    new_archive = save(agent)
    agent.put("/v1/namespace", {"Name": "later"})
    agent.delete("/v1/namespace/n1")
    old_archive = save(agent)
    archives: list[bytes] = []
    stop = threading.Event()

    def keep_saving() -> None:
        while not stop.is_set():
            archives.append(save(agent))

    saver = threading.Thread(target=keep_saving)
    saver.start()
    for archive in (new_archive, old_archive, new_archive):
        assert agent.put(PATH, archive).status == 200
    stop.set()
    saver.join()
    new, old = records_of(new_archive), records_of(old_archive)
    seen = [records_of(archive) for archive in archives]
    assert all(each in (new, old) for each in seen)
    assert seen


def test_at_most_two_of_fifty_saves_run_at_once(agent):
    folder = agent.data_dir / "server/snapshots"
    most = 0
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(exchange, agent.http_port, "GET", PATH) for _ in range(50)]
        while not all(each.done() for each in answers):
            most = max(most, len(open_files(agent, folder)))
            time.sleep(0.005)
    assert 1 <= most <= 4  # each holds its archive, and while it writes a second file
    for answer in answers:
        body = answer.result().body
        digest = "sha-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert answer.result().header("Digest") == digest
    # The client may have the last byte before the server has closed its file.
    until(lambda: open_files(agent, folder) == [], "closed files")


def test_saves_given_up_half_way_leave_room_for_others(agent):
    for _ in range(6):
        connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=10)
        connection.request("GET", PATH)
        assert connection.getresponse().read(10)
        connection.close()
    assert save(agent)
    folder = agent.data_dir / "server/snapshots"
    until(lambda: open_files(agent, folder) == [], "closed files")


def test_files_and_folders_are_for_their_owner_alone(agent):
    assert agent.put(PATH, save(agent)).status == 200

    def modes() -> dict[str, int]:
        entries = [agent.data_dir, *agent.data_dir.rglob("*")]
        return {path.name: path.stat().st_mode for path in entries}

    found = until(modes, "files that are not just being removed")
    assert any(name.startswith("before-restore-") for name in found)
    wrong = {
        name: oct(mode)
        for name, mode in found.items()
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    }
    assert not wrong
