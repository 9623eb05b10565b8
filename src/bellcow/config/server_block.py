"""The `server` block, and the blocks inside it."""

from __future__ import annotations

from typing import Annotated

from bellcow.config.block import Anything, Block, Strings, acts, ignored, later, partly, seconds
from bellcow.gocompat.duration import Duration


class ServerJoin(Block, frozen=True, kw_only=True):
    """Which servers to join at start, how often and how fast."""

    retry_join: Annotated[Strings, acts("Servers to join, tried again until one answers.")] = ()
    start_join: Annotated[
        Strings, acts("Servers to join in one try; a failure ends the agent.")
    ] = ()
    retry_max: Annotated[int, acts("Further tries of `retry_join`; 0 never gives up.")] = 0
    retry_interval: Annotated[Duration, acts("Pause between tries of `retry_join`.")] = seconds(30)


class Preemption(Block, frozen=True, kw_only=True):
    """Which kinds of job may preempt others."""

    system_scheduler_enabled: Annotated[bool, partly("System jobs may preempt.")] = True
    sysbatch_scheduler_enabled: Annotated[bool, partly("Sysbatch jobs may preempt.")] = False
    batch_scheduler_enabled: Annotated[bool, partly("Batch jobs may preempt.")] = False
    service_scheduler_enabled: Annotated[bool, partly("Service jobs may preempt.")] = False


class DefaultScheduler(Block, frozen=True, kw_only=True):
    """The scheduler configuration a new cluster begins with; keys left out keep their defaults."""

    scheduler_algorithm: Annotated[str, partly("`binpack` or `spread`.")] = "binpack"
    preemption_config: Annotated[Preemption, acts("Which kinds of job may preempt.")] = Preemption()
    memory_oversubscription_enabled: Annotated[
        bool, partly("Tasks may use more memory than they reserve.")
    ] = False
    reject_job_registration: Annotated[
        bool, partly("Refuse jobs from all but management tokens.")
    ] = False
    pause_eval_broker: Annotated[bool, partly("Hold evaluations back.")] = False
    node_limit_for_feasibility_checks: Annotated[
        int, partly("Most nodes to check for one placement; 0 has no limit.")
    ] = 0


class Server(Block, frozen=True, kw_only=True):
    """This agent as a server of the cluster."""

    enabled: Annotated[bool, acts("Run as a server.")] = False
    bootstrap_expect: Annotated[
        int,
        acts(
            "Servers to wait for before a new cluster forms; 1 forms it alone; 0 joins the servers "
            "that `server_join` names, or forms it alone if there are none."
        ),
    ] = 0
    engine: Annotated[
        str,
        acts(
            "Where the state is kept: `embedded` (one server), `etcd` (several) or `auto`, which "
            "uses etcd when servers are expected or joined, and moves the state of a single "
            "server into it."
        ),
    ] = "auto"
    etcd_path: Annotated[str, acts("The etcd program; looked up in PATH when empty.")] = ""
    authoritative_region: Annotated[str, later("Region that owns ACLs; its own when empty.")] = ""
    data_dir: Annotated[str, acts("Directory of the state; `<data_dir>/server` when empty.")] = ""
    encrypt: Annotated[
        str,
        acts(
            "Shared key by which servers authenticate each other: base64 of 16, 24 or 32 bytes; an "
            "existing keyring file wins over it."
        ),
    ] = ""
    open_peers: Annotated[
        bool,
        acts(
            "Accept servers of other machines without a key and without TLS: anyone who "
            "reaches the ports can read and replace the whole state."
        ),
    ] = False
    server_join: Annotated[ServerJoin, acts("Which servers to join.")] = ServerJoin()
    start_join: Annotated[Strings, acts("Old spelling of `server_join.start_join`.")] = ()
    retry_join: Annotated[Strings, acts("Old spelling of `server_join.retry_join`.")] = ()
    retry_max: Annotated[int, acts("Old spelling of `server_join.retry_max`.")] = 0
    retry_interval: Annotated[Duration, acts("Old spelling of `server_join.retry_interval`.")] = (
        seconds(30)
    )
    rejoin_after_leave: Annotated[
        bool, later("Join again at start, even after leaving the cluster.")
    ] = False
    non_voting_server: Annotated[bool, acts("Never vote.")] = False
    redundancy_zone: Annotated[str, partly("Zone of which autopilot lets one server vote.")] = ""
    upgrade_version: Annotated[
        str, partly("Version used for migrations instead of the program's own, as 1.2.3.")
    ] = ""
    raft_protocol: Annotated[
        int, partly("Accepted for old files; bellcow has one, shown as 3.")
    ] = 3
    raft_multiplier: Annotated[int, acts("Scales the timers of consensus, 1 to 10.")] = 1
    protocol_version: Annotated[int, ignored("Protocol of old releases.")] = 1
    num_schedulers: Annotated[
        int | None, later("Scheduling workers; number of cores when not given, 0 for none.")
    ] = None
    enabled_schedulers: Annotated[
        Strings, later("Kinds of job scheduled here; `_core` always is.")
    ] = ("service", "batch", "system", "sysbatch")
    node_gc_threshold: Annotated[Duration, later("Age at which a dead node is removed.")] = seconds(
        24 * 3600
    )
    job_gc_interval: Annotated[Duration, later("Pause between clean-ups of jobs.")] = seconds(300)
    job_gc_threshold: Annotated[Duration, later("Age at which a dead job is removed.")] = seconds(
        4 * 3600
    )
    eval_gc_threshold: Annotated[Duration, later("Age at which an evaluation is removed.")] = (
        seconds(3600)
    )
    deployment_gc_threshold: Annotated[Duration, later("Age at which a deployment is removed.")] = (
        seconds(3600)
    )
    csi_volume_claim_gc_threshold: Annotated[Anything, ignored("Storage plugins.")] = Anything()
    csi_volume_claim_gc_interval: Annotated[Anything, ignored("Storage plugins.")] = Anything()
    csi_plugin_gc_threshold: Annotated[Anything, ignored("Storage plugins.")] = Anything()
    heartbeat_grace: Annotated[Duration, later("Allowance for late heartbeats of nodes.")] = (
        seconds(10)
    )
    min_heartbeat_ttl: Annotated[Duration, later("Shortest time between heartbeats.")] = seconds(10)
    max_heartbeats_per_second: Annotated[float, later("Heartbeats of all nodes a second.")] = 50.0
    failover_heartbeat_ttl: Annotated[Duration, later("Time for nodes to reach a new leader.")] = (
        seconds(300)
    )
    default_scheduler_config: Annotated[
        DefaultScheduler, acts("Scheduler configuration of a new cluster.")
    ] = DefaultScheduler()
    enable_event_broker: Annotated[bool, later("Keep events for the event stream.")] = True
    event_buffer_size: Annotated[int, later("Events kept for the event stream.")] = 100
    license_path: Annotated[str, ignored("A file with the license; use `bellcow license put`.")] = (
        ""
    )
    license_env: Annotated[str, ignored("The license itself; use `bellcow license put`.")] = ""
    raft_snapshot_interval: Annotated[Duration, later("Pause between checks of the log.")] = (
        seconds(120)
    )
    raft_snapshot_threshold: Annotated[int, later("Log entries before it is shortened.")] = 8192
    raft_trailing_logs: Annotated[int, later("Log entries kept behind a snapshot.")] = 10240
    raft_boltdb: Annotated[Anything, ignored("Another store.")] = Anything()
    raft_logstore: Annotated[Anything, ignored("Another store.")] = Anything()
    plan_rejection_tracker: Annotated[Anything, ignored("Later releases.")] = Anything()
    search: Annotated[Anything, ignored("Later releases.")] = Anything()
    oidc_issuer: Annotated[Anything, ignored("Later releases.")] = Anything()
    job_default_priority: Annotated[Anything, ignored("Later releases.")] = Anything()
    job_max_count: Annotated[Anything, ignored("Later releases.")] = Anything()
    job_max_priority: Annotated[Anything, ignored("Later releases.")] = Anything()
    job_max_source_size: Annotated[Anything, ignored("Later releases.")] = Anything()
    job_tracked_versions: Annotated[Anything, ignored("Later releases.")] = Anything()
    batch_eval_gc_threshold: Annotated[Anything, ignored("Later releases.")] = Anything()
    acl_token_gc_threshold: Annotated[Anything, ignored("Later releases.")] = Anything()
    root_key_gc_interval: Annotated[Anything, ignored("Later releases.")] = Anything()
    root_key_gc_threshold: Annotated[Anything, ignored("Later releases.")] = Anything()
    root_key_rotation_threshold: Annotated[Anything, ignored("Later releases.")] = Anything()
    client_introduction: Annotated[Anything, ignored("Later releases.")] = Anything()
    start_timeout: Annotated[Anything, ignored("Later releases.")] = Anything()
    deploy_query_rate_limit: Annotated[Anything, ignored("Later releases.")] = Anything()
    log_file: Annotated[Anything, ignored("Later releases.")] = Anything()
    non_production: Annotated[Anything, ignored("Later releases.")] = Anything()
    plan_apply_pipeline: Annotated[Anything, ignored("Later releases.")] = Anything()
