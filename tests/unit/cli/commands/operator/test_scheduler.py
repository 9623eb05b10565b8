from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/v1/operator/scheduler/configuration"
CONFIG: dict[str, Any] = {
    "CreateIndex": 5,
    "MemoryOversubscriptionEnabled": False,
    "ModifyIndex": 5,
    "NodeLimitForFeasibilityChecks": 0,
    "PauseEvalBroker": False,
    "PreemptionConfig": {
        "BatchSchedulerEnabled": False,
        "ServiceSchedulerEnabled": False,
        "SysBatchSchedulerEnabled": False,
        "SystemSchedulerEnabled": True,
    },
    "RejectJobRegistration": False,
    "SchedulerAlgorithm": "binpack",
}
ANSWER = {"Index": 5, "KnownLeader": True, "LastContact": 0, "SchedulerConfig": CONFIG}
SHOWN = """Scheduler Algorithm               = binpack
Memory Oversubscription           = false
Reject Job Registration           = false
Pause Eval Broker                 = false
Preemption System Scheduler       = true
Preemption Service Scheduler      = false
Preemption Batch Scheduler        = false
Preemption SysBatch Scheduler     = false
Node Limit For Feasibility Checks = 0
Modify Index                      = 5
"""


def test_the_settings_are_shown(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", ANSWER)
    result = cli("operator", "scheduler", "get-config")
    assert (result.status, result.out, result.err) == (0, SHOWN, "")


def test_an_old_server_that_knows_fewer_settings_is_shown_too(
    cli: Callable[..., Any], server: Any
) -> None:
    old = {"SchedulerAlgorithm": "spread", "PreemptionConfig": None, "ModifyIndex": 5}
    server.on(f"GET {PATH}", {"SchedulerConfig": old})
    result = cli("operator", "scheduler", "get-config")
    assert "Scheduler Algorithm               = spread\n" in result.out
    assert "Preemption System Scheduler       = false\n" in result.out


def test_only_given_settings_change(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", ANSWER)
    server.on(f"PUT {PATH}", {"Index": 11, "Updated": True})
    result = cli(
        "operator",
        "scheduler",
        "set-config",
        "-scheduler-algorithm=spread",
        "-preempt-batch-scheduler=true",
        "-pause-eval-broker=true",
        "-check-index=5",
    )
    assert (result.status, result.out) == (0, "Scheduler configuration updated!\n")
    put = server.requests[1]
    assert put.target == f"{PATH}?cas=5"
    preemption = {**CONFIG["PreemptionConfig"], "BatchSchedulerEnabled": True}
    assert put.json == {
        **CONFIG,
        "SchedulerAlgorithm": "spread",
        "PauseEvalBroker": True,
        "PreemptionConfig": preemption,
    }


def test_a_check_index_that_does_not_match_changes_nothing(
    cli: Callable[..., Any], server: Any
) -> None:
    server.on(f"GET {PATH}", ANSWER)
    result = cli("operator", "scheduler", "set-config", "-check-index=3", "-pause-eval-broker=true")
    assert result.err == (
        "Error performing check index set: check-index 3 does not match current state value 5\n"
    )
    assert [request.method for request in server.requests] == ["GET"]


def test_a_check_index_that_is_no_number_is_refused(cli: Callable[..., Any], server: Any) -> None:
    result = cli("operator", "scheduler", "set-config", "-check-index=x", "-pause-eval-broker=1")
    assert result.err.startswith('Error parsing check-index value "x": strconv.ParseUint: ')
    assert server.requests == []


def test_an_unknown_algorithm_is_refused(cli: Callable[..., Any], server: Any) -> None:
    result = cli("operator", "scheduler", "set-config", "-scheduler-algorithm=random")
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[0] == (
        'invalid value "random" for flag -scheduler-algorithm: must be binpack or spread'
    )
    assert server.requests == []


def test_a_concurrent_write_is_an_error(cli: Callable[..., Any], server: Any) -> None:
    server.on(f"GET {PATH}", ANSWER)
    server.on(f"PUT {PATH}", {"Index": 11, "Updated": False})
    result = cli("operator", "scheduler", "set-config", "-pause-eval-broker=true")
    assert (result.status, result.err) == (1, "")
    assert result.out == (
        "Scheduler configuration could not be atomically updated, please try again\n"
    )
