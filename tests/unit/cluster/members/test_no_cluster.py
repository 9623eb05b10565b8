from __future__ import annotations

import pytest
from tests.sim.net import FOLLOWER, itself

from bellcow.cluster.members.no_cluster import HEARD_S, is_wanted, reasons
from bellcow.cluster.members.table import FAILED_AFTER_S, Contact, Inputs, Known, Leader, Table
from bellcow.model.hello import Cluster, RaftView, Record

NOW = 100.0
OUTSIDE = Inputs(cluster=None, raft=FOLLOWER)


def record(name: str, region: str = "global", **fields: object) -> Record:
    return Record(itself=itself(name, region, **fields), start_ns=1, status="alive", status_seq=0)


def table(expect: int, *others: Record, cluster: Cluster | None = None) -> Table:
    contact = Contact(answered=NOW, raft=FOLLOWER, cluster=cluster)
    return Table(
        me=record("a", bootstrap_expect=expect),
        known={each.server_id: Known(each, 0.0) for each in others},
        contacts={each.server_id: contact for each in others},
    )


def told(
    seen: Table, inputs: Inputs = OUTSIDE, **joined: str
) -> list[tuple[str, dict[str, object]]]:
    notes = reasons(seen, inputs, joined, HEARD_S, NOW)
    assert all(note.lasting for note in notes)
    return [(note.event, dict(note.fields)) for note in notes]


def waits(sees: int, expects: int) -> list[tuple[str, dict[str, object]]]:
    return [("bootstrap_waiting", {"sees": sees, "expects": expects})]


FIRST = [record(name, bootstrap_expect=3) for name in "bc"]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(table(3), waits(1, 3), id="nobody is there"),
        pytest.param(table(3, FIRST[0]), waits(2, 3), id="one is missing"),
        pytest.param(table(3, *FIRST), [], id="enough are there"),
        pytest.param(
            table(3, FIRST[0], record("d", "eu", bootstrap_expect=3)),
            waits(2, 3),
            id="servers of other regions do not count",
        ),
        pytest.param(table(3, record("d")), waits(1, 3), id="nor do those that found nothing"),
        pytest.param(table(0, record("d")), waits(2, 0), id="nobody founds"),
        pytest.param(table(1), [], id="one founds alone"),
        pytest.param(
            table(3, FIRST[0], cluster=Cluster("x", 0)), [], id="a cluster without a leader is seen"
        ),
    ],
)
def test_missing_first_servers_are_counted(
    seen: Table, expected: list[tuple[str, dict[str, object]]]
) -> None:
    assert told(seen) == expected


def test_address_of_another_region_is_reported_with_both_regions() -> None:
    strangers = told(table(3, *FIRST), b="global", d="eu")
    assert strangers == [("join_wrong_region", {"address": "d", "theirs": "eu", "ours": "global"})]


def test_nothing_is_reported_before_others_could_answer() -> None:
    assert reasons(table(3), OUTSIDE, {"d": "eu"}, HEARD_S - 0.1, NOW) == ()


def test_nothing_is_reported_in_a_cluster_or_with_a_leader() -> None:
    leads = Inputs(cluster=None, raft=RaftView(role="leader", term=1, index=1, commit="c"))
    inside = Inputs(cluster=Cluster("x", 0), raft=FOLLOWER)
    leader = Leader(server_id="id-b", epoch=0, term=1, heard=NOW)
    led = Table(me=record("a", bootstrap_expect=3), leader=leader)
    assert told(table(3), leads, d="eu") == told(table(3), inside, d="eu") == []
    assert told(led, d="eu") == []


def wanted(
    seen: Table, inputs: Inputs = OUTSIDE, *, host: str = "b", waited_s: float = 0.0
) -> bool:
    return is_wanted((host, 4648), seen, inputs, waited_s, NOW)


def test_silent_address_is_reported_at_once_unless_its_server_is_known() -> None:
    assert wanted(table(3))
    assert wanted(table(3, FIRST[0]), host="c")
    assert not wanted(table(3, FIRST[0]), host="b")


def test_member_reports_a_silent_address_late_and_only_if_it_is_alone() -> None:
    inside = Inputs(cluster=Cluster("x", 0), raft=FOLLOWER)
    assert not wanted(table(3), inside, waited_s=FAILED_AFTER_S - 0.1)
    assert wanted(table(3, record("d", "eu")), inside, waited_s=FAILED_AFTER_S)
    assert not wanted(table(3, FIRST[0]), inside, host="c", waited_s=FAILED_AFTER_S)


def test_silent_address_is_not_reported_while_a_leader_is_known() -> None:
    leader = Leader(server_id="id-b", epoch=0, term=1, heard=NOW)
    led = Table(me=record("a"), leader=leader)
    leads = Inputs(cluster=None, raft=RaftView(role="leader", term=1, index=1, commit="c"))
    assert not wanted(led, waited_s=FAILED_AFTER_S)
    assert not wanted(table(3), leads, waited_s=FAILED_AFTER_S)
