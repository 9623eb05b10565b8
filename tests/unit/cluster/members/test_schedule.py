"""Which servers are called, and when."""

from __future__ import annotations

import msgspec
import pytest
from tests.sim.net import itself

from bellcow.cluster.members.schedule import BEAT_S, CALLS_PER_S, FAR_S, ROUND_S, plan
from bellcow.cluster.members.table import Contact, Doubt, Known, Table
from bellcow.model.hello import Record


def record(name: str, status: str = "alive", region: str = "global") -> Record:
    return Record(itself=itself(name, region), start_ns=1, status=status, status_seq=0)


def table(*records: Record) -> Table:
    known = {each.server_id: Known(each, 0.0) for each in records}
    contacts = {each.server_id: Contact(answered=0.0, heard=True) for each in records}
    return Table(me=record("me"), known=known, contacts=contacts)


def planned(
    of: Table,
    *,
    leads=False,
    joins=(),
    led_home=None,
    tried=None,
    busy=(),
    now=100.0,
    servers=(),
):
    found = plan(
        of,
        leads=leads,
        joins=joins,
        led_home=led_home or {},
        tried=tried or {},
        busy=busy,
        now=now,
        servers=servers,
    )
    return [target.key for target in found.targets], found.wake_s


@pytest.mark.parametrize(
    ("of", "leads", "every_s"),
    [
        (record("a"), True, BEAT_S),
        (record("a"), False, ROUND_S),
        (record("a", "leaving"), True, BEAT_S),
        (record("a", "failed"), True, FAR_S),
        (record("a", region="eu"), True, FAR_S),
        (record("a", "failed", "eu"), False, FAR_S),
    ],
    ids=[
        "leader beats",
        "everyone to everyone",
        "who leaves is beaten too",
        "failed rarely",
        "other region rarely",
        "failed in another region",
    ],
)
def test_interval_depends_on_the_receiver(of: Record, leads: bool, every_s: float):
    def at(now: float):
        return planned(table(of), leads=leads, tried={"id-a": 100.0}, now=now)

    assert at(100 + every_s) == (["id-a"], every_s)
    due, wake_s = at(100 + every_s / 2)
    assert due == []
    assert wake_s == pytest.approx(every_s / 2)


def test_beat_of_a_leader_goes_to_servers_of_the_cluster_that_answer():
    silent = Table(
        me=record("me"), known=table(record("a")).known, contacts={"id-a": Contact(answered=0.0)}
    )
    assert planned(silent, leads=True, tried={"id-a": 99.5}) == ([], 0.5)
    stranger = table(record("a"), record("b"))
    tried = {"id-a": 99.5, "id-b": 99.5}
    assert planned(stranger, leads=True, tried=tried, servers={"id-b"})[0] == ["id-b"]


def test_doubted_server_is_called_soon():
    doubted = msgspec.structs.replace(table(record("a")), doubts={"id-a": Doubt(None, 0)})
    assert planned(doubted, tried={"id-a": 99.95}) == ([], pytest.approx(BEAT_S - 0.05))
    assert planned(doubted, tried={"id-a": 99.9})[0] == ["id-a"]


def test_calls_a_second_are_bounded_however_many_servers_there_are():
    crowd = table(*(record(f"s{number}") for number in range(500)))
    tried = dict.fromkeys(crowd.known, 100.0)
    every_s = 500 / CALLS_PER_S
    assert planned(crowd, leads=True, tried=tried, now=100 + every_s - 0.1)[0] == []
    assert len(planned(crowd, leads=True, tried=tried, now=100 + every_s)[0]) == 500


def test_first_call_is_at_once():
    assert planned(table(record("a")))[0] == ["id-a"]


def test_server_that_left_is_not_called():
    assert planned(table(record("a", "left"))) == ([], FAR_S)


def test_busy_target_is_skipped_without_an_earlier_round():
    assert planned(table(record("a")), busy={"id-a"}) == ([], FAR_S)


JOINS = (("a", 4648), ("b", 4648))


def test_addresses_to_join_are_called_each_second_while_alone():
    assert planned(table(), joins=JOINS) == (["a:4648", "b:4648"], ROUND_S)
    assert planned(table(record("a", "failed")), joins=JOINS)[0] == ["id-a", "a:4648", "b:4648"]


def test_answered_addresses_are_not_called_once_our_region_has_another_server():
    led_home = {"a:4648": True, "b:4648": False}
    assert planned(table(record("c")), joins=JOINS, led_home=led_home)[0] == ["id-c"]


def test_unanswered_address_is_still_called_rarely_when_not_alone():
    tried = {"id-c": 95.0, "a:4648": 95.0, "b:4648": 89.0}
    due, _ = planned(table(record("c")), joins=JOINS, led_home={"a:4648": True}, tried=tried)
    assert due == ["id-c", "b:4648"]
    tried["b:4648"] = 91.0
    assert planned(table(record("c")), joins=JOINS, tried=tried)[0] == ["id-c"]


def test_server_of_another_region_counts_as_alone():
    assert planned(table(record("c", region="eu")), joins=JOINS)[0] == [
        "id-c",
        "a:4648",
        "b:4648",
    ]


def test_address_that_answered_for_another_region_is_called_rarely():
    tried = {"a:4648": 98.0, "b:4648": 98.0}
    assert planned(table(), joins=JOINS, led_home={"a:4648": False}, tried=tried)[0] == ["b:4648"]


def test_target_is_called_at_its_gossip_address():
    moved = msgspec.structs.replace(record("a"), itself=itself("a", serf=("::1", 9)))
    found = plan(
        table(moved), leads=False, joins=(), led_home={}, tried={}, busy=(), now=0.0
    ).targets[0]
    assert (found.address, found.region) == (("::1", 9), "global")


def test_next_round_is_in_time_for_a_busy_target():
    """Its call may end before it is due again, which starts no round."""
    busy = table(record("a"))
    assert planned(busy, leads=True, tried={"id-a": 99.94}, busy={"id-a"}) == (
        [],
        pytest.approx(0.04),
    )
    assert planned(busy, leads=True, tried={"id-a": 99.8}, busy={"id-a"}) == ([], FAR_S)
