"""A restore on four servers, interrupted at each named point by the end of one of them.

Afterwards all hold the very same state, and that is wholly the old one or wholly the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.cluster.restoring import SNAPSHOT, Four, Held, Sending, archive_of, names_in, watched
from tests.support.etcd import needs_etcd

from bellcow.failpoint import POINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, needs_etcd]

NAMES = 2_300  # more than two chunks, more than two slices
ARCHIVES = {prefix: archive_of(prefix, NAMES) for prefix in ("odd", "even")}
SWITCHED = POINTS.index("restore-switched")
ARCHIVED = POINTS.index("restore-archived")
RESTORES = [point for point in POINTS if point != "save-written"]


class Parts(NamedTuple):
    """Who is asked, who dies, how, and whether the leader's own part in it ends with that."""

    asked: Callable[[Four], Held]
    dies: Callable[[Four], Held]
    how: Callable[[Held], None]
    ends: bool


def chief(cluster: Four) -> Held:
    return cluster.chief


def standby(cluster: Four) -> Held:
    return cluster.standby


def other(cluster: Four) -> Held:
    return cluster.follower(1)


ROLES = {
    "python of the leader": Parts(standby, chief, Held.kill_python, ends=True),
    "leader": Parts(other, chief, Held.kill, ends=True),
    "etcd of the leader": Parts(other, chief, Held.kill_etcd, ends=False),
    "follower": Parts(other, Four.follower, Held.kill, ends=False),
    "non-voter that forwards": Parts(standby, standby, Held.kill, ends=False),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Four]:
    with Four(keep=tmp_path_factory.mktemp("logs")) as cluster:
        cluster.begin()
        assert cluster.chief.request("PUT", SNAPSHOT, ARCHIVES["odd"]).status == 200
        cluster.settle()
        yield cluster


def held_by(cluster: Four) -> tuple[str, int]:
    """Which archive's state all servers have, and the index at which they stand."""
    index = cluster.settle().index
    (names,) = {frozenset(server.names()) for server in cluster.held()}
    (prefix,) = [each for each in ARCHIVES if f"{each}0" in names]
    assert names == {f"{prefix}{number}" for number in range(NAMES)} | {"default"}
    return prefix, index


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("point", RESTORES)
def test_all_servers_agree_on_old_or_new_after_a_restore_in_which_dies(role, point, cluster):
    parts = ROLES[role]
    old, before = held_by(cluster)
    (new,) = ARCHIVES.keys() - {old}
    leader, asked, dying = cluster.chief, parts.asked(cluster), parts.dies(cluster)
    kept, copies = leader.kept(), cluster.standby.copies_taken()
    with watched(cluster.held()):
        leader.arm(point)
        request = Sending(asked, "PUT", SNAPSHOT, ARCHIVES[new])
        request.start()
        with leader.stopped_at(point):
            parts.how(dying)
        status, text = request.outcome()
        if not dying.runs:
            dying.start()
        found, index = held_by(cluster)
    check_outcome(parts, point, status, text, found == new)
    assert index >= before
    if found == new:
        assert index > before
        # One that dies itself may have taken it, and not have told of it any more.
        assert dying is cluster.standby or cluster.standby.copies_taken() > copies
    if POINTS.index(point) >= ARCHIVED:
        check_kept(leader, kept, old)


def check_outcome(parts: Parts, point: str, status: int, text: str, is_new: bool) -> None:
    """What was answered is true; and what was decided before the death is as decided."""
    if status == 200:
        assert is_new
    if "nothing changed" in text:
        assert not is_new
    if POINTS.index(point) >= SWITCHED:
        assert is_new, (status, text)
    elif parts.ends:
        assert not is_new, (status, text)
    if parts is ROLES["follower"]:
        assert status == 200, text


def check_kept(leader: Held, before: set[Path], old: str) -> None:
    """The leader keeps the state before the restore in an archive of its own."""
    (path,) = leader.kept() - before
    assert f"{old}0" in names_in(path.read_bytes())


@pytest.mark.parametrize("role", ROLES)
def test_nothing_changes_when_during_a_save_dies(role, cluster):
    """Who asked through another server gets an archive all the same: a read is sent again."""
    parts = ROLES[role]
    old, before = held_by(cluster)
    leader, dying = cluster.chief, parts.dies(cluster)
    saves = dying if role == "follower" else leader
    asked, path = parts.asked(cluster), SNAPSHOT
    if saves is not leader:
        asked, path = dying, f"{SNAPSHOT}?stale"
    saves.arm("save-written")
    request = Sending(asked, "GET", path)
    request.start()
    with saves.stopped_at("save-written"):
        parts.how(dying)
    status, text = request.outcome()
    if not dying.runs:
        dying.start()
    found, index = held_by(cluster)
    assert found == old
    assert index >= before
    assert (status == 200) == (asked is not dying), text
    if status == 200:
        assert f"{old}0" in names_in(request.body)
