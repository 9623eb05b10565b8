"""The scheduler's settings, and the replies that show them."""

from __future__ import annotations

from typing import ClassVar, Literal

from bellcow.errors import Error, invalid
from bellcow.model.bounds import counts_problem
from bellcow.wire import Wire

ALGORITHMS = ("binpack", "spread")
Algorithm = Literal["binpack", "spread"]


class PreemptionConfig(Wire, frozen=True, kw_only=True):
    """Which schedulers may preempt allocations of lower priority."""

    batch_scheduler_enabled: bool = False
    service_scheduler_enabled: bool = False
    sys_batch_scheduler_enabled: bool = False
    system_scheduler_enabled: bool = True

    GO_TYPE: ClassVar[str] = "api.PreemptionConfig"
    GO_STRUCT: ClassVar[str] = "PreemptionConfig"


class SchedulerConfiguration(Wire, frozen=True, kw_only=True):
    """How the scheduler places, and what it refuses or pauses.

    Source of the defaults: Nomad's API page "Operator HTTP API".
    """

    create_index: int = 0
    memory_oversubscription_enabled: bool = False
    modify_index: int = 0
    node_limit_for_feasibility_checks: int = 0
    pause_eval_broker: bool = False
    preemption_config: PreemptionConfig = PreemptionConfig()
    reject_job_registration: bool = False
    scheduler_algorithm: str = "binpack"

    GO_TYPE: ClassVar[str] = "api.SchedulerConfiguration"
    GO_STRUCT: ClassVar[str] = "SchedulerConfiguration"
    GO_FIELD_TYPES: ClassVar[dict[str, str]] = {"SchedulerAlgorithm": "api.SchedulerAlgorithm"}
    # GET answers this object inside another one. A client may send that answer to PUT unchanged.
    WRAPPER: ClassVar[str] = "SchedulerConfig"

    def problem(self) -> Error | None:
        if self.scheduler_algorithm not in ALGORITHMS:
            return invalid(f"invalid scheduler algorithm: {self.scheduler_algorithm[:64]}")
        return counts_problem(NodeLimitForFeasibilityChecks=self.node_limit_for_feasibility_checks)


class SchedulerConfigurationReply(Wire, frozen=True, kw_only=True):
    """What GET answers.

    `last_contact` is in nanoseconds; `index` is the configuration's ModifyIndex.
    """

    index: int
    known_leader: bool = True
    last_contact: int = 0
    scheduler_config: SchedulerConfiguration


class SchedulerUpdateReply(Wire, frozen=True, kw_only=True):
    """What PUT answers.

    The index this request took, and whether the configuration is now the new one.
    """

    index: int
    updated: bool
