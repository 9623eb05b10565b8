"""What settings of autopilot are refused, and how its findings are written."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.errors import Code
from bellcow.gocompat.duration import Duration
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth, ServerHealth
from bellcow.wire import dec_hook, to_json

DEFAULT = AutopilotConfiguration()


def problem(**fields) -> str | None:
    error = msgspec.structs.replace(DEFAULT, **fields).problem()
    assert error is None or error.code is Code.INVALID
    return error and error.message


def test_defaults_are_fine():
    assert problem() is None


@pytest.mark.parametrize("ns", [1, 10**18])
def test_any_positive_threshold_is_fine(ns):
    assert problem(last_contact_threshold=Duration(ns)) is None


@pytest.mark.parametrize(("ns", "shown"), [(0, "0s"), (-1, "-1ns"), (-(10**9), "-1s")])
def test_threshold_that_no_server_could_meet_is_refused_by_name(ns, shown):
    text = problem(last_contact_threshold=Duration(ns))
    assert text is not None
    assert text.startswith("LastContactThreshold ")
    assert text.endswith(f"got {shown}")


def test_stabilization_time_may_be_zero_and_not_negative():
    assert problem(server_stabilization_time=Duration(0)) is None
    text = problem(server_stabilization_time=Duration(-1))
    assert text is not None
    assert text.startswith("ServerStabilizationTime ")


def test_configuration_is_written_in_nomads_order():
    assert to_json(DEFAULT) == (
        b'{"LastContactThreshold":"200ms","ServerStabilizationTime":"10s",'
        b'"CleanupDeadServers":true,"MaxTrailingLogs":250,"MinQuorum":0,'
        b'"EnableRedundancyZones":false,"DisableUpgradeMigration":false,'
        b'"EnableCustomUpgrades":false,"CreateIndex":0,"ModifyIndex":0}'
    )


def test_configuration_reads_back_the_same():
    changed = msgspec.structs.replace(DEFAULT, last_contact_threshold=Duration(5), min_quorum=3)
    read = msgspec.json.decode(to_json(changed), type=AutopilotConfiguration, dec_hook=dec_hook)
    assert read == changed


def test_unknown_server_has_the_wire_values_for_unknown():
    shown = msgspec.json.decode(to_json(ServerHealth(id="i", address="a")))
    assert shown["LastContact"] == "-1ns"
    assert shown["StableSince"] == "0001-01-01T00:00:00Z"
    assert shown["SerfStatus"] == "none"


def test_health_before_the_first_round_has_no_servers():
    shown = msgspec.json.decode(to_json(ClusterHealth()))
    assert shown == {
        "FailureTolerance": 0,
        "Healthy": False,
        "Leader": "",
        "Servers": None,
        "Voters": [],
    }
