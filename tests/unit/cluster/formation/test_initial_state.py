"""The first state of a cluster, and a server's own entry in a later one."""

from __future__ import annotations

import msgspec
from tests.sim.clock import FixedClock
from tests.sim.world import configuration, founder

from bellcow.cluster.formation.initial_state import first_state, with_own_entry
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.state.tables import AUTOPILOT, CLUSTER, LICENSE_TEMPORARY, NAMESPACES, RAFT, fill


def test_first_settings_have_the_indexes_of_the_documentation():
    index, changes = first_state(founder("a"), FixedClock())
    rows = fill(iter(changes.items())).rows
    indexes = {name: row.modify_index for name, table in rows.items() for row in table.values()}
    assert index == 6
    assert indexes == {
        "namespaces": 1,
        "raft_configuration": 2,
        "cluster": 3,
        "autopilot_configuration": 4,
        "scheduler_configuration": 5,
        "license_temporary": 6,
    }


def test_first_state_of_a_lone_founder_lists_it_as_the_voter():
    strict = AutopilotConfiguration(max_trailing_logs=1)
    _, changes = first_state(msgspec.structs.replace(founder("a"), autopilot=strict), FixedClock())
    rows = fill(iter(changes.items())).rows
    (raft,) = rows[RAFT.name].values()
    assert [(each.id, each.address, each.voter) for each in raft.servers] == [("a", "a:4647", True)]
    (stored,) = rows[AUTOPILOT.name].values()
    assert stored.max_trailing_logs == 1
    assert list(rows[NAMESPACES.name]) == ["default"]
    (cluster,) = rows[CLUSTER.name].values()
    (began,) = rows[LICENSE_TEMPORARY.name].values()
    assert cluster.region == "global"
    assert cluster.create_time == began.start_time == "2027-01-15T08:00:00Z"


def test_each_new_cluster_has_its_own_id():
    ids = set()
    for seed in (1, 2):
        _, changes = first_state(founder("a"), FixedClock(seed=seed))
        (cluster,) = fill(iter(changes.items())).rows[CLUSTER.name].values()
        ids.add(cluster.cluster_id)
    assert len(ids) == 2


def test_correct_entry_is_not_written_again():
    assert with_own_entry(founder("a"), configuration(("a", "b"))) is None
    assert with_own_entry(founder("c"), configuration(("a", "b"))) is None


def test_new_address_and_name_are_written_and_the_vote_is_kept():
    stored = configuration(("a", "b"))
    moved = msgspec.structs.replace(founder("b"), address="new:4647", name="b2.global")
    non_voter = msgspec.structs.replace(stored.servers[1], voter=False)
    stored = msgspec.structs.replace(stored, servers=(stored.servers[0], non_voter))
    corrected = with_own_entry(moved, stored)
    assert corrected is not None
    assert corrected.servers[0] == stored.servers[0]
    entry = corrected.servers[1]
    assert (entry.id, entry.address, entry.name) == ("b", "new:4647", "b2.global")
    assert not entry.voter


def test_only_server_with_a_new_id_replaces_its_old_entry():
    corrected = with_own_entry(founder("new"), configuration(("old",)))
    assert corrected is not None
    assert [each.id for each in corrected.servers] == ["new"]
