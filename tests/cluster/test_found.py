"""A cluster founded anew on a real etcd: the whole copy, once, whenever the process is killed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.cluster.founding import (
    DIED,
    US,
    convert,
    copy_of,
    dying,
    fill_embedded,
    found_again,
    plan_of,
    write,
)
from tests.harness import BELLCOW
from tests.support.etcd import PROGRAM, Cluster, Events, needs_etcd, run, short_directory

from bellcow.clock import SystemClock
from bellcow.cluster import datadir
from bellcow.cluster.recovery import offline_state
from bellcow.cluster.recovery.rebuild import COMPLETE, NEW, finish
from bellcow.cluster.recovery.temporary_member import with_member
from bellcow.failpoint import REBUILD_POINTS
from bellcow.store.etcd import EtcdStore
from bellcow.store.protocol import Corrupt, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, needs_etcd]

RETURN = REBUILD_POINTS.index("rebuild-complete")
OLD_INDEX, NEW_INDEX = 10, 1_010


@pytest.fixture
def server_dir() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory.parent


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A server's directory with a member of three that was stopped, and the operator's file."""
    with short_directory() as directory:
        run(make(directory.parent))
        yield directory.parent


async def make(folder: Path) -> None:
    async with Cluster(folder, 3) as cluster:
        leader = await cluster.leader()
        head = await write(EtcdStore(leader.client), 2_300)
        follower = next(s for s in cluster.servers.values() if s is not leader)
        store = EtcdStore(follower.client)
        while (await store.confirm()) != head:
            pass
    (folder / follower.plan.server_id).rename(folder / "raft")
    (folder / "raft" / "peers.json").write_text("[]")
    for name in cluster.names:
        shutil.rmtree(folder / name, ignore_errors=True)


@pytest.fixture
def member_dir(prepared: Path, server_dir: Path) -> Path:
    shutil.copytree(
        prepared / "raft", server_dir / "raft", ignore=shutil.ignore_patterns("client.sock*")
    )
    return server_dir


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def state(copy: offline_state.OfflineState) -> dict:
    """All objects but the servers."""
    return {key: value for key, value in copy.items if key[0] != "raft_configuration"}


def test_member_without_a_quorum_is_read_and_not_touched(member_dir: Path):
    before = digests(member_dir)
    copy = run(copy_of(member_dir))
    assert (copy.source, copy.head.index, copy.head.epoch) == ("raft", OLD_INDEX, 0)
    assert (copy.cluster_id, len(copy.items)) == (US, 2_302)
    assert (copy.role("one"), copy.role("nobody")) == ("voter", "non-voter")
    assert digests(member_dir) == before
    assert sorted(path.name for path in member_dir.iterdir()) == ["raft"]


def test_whole_copy_is_founded_with_one_server(member_dir: Path):
    before = run(copy_of(member_dir))
    run(found_again(member_dir))
    after = run(copy_of(member_dir))
    assert state(after) == state(before)
    assert (after.head.index, after.head.floor, after.head.epoch) == (NEW_INDEX, NEW_INDEX, 1)
    assert (after.head.leader, after.head.term) == ("", 0)
    assert after.head.gen > before.head.gens
    configuration = after.configuration
    assert configuration is not None
    assert [(each.id, each.voter) for each in configuration.servers] == [("one", True)]
    assert (configuration.create_index, configuration.modify_index) == (2, NEW_INDEX)
    mark = datadir.read(member_dir / "raft" / datadir.MEMBER, datadir.MemberMark)
    assert mark is not None
    assert (mark.cluster_id, mark.epoch) == (US, 1)


def test_old_directory_and_the_file_are_kept_and_only_the_last_two(member_dir: Path):
    for count in (1, 2, 2):
        run(found_again(member_dir))
        old = sorted(member_dir.glob("raft.old-*"))
        assert len(old) == count
        if count == 1:
            assert (old[0] / "peers.json").exists()
        assert not (member_dir / "raft" / "peers.json").exists()


def test_founded_server_has_its_place_and_nothing_left_to_finish(member_dir: Path):
    before = datadir.LocalState(cluster_id=US, epoch=0, role="non-voter", servers=(("b", 4648),))
    datadir.write(member_dir / datadir.LOCAL_STATE, before)
    run(found_again(member_dir))
    assert run(finish(member_dir)) is None
    now = datadir.read(member_dir / datadir.LOCAL_STATE, datadir.LocalState)
    assert now is not None
    assert now.founding
    after = datadir.LocalState(cluster_id=US, epoch=1, role="voter", servers=(("b", 4648),))
    assert now == msgspec.structs.replace(after, founding=now.founding)
    assert not (member_dir / "raft" / COMPLETE).exists()
    assert run(finish(member_dir / "nothing")) is None


def check_old_or_new(server_dir: Path, point: str, source: str) -> None:
    """What a start finds after a death at this point."""
    told = run(finish(server_dir))
    names = {path.name for path in server_dir.iterdir()}
    assert not {NEW, offline_state.READ} & names
    copy = run(copy_of(server_dir))
    done = REBUILD_POINTS.index(point) >= RETURN
    assert (told is not None) == done
    assert run(finish(server_dir)) is None
    assert (server_dir / datadir.LOCAL_STATE).exists() == done
    assert len(copy.items) == 2_302
    if done:
        assert (copy.source, copy.head.epoch) == ("raft", 1)
        assert not (server_dir / "raft" / COMPLETE).exists()
    else:
        assert (copy.source, copy.head.epoch, copy.head.index) == (source, 0, OLD_INDEX)


@pytest.mark.parametrize("point", [p for p in REBUILD_POINTS if p != "rebuild-copy-aside"])
def test_recovered_server_has_the_old_or_the_new_after_dying_at(point: str, member_dir: Path):
    assert dying("found", member_dir, point) == DIED
    check_old_or_new(member_dir, point, "raft")
    kept = sorted(member_dir.glob("raft.old-*"))
    assert bool(kept) == (REBUILD_POINTS.index(point) >= RETURN)
    assert all((old / "peers.json").exists() for old in kept)


@pytest.mark.parametrize("point", ["rebuild-first-chunk-staged", *REBUILD_POINTS[RETURN - 1 :]])
def test_converted_server_has_the_old_or_the_new_after_dying_at(point: str, server_dir: Path):
    run(fill_embedded(server_dir))
    assert dying("convert", server_dir, point) == DIED
    check_old_or_new(server_dir, point, "store.db")
    done = REBUILD_POINTS.index(point) >= RETURN
    assert (server_dir / "store.db").exists() != done
    assert bool(list(server_dir.glob("store.db.before-etcd-*"))) == done


@pytest.mark.parametrize("point", REBUILD_POINTS[RETURN + 1 :])
def test_finish_that_dies_itself_is_finished_by_the_next(point: str, server_dir: Path):
    run(fill_embedded(server_dir))
    assert dying("convert", server_dir, "rebuild-complete") == DIED
    assert dying("finish", server_dir, point) == DIED
    check_old_or_new(server_dir, point, "store.db")


def test_conversion_keeps_the_embedded_file_in_a_state_to_go_back_to(server_dir: Path):
    head = run(fill_embedded(server_dir))
    before = run(copy_of(server_dir))
    run(convert(server_dir))
    after = run(copy_of(server_dir))
    assert after.source == "raft"
    assert state(after) == state(before)
    assert (after.head.index, after.head.epoch) == (head.index + 1, head.epoch + 1)
    (kept,) = server_dir.glob("store.db.before-etcd-*Z")
    for path in server_dir.glob("store.db.before-etcd-*"):
        path.rename(server_dir / path.name.replace(kept.name, "store.db"))
    shutil.rmtree(server_dir / "raft")
    assert run(copy_of(server_dir)) == before


def test_conversion_of_nothing_does_nothing(server_dir: Path):
    run(convert(server_dir))
    assert list(server_dir.iterdir()) == []


def test_old_members_do_not_get_a_word_with_the_new_one(prepared: Path, member_dir: Path):
    """Restarted, an old member stays without a leader beside the new cluster."""
    run(found_again(member_dir))
    old = plan_of(next(member_dir.glob("raft.old-*")))

    async def work(_client: object, _member_id: int) -> None:
        raise AssertionError("the old member leads")

    async def story() -> None:
        import bellcow.cluster.recovery.temporary_member as module

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "START_S", 3.0)
            await with_member(old, work, SystemClock(), Events())

    with pytest.raises(Unavailable, match="etcd does not run in"):
        run(story())


def test_newest_of_several_copies_is_taken(member_dir: Path):
    run(fill_embedded(member_dir, count=1))
    shutil.move(member_dir / "store.db", member_dir / "follow.db")
    with contextlib.suppress(FileNotFoundError):
        shutil.move(member_dir / "store.db-wal", member_dir / "follow.db-wal")
    assert run(copy_of(member_dir)).source == "raft"
    shutil.rmtree(member_dir / "raft")
    assert run(copy_of(member_dir)).source == "follow.db"


def test_damaged_copy_is_an_error_and_not_passed_over(member_dir: Path):
    (member_dir / "follow.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(Corrupt, match=r"follow\.db is damaged"):
        run(copy_of(member_dir))


def test_directory_that_etcd_cannot_read_is_told_with_its_words(member_dir: Path):
    for path in (member_dir / "raft" / "data").rglob("*.wal"):
        path.write_bytes(b"not a log" * 1_000)
    with pytest.raises(Unavailable, match=r"etcd does not run in .* Its last lines: "):
        run(copy_of(member_dir))
    assert not (member_dir / offline_state.READ).exists()


def bellcow(*words: object) -> subprocess.CompletedProcess[str]:
    command = [BELLCOW, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_commands_read_the_directory_of_a_stopped_server(member_dir: Path):
    (member_dir / "node-id").write_text("two")
    (member_dir / "lock").touch()
    before = digests(member_dir)
    info = bellcow("operator", "raft", "info", member_dir)
    assert info.stdout == (
        f"path:        {member_dir}/raft\nlength:      2302\nfirst index: 0\nlast index:  10\n"
    ), info.stderr
    shown = bellcow("operator", "raft", "recover", member_dir)
    assert "Role        = voter\n" in shown.stdout, shown.stderr
    assert f"Copy        = {member_dir}/raft\n" in shown.stdout
    assert digests(member_dir) == before


def test_commands_leave_a_server_that_runs_alone(member_dir: Path):
    with (member_dir / "lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        info = bellcow("operator", "raft", "info", member_dir)
    assert info.stderr == f"The server in {member_dir} runs, as process 4711: stop it first\n"


def test_without_etcd_in_path_the_copy_cannot_be_read_and_the_flag_helps(member_dir: Path):
    (member_dir / "node-id").write_text("two")
    environment = {"PATH": "/nowhere"}
    command = [BELLCOW, "operator", "raft", "recover", member_dir]
    refused = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert refused.stderr.startswith("Error reading the server's copy: several servers need etcd")
    shown = subprocess.run(
        [*command[:4], f"-etcd={PROGRAM}", member_dir],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert "Index       = 10\n" in shown.stdout, shown.stderr
