"""The roster's views of all servers, this one included."""

from __future__ import annotations

import msgspec
from tests.sim.clock import FixedClock
from tests.sim.net import itself

from bellcow.cluster.members.roster import Roster, as_member
from bellcow.cluster.members.table import Contact, Known, Leader
from bellcow.model.hello import Itself, RaftView, Record

ITSELF = Itself(
    server_id="id",
    name="one",
    region="global",
    datacenter="dc1",
    build="1.0.18",
    version="0.1.0",
    rpc=("10.0.0.1", 4647),
    serf=("10.0.0.2", 4648),
    raft_protocol="3",
    bootstrap_expect=1,
    non_voting=False,
    zone="",
    upgrade_version="",
)


def test_member_has_its_name_with_region_and_its_gossip_address():
    member = as_member(ITSELF, "alive")
    assert (member.name, member.addr, member.port) == ("one.global", "10.0.0.2", 4648)
    assert member.status == "alive"


def test_every_tag_is_a_text_and_none_is_empty():
    tags = as_member(ITSELF, "alive").tags
    assert tags == {
        "bellcow": "0.1.0",
        "bootstrap": "1",
        "build": "1.0.18",
        "dc": "dc1",
        "expect": "1",
        "id": "id",
        "mvn": "1",
        "port": "4647",
        "raft_vsn": "3",
        "region": "global",
        "role": "nomad",
        "rpc_addr": "10.0.0.1",
        "vsn": "1",
    }


def test_enterprise_settings_are_tags():
    special = msgspec.structs.replace(
        ITSELF, non_voting=True, zone="z", upgrade_version="2.1.0", bootstrap_expect=3
    )
    tags = as_member(special, "alive").tags
    assert (tags["nonvoter"], tags["ap_zone"], tags["ap_version"]) == ("1", "z", "2.1.0")
    assert tags["expect"] == "3"
    assert "bootstrap" not in tags


def test_rpc_address_has_brackets_around_ipv6():
    assert ITSELF.rpc_address == "10.0.0.1:4647"
    six = msgspec.structs.replace(ITSELF, rpc=("::1", 4647))
    assert six.rpc_address == "[::1]:4647"


def test_single_server_lists_itself():
    roster = Roster(ITSELF, FixedClock())
    assert [member.name for member in roster.members()] == ["one.global"]
    assert roster.names() == {"id": "one.global"}
    assert roster.alive() == {"id"}
    assert roster.regions() == ("global",)


# --- with others


def knows(*others: Record, clock: FixedClock | None = None, **fields) -> Roster:
    roster = Roster(ITSELF, clock or FixedClock())
    known = {each.server_id: Known(each, 0.0) for each in others}
    roster.table = msgspec.structs.replace(roster.table, known=known, **fields)
    return roster


def record(name: str, status: str = "alive", region: str = "global", **fields) -> Record:
    return Record(itself=itself(name, region, **fields), start_ns=1, status=status, status_seq=0)


def test_members_of_all_regions_are_shown_with_their_status():
    roster = knows(record("a"), record("b", "failed"), record("c", "left", "eu"))
    assert {member.name: member.status for member in roster.members()} == {
        "one.global": "alive",
        "a.global": "alive",
        "b.global": "failed",
        "c.eu": "left",
    }
    assert roster.regions() == ("global",)
    assert roster.alive() == {"id", "id-a"}
    assert roster.names() == {"id": "one.global", "id-a": "a.global", "id-b": "b.global"}


def test_region_is_listed_while_it_has_a_live_server():
    assert knows(record("z", region="asia")).regions() == ("asia", "global")
    assert knows(record("z", "leaving", "asia")).regions() == ("global",)


def test_dead_server_is_hidden_by_a_live_one_of_its_name():
    new = record("a", server_id="new")
    roster = knows(record("a", "failed"), new, record("one", "left"))
    assert [member.tags["id"] for member in roster.members()] == ["id", "new"]


def test_contact_lasts_a_second_after_an_answer():
    clock = FixedClock()
    raft = RaftView(role="follower", term=2, index=3, commit="")
    contacts = {
        "id-a": Contact(answered=0.0, raft=raft),
        "id-b": Contact(answered=0.0),
    }
    roster = knows(record("a"), record("b"), clock=clock, contacts=contacts)
    clock.advance(0.25)
    assert roster.contacts() == {"id-a": (0.25, contacts["id-a"])}
    clock.advance(0.8)
    assert roster.contacts() == {}


def test_since_leader_is_counted_by_the_monotonic_clock():
    clock = FixedClock()
    leader = Leader(server_id="id-a", epoch=0, term=1, heard=0.0)
    roster = knows(record("a"), clock=clock, leader=leader)
    clock.advance(0.07)
    assert roster.since_leader_s() == 0.07
    assert knows().since_leader_s() is None


def hear(roster: Roster, clock: FixedClock, index: int, server_id: str = "id-a") -> None:
    """The leader speaks now, and stands at `index`."""
    now = clock.monotonic()
    word = Leader(server_id=server_id, epoch=0, term=1, heard=now, index=index, as_of=now)
    roster.table = msgspec.structs.replace(roster.table, leader=word)


def test_memory_that_stands_still_ages_though_hellos_arrive():
    clock = FixedClock()
    roster = knows(record("a"), clock=clock)
    hear(roster, clock, 5)
    assert roster.age_s(5) == 0.0
    for index in (5, 6, 7):
        clock.advance(1.0)
        hear(roster, clock, index)
    assert roster.age_s(5) == 2.0
    assert roster.age_s(6) == 1.0
    clock.advance(0.5)
    assert roster.age_s(9) == 0.5


def test_memory_that_stood_still_for_long_has_its_full_age():
    clock = FixedClock()
    roster = knows(record("a"), clock=clock)
    hear(roster, clock, 1)
    assert roster.age_s(1) == 0.0
    for index in range(2, 3_000):
        clock.advance(0.1)
        hear(roster, clock, index)
    assert roster.age_s(1) > 299
    assert roster.age_s(3_000) > 0
    hear(roster, clock, 3_000)
    assert roster.age_s(3_000) == 0.0


def test_age_is_unknown_before_the_leader_s_first_hello():
    clock = FixedClock()
    assert knows().age_s(9) is None
    leader = Leader(server_id="id-a", epoch=0, term=1, heard=clock.monotonic(), index=9)
    assert knows(record("a"), clock=clock, leader=leader).age_s(9) is None


def test_delayed_hello_does_not_reduce_the_age():
    clock = FixedClock()
    roster = knows(record("a"), clock=clock)
    clock.advance(5.0)
    word = Leader(server_id="id-a", epoch=0, term=1, heard=5.0, index=7, as_of=2.0)
    roster.table = msgspec.structs.replace(roster.table, leader=word)
    assert roster.age_s(7) == 3.0


def test_leader_s_own_age_is_zero():
    clock = FixedClock()
    roster = knows(clock=clock)
    hear(roster, clock, 0, roster.itself.server_id)
    clock.advance(3.0)
    assert roster.age_s(0) == 0.0
