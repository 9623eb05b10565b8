"""The roster: what others ask about servers, this one among them."""

from __future__ import annotations

import msgspec
from tests.sim.clock import FixedClock

from bellcow.cluster.roster import Roster, as_member
from bellcow.model.hello import Itself

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


def test_member_is_named_by_server_and_region_and_found_at_its_gossip_address():
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


def test_address_of_consensus_is_written_with_brackets_where_needed():
    assert ITSELF.rpc_address == "10.0.0.1:4647"
    six = msgspec.structs.replace(ITSELF, rpc=("::1", 4647))
    assert six.rpc_address == "[::1]:4647"


def test_server_on_its_own_knows_itself():
    roster = Roster(ITSELF, FixedClock())
    assert [member.name for member in roster.members()] == ["one.global"]
    assert roster.names() == {"id": "one.global"}
    assert roster.alive() == {"id"}
    assert roster.regions() == ("global",)
