"""`operator scheduler`: the scheduler configuration."""

from __future__ import annotations

from typing import Any

from bellcow.cli.commands.operator.set_config import set_with_cas
from bellcow.cli.shell.errors import CommandError, failing
from bellcow.cli.shell.flags import UINT, GoType, flag, switch, three_state
from bellcow.cli.shell.output import go_bool, pairs, say, show
from bellcow.cli.shell.session import Session, as_data, command, if_stale, stale_switch
from bellcow.gocompat.quote import go_quote
from bellcow.gocompat.values import parse_uint

CONFIGURATION = "/v1/operator/scheduler/configuration"
# The name of a setting in help and output, and its key; a dot leads into an object.
_SHOWN = (
    ("Scheduler Algorithm", "SchedulerAlgorithm"),
    ("Memory Oversubscription", "MemoryOversubscriptionEnabled"),
    ("Reject Job Registration", "RejectJobRegistration"),
    ("Pause Eval Broker", "PauseEvalBroker"),
    ("Preemption System Scheduler", "PreemptionConfig.SystemSchedulerEnabled"),
    ("Preemption Service Scheduler", "PreemptionConfig.ServiceSchedulerEnabled"),
    ("Preemption Batch Scheduler", "PreemptionConfig.BatchSchedulerEnabled"),
    ("Preemption SysBatch Scheduler", "PreemptionConfig.SysBatchSchedulerEnabled"),
    ("Node Limit For Feasibility Checks", "NodeLimitForFeasibilityChecks"),
    ("Modify Index", "ModifyIndex"),
)
_KEYS = {
    "scheduler_algorithm": "SchedulerAlgorithm",
    "memory_oversubscription": "MemoryOversubscriptionEnabled",
    "reject_job_registration": "RejectJobRegistration",
    "pause_eval_broker": "PauseEvalBroker",
    "node_limit_for_feasibility_checks": "NodeLimitForFeasibilityChecks",
}
_PREEMPTION = {
    "preempt_system_scheduler": "SystemSchedulerEnabled",
    "preempt_service_scheduler": "ServiceSchedulerEnabled",
    "preempt_batch_scheduler": "BatchSchedulerEnabled",
    "preempt_sysbatch_scheduler": "SysBatchSchedulerEnabled",
}


def _algorithm(text: str) -> str:
    if text not in {"binpack", "spread"}:
        raise ValueError("must be binpack or spread")
    return text


_ALGORITHM = GoType("algorithm", _algorithm)


@command("Shows the settings of the scheduler.\n\nNeeds operator:read.")
@stale_switch
@as_data
def get_config(session: Session, *, stale: bool, as_json: bool, template: str) -> None:
    with failing("Error querying scheduler configuration: "):
        answer: dict[str, Any] = session.client.get(CONFIGURATION, **if_stale(stale=stale))
    settings = answer["SchedulerConfig"]
    show(
        answer,
        lambda: pairs([(name, _value(settings, key)) for name, key in _SHOWN]),
        as_json=as_json,
        template=template,
        go_type="*api.SchedulerConfigurationResponse",
    )


def _value(settings: dict[str, Any], path: str) -> str:
    value: Any = settings
    for key in path.split("."):
        value = (value or {}).get(key)
    if path in {"NodeLimitForFeasibilityChecks", "ModifyIndex"}:
        return str(value or 0)
    return value if isinstance(value, str) else go_bool(value)


@command(
    "Changes settings of the scheduler; without a flag a setting stays unchanged.\n\n"
    "Needs operator:write and operator:read."
)
@flag("check-index", "n", "Change nothing unless the modify index still is this.", default="")
@flag(
    "scheduler-algorithm",
    "binpack|spread",
    "Fill nodes one after the other, or use all evenly.",
    kind=_ALGORITHM,
)
@three_state("memory-oversubscription", "Let tasks use more memory than they reserve.")
@three_state("reject-job-registration", "Refuse new jobs from all but management tokens.")
@three_state("pause-eval-broker", "Hold back evaluations: nothing is placed.")
@three_state("preempt-system-scheduler", "Let system jobs preempt others.")
@three_state("preempt-service-scheduler", "Let service jobs preempt others.")
@three_state("preempt-batch-scheduler", "Let batch jobs preempt others.")
@three_state("preempt-sysbatch-scheduler", "Let sysbatch jobs preempt others.")
@flag(
    "node-limit-for-feasibility-checks",
    "n",
    "Nodes checked for jobs with spread or affinity.",
    kind=UINT,
)
@switch("verbose", "Print the changes.")
def set_config(session: Session, *, verbose: bool, check_index: str, **given: Any) -> None:
    changes = {
        _KEYS[name]: value for name, value in given.items() if name in _KEYS and value is not None
    }
    preemption = {key: given[name] for name, key in _PREEMPTION.items() if given[name] is not None}
    if preemption:
        changes["PreemptionConfig"] = preemption
    if not changes:
        raise session.misuse("Give at least one setting to change")
    wanted = _check_index(check_index)
    client = session.client

    def read() -> dict[str, Any]:
        with failing("Error querying for scheduler configuration: "):
            settings: dict[str, Any] = client.get(CONFIGURATION)["SchedulerConfig"]
            return settings

    def write(after: dict[str, Any], index: int) -> bool:
        with failing("Error setting scheduler configuration: "):
            return bool(client.put(CONFIGURATION, after, cas=str(index))["Updated"])

    def check(index: int) -> None:
        if wanted is not None and wanted != index:
            raise CommandError(
                f"Error performing check index set: check-index {wanted} does not match current "
                f"state value {index}"
            )

    changed = set_with_cas(read, write, changes, check)
    if changed is None:
        say("Scheduler configuration could not be atomically updated, please try again")
        raise CommandError("")
    say("Scheduler configuration updated!")
    if verbose:
        say("\n".join(changed) or "Nothing was different before")


def _check_index(text: str) -> int | None:
    if not text:
        return None
    try:
        return parse_uint(text)
    except ValueError as error:
        raise CommandError(f"Error parsing check-index value {go_quote(text)}: {error}") from error
