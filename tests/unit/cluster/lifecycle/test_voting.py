"""The step of a voter: what it writes, and what follows when its member ends or never serves."""

from __future__ import annotations

import asyncio

import pytest
from tests.sim.camp import Camp, Dies
from tests.sim.lifecycle import (
    HERE,
    MARK,
    OURS,
    Full,
    Scene,
    promise,
    put_member,
    standing,
)

from bellcow.cluster import datadir
from bellcow.cluster.datadir import LocalState, MemberMark, Promises
from bellcow.cluster.engine.protocol import Status
from bellcow.model.membership_calls import (
    JOIN_PATH,
    STANDING_PATH,
    JoinRequest,
    StandingRequest,
)
from bellcow.model.raft import RaftServer
from bellcow.store.protocol import Corrupt


def test_member_id_of_a_founder_is_written_once_its_member_hears_a_leader(tmp_path):
    put_member(tmp_path, None)
    scene = Scene(tmp_path, "a")
    silent = Status(member_id=7, leader_id=None, term=1)
    scene.member.votes.now, heard = silent, scene.member.votes.now

    def lead() -> None:
        assert not (scene.member.directory / datadir.MEMBER).exists()
        assert scene.lifecycle.serves() is None
        scene.member.votes.now = heard

    scene.plays((2.0, lead))
    assert datadir.read(scene.member.directory / datadir.MEMBER, MemberMark) == MARK


def test_member_id_is_written_once(tmp_path, monkeypatch):
    put_member(tmp_path, None)
    scene, disk = Scene(tmp_path, "a"), Full(monkeypatch, datadir.MEMBER)
    disk.free()
    scene.plays(until=10.0)
    assert disk.tries == 1


def test_server_votes_on_a_full_disk_and_writes_its_member_id_later(tmp_path, monkeypatch):
    put_member(tmp_path, None)
    scene, disk = Scene(tmp_path, "a"), Full(monkeypatch, datadir.MEMBER)

    def look() -> None:
        assert scene.lifecycle.serves() == OURS
        assert len(scene.member.starts) == 1
        disk.free()

    scene.plays((4.0, look))
    assert disk.tries > 1
    assert datadir.read(scene.member.directory / datadir.MEMBER, MemberMark) == MARK


def test_member_id_that_was_not_written_is_still_used_after_the_member_ends(tmp_path, monkeypatch):
    put_member(tmp_path, None)
    scene = Scene(tmp_path)
    scene.led_by("a")
    Full(monkeypatch, datadir.MEMBER)

    def break_down() -> None:
        assert scene.member.ended is not None
        scene.member.ended.set_exception(Corrupt("a bad block"))

    scene.answers[STANDING_PATH] = lambda asked: standing(is_member=asked.member_id == 7)
    scene.plays((3.0, break_down), until=20.0)
    assert StandingRequest(server_id="b", member_id=7) in scene.asked
    assert scene.member.has_data()
    assert scene.written() == LocalState(
        cluster_id="ours", epoch=2, role="voter", servers=(("a", 4648),)
    )


def test_files_of_a_removed_member_are_set_aside(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.configured(RaftServer(id="b", address="b:4647", name="b.global"))

    def take_out() -> None:
        assert scene.lifecycle.serves() == OURS
        assert scene.member.ended is not None
        scene.member.ended.set_result(None)

    scene.answers[STANDING_PATH] = standing(is_member=False)
    scene.plays((3.0, take_out), until=6.0)
    assert scene.written() == HERE
    assert scene.lifecycle.serves() is None
    assert not scene.member.has_data()


def test_moved_server_reports_its_address_to_the_leader(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.answers[JOIN_PATH] = standing(voter=True)
    scene.configured(RaftServer(id="b", address="elsewhere:4647", name="b.global"))
    scene.plays(until=3.0)
    told = [each.address for each in scene.asked if isinstance(each, JoinRequest)]
    assert told[0] == "b:4647"


def test_server_that_has_not_moved_reports_no_address(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.configured(RaftServer(id="b", address="b:4647", name="b.global"))
    scene.plays(until=3.0)
    assert scene.asked == []


def test_promises_are_dropped_once_the_clusters_state_is_loaded(tmp_path):
    put_member(tmp_path)
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a"),)))
    scene = Scene(tmp_path, "a")

    def found() -> None:
        assert scene.promised() == ("a",)
        scene.configured(RaftServer(id="b", address="b:4647", name="b.global"))

    scene.plays((3.0, found))
    assert scene.promised() == ()


# A formation that is given up


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("dies_after", "in_cluster", "given_up"),
    [("set_aside raft", True, False), ("remove cluster.json", False, True)],
)
async def test_promise_binds_after_a_crash_while_formation_is_given_up(
    tmp_path, dies_after, in_cluster, given_up
):
    """Others may still form that cluster: the promise is marked before cluster.json goes."""
    async with Camp(tmp_path, "a", "b", "c") as camp:
        camp.start("a").dies = Dies(1, before=False, what="write cluster.json")
        camp.start("b")
        camp.start("c")
        await asyncio.sleep(5)
        for name in "bc":
            await camp.stop(name)
            camp.wipe(name)
        camp.start("a").dies = Dies(1, before=False, what=dies_after)
        camp.start("b")
        camp.start("c")
        await asyncio.sleep(120)
        assert "a" not in camp.servers, "it was not killed"
    assert (tmp_path / "a" / datadir.LOCAL_STATE).exists() == in_cluster
    promises = datadir.read(tmp_path / "a" / datadir.PROMISE, Promises)
    assert promises is not None
    assert [each.given_up for each in promises.open] == [given_up]
