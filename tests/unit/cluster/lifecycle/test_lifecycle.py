"""The lifecycle of one server: its promises, the orders it takes, and the order of its writes.

Several servers together are tested in `tests/stories`.
"""

from __future__ import annotations

import pytest
from tests.sim.lifecycle import (
    FOUNDERS,
    HERE,
    MARK,
    OURS,
    VOTES,
    Full,
    Scene,
    followed,
    order,
    promise,
    put_member,
    refusal,
    request,
    standing,
)
from tests.sim.loop import simulate

from bellcow.cluster import datadir
from bellcow.cluster.datadir import LocalState, MemberMark, Promises
from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import (
    BOOTSTRAP_PATH,
    JOIN_PATH,
    STANDING_PATH,
    Done,
    StandingRequest,
)
from bellcow.store.protocol import Corrupt

# Promises


def test_promise_is_on_the_disk_before_it_is_answered(tmp_path):
    scene = Scene(tmp_path, "a", "c")
    assert simulate(scene.lifecycle.promise(request())) == Done()
    assert scene.promised() == ("a",)


def test_server_of_a_cluster_promises_nothing(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path, "a", "c")
    assert "belongs to cluster ours" in refusal(scene.lifecycle.promise(request()))


def test_refusal_withdraws_the_proposers_own_promise(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    held: list[tuple[str, ...]] = []

    def refuse(_message: object) -> Error:
        held.append(scene.promised())
        return Error(Code.REFUSED, "not now")

    scene.answers[BOOTSTRAP_PATH] = refuse
    scene.plays(until=0.52)
    assert held[0] == ("b",)  # written before any request
    assert scene.promised() == ()
    assert scene.member.starts == []


def test_own_proposal_ends_with_the_process(tmp_path):
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a", "x"), promise("b", "y"))))
    scene = Scene(tmp_path)
    scene.plays(until=0.1)
    assert scene.promised() == ("a",)


# Formation


def test_promise_and_local_state_are_written_before_a_founders_member_starts(tmp_path):
    scene = Scene(tmp_path, "c", "d")
    scene.answers[BOOTSTRAP_PATH] = Done()
    scene.plays(until=2.0)
    ((start, found),) = scene.member.starts
    assert found == {datadir.LOCAL_STATE, datadir.PROMISE}
    assert start is not None
    assert not start.existing
    assert [name for name, _ in start.members] == ["b", "c", "d"]
    written = scene.written()
    assert written is not None
    assert start.token == f"{written.cluster_id}.0"


def test_founder_that_died_before_its_member_had_data_goes_on_with_its_promise(tmp_path):
    first = LocalState(cluster_id="ours", epoch=0, role="voter")
    datadir.write(tmp_path / datadir.LOCAL_STATE, first)
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a"),)))
    scene = Scene(tmp_path)
    scene.plays(until=0.5)
    ((start, _),) = scene.member.starts
    assert start is not None
    assert (start.token, start.members) == ("ours.0", FOUNDERS)


def test_agreed_cluster_has_the_servers_of_the_promise(tmp_path):
    datadir.write(
        tmp_path / datadir.LOCAL_STATE, LocalState(cluster_id="ours", epoch=0, role="voter")
    )
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a"),)))
    agreed_cluster = Scene(tmp_path, "a").lifecycle.agreed_cluster()
    assert agreed_cluster is not None
    assert [(each.id, each.address, each.name) for each in agreed_cluster.servers] == [
        ("a", "a:4647", "a.global"),
        ("b", "b:4647", "b.global"),
        ("c", "c:4647", "c"),  # its name is unknown
    ]


def test_nothing_is_agreed_without_a_promise(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, VOTES)
    datadir.write(tmp_path / datadir.PROMISE, Promises((promise("a", "another"),)))
    assert Scene(tmp_path).lifecycle.agreed_cluster() is None


# Orders


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"server_id": "x"}, "this is server b"),
        ({"cluster_id": "theirs"}, "another cluster"),
        ({"epoch": 3}, "another epoch"),
        ({"founding": "2"}, "another epoch"),
    ],
    ids=["for another server", "of another cluster", "of another epoch", "of another recovery"],
)
def test_order_is_refused(tmp_path, wrong, reason):
    here = LocalState(cluster_id="ours", epoch=2, role="non-voter", founding="1")
    datadir.write(tmp_path / datadir.LOCAL_STATE, here)
    assert reason in refusal(Scene(tmp_path).lifecycle.obey(order(**{"founding": "1", **wrong})))


def test_server_in_no_cluster_refuses_orders(tmp_path):
    assert "another cluster" in refusal(Scene(tmp_path).lifecycle.obey(order()))


def test_order_for_the_running_member_changes_nothing(tmp_path):
    put_member(tmp_path)
    assert simulate(Scene(tmp_path).lifecycle.obey(order())) == Done()


@pytest.mark.parametrize("mark", [MARK, None], ids=["marked", "not marked"])
def test_order_for_another_member_than_the_running_one_is_refused(tmp_path, mark):
    put_member(tmp_path, mark)
    assert "still has the member" in refusal(Scene(tmp_path).lifecycle.obey(order(member_id=8)))


def test_member_id_and_local_state_are_written_before_an_ordered_member_starts(tmp_path):
    scene = followed(tmp_path)
    (tmp_path / datadir.RAFT).mkdir()
    (tmp_path / datadir.RAFT / "old").touch()
    scene.plays((2.0, lambda: scene.lifecycle.obey(order())))
    ((start, found),) = scene.member.starts
    assert start is not None
    assert (start.existing, start.token, start.members) == (True, "ours.2", FOUNDERS)
    assert {datadir.LOCAL_STATE, datadir.MEMBER, datadir.RAFT} < found
    assert datadir.read(scene.member.directory / datadir.MEMBER, MemberMark) == MARK
    assert scene.written() == LocalState(
        cluster_id="ours", epoch=2, role="voter", servers=(("a", 4648),)
    )
    (aside,) = tmp_path.glob("raft.old-*")
    assert (aside / "old").exists()


def test_order_that_is_no_longer_in_force_is_dropped(tmp_path):
    scene = followed(tmp_path)
    scene.answers[STANDING_PATH] = standing(is_member=False)
    scene.plays((2.0, lambda: scene.lifecycle.obey(order())))
    assert StandingRequest(server_id="b", member_id=7) in scene.asked
    assert scene.member.starts == []
    assert scene.written() == HERE


def test_order_on_a_full_disk_removes_no_earlier_directory(tmp_path, monkeypatch):
    scene = followed(tmp_path)
    for name in ("raft.old-1", "raft.old-2"):
        (tmp_path / name).mkdir()
    disk = Full(monkeypatch, datadir.MEMBER)
    again = [(at, lambda: scene.lifecycle.obey(order())) for at in (2.0, 5.0, 8.0)]
    scene.plays(*again, until=11.0)
    assert disk.tries == len(again)
    assert {path.name for path in tmp_path.glob("raft*")} == {"raft.old-1", "raft.old-2"}
    assert "local_state_write_failed" in scene.events
    assert scene.written() == HERE


# Another server with our id


def test_member_does_not_start_while_another_server_has_our_id(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path, "a")
    scene.duplicate = "is its data directory a copy?"
    with pytest.raises(ExceptionGroup) as caught:
        scene.plays(until=20.0)
    assert caught.group_contains(Corrupt, match="copy")
    assert scene.member.starts == []


def test_member_starts_once_the_duplicate_id_is_no_longer_heard(tmp_path):
    put_member(tmp_path)
    scene = Scene(tmp_path, "a")
    scene.duplicate = "is its data directory a copy?"

    def end() -> None:
        assert scene.member.starts == []
        scene.duplicate = ""

    scene.plays((5.0, end), until=7.0)
    assert len(scene.member.starts) == 1


# Joining


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (standing(), True),
        (standing(cluster=Cluster("ours", 3)), True),
        (standing(cluster=Cluster("ours", 1)), False),
        (standing(cluster=Cluster("theirs", 0)), True),
        (standing(voter=True), False),
    ],
    ids=[
        "of this epoch",
        "of a later epoch",
        "of an earlier epoch",
        "to another cluster",
        "with a vote",
    ],
)
def test_admission(tmp_path, answer, taken):
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    scene = Scene(tmp_path)
    scene.led_by("a", Cluster(answer.cluster_id, answer.epoch))
    scene.answers[JOIN_PATH] = answer
    scene.plays(until=1.5)
    assert ("joined" in scene.events) == taken
    assert scene.lifecycle.cluster == (Cluster(answer.cluster_id, answer.epoch) if taken else OURS)


def test_voter_without_a_directory_asks_for_admission(tmp_path):
    datadir.write(tmp_path / datadir.LOCAL_STATE, VOTES)
    scene = Scene(tmp_path)
    scene.plays(until=90.0)
    assert scene.member.starts == []
    assert scene.written() == VOTES


def test_local_state_that_cannot_be_written_is_tried_again(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    scene.led_by("a")
    scene.answers[JOIN_PATH] = standing()
    disk = Full(monkeypatch, datadir.LOCAL_STATE)
    scene.plays((5.0, disk.free), until=8.0)
    assert disk.tries > 1
    assert "local_state_write_failed" in scene.events
    assert scene.written() == HERE


@pytest.mark.parametrize(("configured", "times"), [(False, 2), (True, 1)], ids=["out", "in"])
def test_rejoin_asks_for_admission_only_if_the_server_was_removed(tmp_path, configured, times):
    scene = followed(tmp_path)
    scene.answers[STANDING_PATH] = standing(configured=configured)
    scene.plays((2.0, scene.lifecycle.rejoin))
    assert scene.events.count("joined") == times


@pytest.mark.parametrize(
    ("founded", "votes"), [(True, 1), (False, 0)], ids=["founded anew", "shall join"]
)
def test_recovery_decides_the_first_step(tmp_path, founded, votes):
    scene = Scene(tmp_path)
    scene.recovered = founded
    put_member(tmp_path)  # by the recovery, after the lifecycle was created
    scene.plays(until=0.5)
    assert len(scene.member.starts) == votes
    assert scene.lifecycle.cluster == OURS


# Known addresses


def test_known_addresses_are_the_last_written_ones(tmp_path):
    assert Scene(tmp_path).lifecycle.known_addresses == ()
    datadir.write(tmp_path / datadir.LOCAL_STATE, HERE)
    assert Scene(tmp_path).lifecycle.known_addresses == (("a", 4648),)


def test_changed_addresses_are_written_even_if_the_first_write_fails(tmp_path, monkeypatch):
    scene = followed(tmp_path)
    disk = Full(monkeypatch, datadir.LOCAL_STATE)
    disk.free()

    def fill() -> None:
        disk.full = True
        scene.meet("d")

    scene.plays((2.0, fill), (3.0, disk.free))
    assert scene.lifecycle.known_addresses == (("a", 4648), ("d", 4648))
    assert "local_state_write_failed" not in scene.events
