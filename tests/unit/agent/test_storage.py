"""The storage of a server, chosen by its data directory and its settings.

No etcd runs: a program that prints a version is enough.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.sim.clock import FixedClock
from tests.sim.net import itself

from bellcow.agent.peer_tls import peer_security
from bellcow.agent.storage import Storage, StorageError, open_storage
from bellcow.cluster import datadir
from bellcow.cluster.datadir import LocalState
from bellcow.config.addresses import Addresses
from bellcow.config.model import Settings
from bellcow.config.server_block import Server, ServerJoin

if TYPE_CHECKING:
    from pathlib import Path

PORTS = Addresses(*(("127.0.0.1", port) for port in (1, 2, 3) * 2))
ME = itself("a", rpc=("127.0.0.1", 2), serf=("127.0.0.1", 3))
JOINS = ServerJoin(retry_join=("127.0.0.2",))
HERE = LocalState(cluster_id="ours", epoch=0, role="non-voter")


async def stand(folder: Path | None, server: Server, events: list[str]) -> Storage:
    settings, clock = Settings(server=server), FixedClock()
    storage = await open_storage(
        settings,
        PORTS,
        ME,
        peer_security(settings, [], None),
        folder,
        clock,
        lambda event, /, **_fields: events.append(event),
    )
    if storage.store is not None:
        await storage.store.close()
    return storage


def ground_of(folder: Path | None, *, events: list[str] | None = None, **fields: object) -> Storage:
    return asyncio.run(stand(folder, Server(**fields), [] if events is None else events))  # type: ignore[arg-type]


def refusal(folder: Path | None, **fields: object) -> str:
    with pytest.raises(StorageError) as caught:
        ground_of(folder, **fields)
    return str(caught.value)


@pytest.fixture
def etcd(tmp_path: Path) -> str:
    """A program that only prints its version."""
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho 'etcd Version: 3.5.21'\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "server"
    made.mkdir(mode=0o700)
    return made


def test_server_alone_has_store_and_votes_of_its_own(folder):
    storage = ground_of(folder)
    assert storage.store is not None
    assert storage.peers is not None
    assert storage.member is None
    assert (folder / datadir.STORE).exists()


def test_server_without_a_directory_keeps_its_state_in_memory():
    storage = ground_of(None)
    assert storage.store is not None
    assert storage.member is None


def test_starts_of_a_server_alone_are_its_terms(folder):
    terms = []
    for _ in range(3):
        peers = ground_of(folder).peers
        assert peers is not None
        terms.append(asyncio.run(peers.status()).term)
    assert terms == sorted(set(terms))


def test_store_readable_by_others_is_closed_and_reported(folder):
    ground_of(folder)
    (folder / datadir.STORE).chmod(0o644)
    events: list[str] = []
    ground_of(folder, events=events)
    assert "permissions_tightened" in events
    assert (folder / datadir.STORE).stat().st_mode & 0o077 == 0


def test_store_that_is_none_is_refused_by_its_name(folder):
    (folder / datadir.STORE).write_bytes(b"not a database" * 1_000)
    assert datadir.STORE in refusal(folder)
    assert (folder / datadir.STORE).read_bytes() == b"not a database" * 1_000


@pytest.mark.parametrize(
    "fields",
    [{"bootstrap_expect": 3}, {"server_join": JOINS}, {"engine": "etcd"}],
    ids=["that expects others", "that joins others", "that is told so"],
)
def test_server_of_several_gets_an_etcd_engine(folder, etcd, fields):
    storage = ground_of(folder, etcd_path=etcd, **fields)
    assert storage.member is not None
    assert (storage.store, storage.peers) == (None, None)
    assert storage.member.directory == folder / datadir.RAFT
    assert not storage.member.has_data()


def test_server_of_a_cluster_has_a_member_whatever_the_settings_say(folder, etcd):
    datadir.write(folder / datadir.LOCAL_STATE, HERE)
    assert ground_of(folder, etcd_path=etcd).member is not None
    assert "belongs to cluster ours" in refusal(folder, engine="embedded")


def test_server_of_several_needs_a_directory():
    assert refusal(None, bootstrap_expect=3) == "a cluster of several servers needs a data_dir"


def test_missing_etcd_is_refused_and_nothing_replaces_it(folder, tmp_path):
    assert "etcd" in refusal(folder, bootstrap_expect=3, etcd_path=str(tmp_path / "none"))
    assert list(folder.iterdir()) == []


def test_unreadable_local_state_ends_the_start(folder):
    (folder / datadir.LOCAL_STATE).write_text("{")
    assert "cannot be read" in refusal(folder)


def test_founding_that_was_cut_short_leaves_no_trace(folder):
    (folder / "raft.new").mkdir()
    (folder / "raft.new" / "data").touch()
    ground_of(folder)
    assert not (folder / "raft.new").exists()


def test_nothing_is_recovered_without_the_operators_file(folder, etcd):
    storage = ground_of(folder, etcd_path=etcd, bootstrap_expect=3)
    assert asyncio.run(_recovered(storage)) is None


async def _recovered(storage: Storage) -> bool | None:
    return await storage.recover(None, None)  # type: ignore[arg-type]


def test_operators_file_that_is_wrong_ends_the_start_in_nomads_words(folder, etcd):
    datadir.write(folder / datadir.LOCAL_STATE, HERE)
    (folder / datadir.RAFT).mkdir()
    (folder / datadir.RAFT / "peers.json").write_text('["10.9.9.9:4647"]')
    said = refusal(folder, etcd_path=etcd)
    assert said.startswith("server setup failed: Failed to start Raft: recovery failed")
    assert "no entry is this server" in said
