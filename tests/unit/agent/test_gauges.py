"""Which series a server publishes."""

from __future__ import annotations

from tests.support.http_here import here

# What public dashboards and alert rules name, as far as it has a meaning here.
NAMED_BY_RULES = [
    "nomad_nomad_autopilot_failure_tolerance",
    "nomad_nomad_autopilot_healthy",
    "nomad_nomad_blocked_evals_total_blocked",
    "nomad_nomad_blocked_evals_total_escaped",
    "nomad_nomad_blocked_evals_total_quota_limit",
    "nomad_nomad_broker_total_blocked",
    "nomad_nomad_broker_total_pending",
    "nomad_nomad_broker_total_ready",
    "nomad_nomad_broker_total_unacked",
    "nomad_nomad_broker_total_waiting",
    "nomad_nomad_heartbeat_active",
    "nomad_nomad_job_status_dead",
    "nomad_nomad_job_status_pending",
    "nomad_nomad_job_status_running",
    "nomad_nomad_plan_queue_depth",
    "nomad_nomad_rpc_query",
    "nomad_nomad_rpc_request",
    "nomad_nomad_rpc_request_error",
    "nomad_nomad_vault_token_ttl",
    "nomad_raft_appliedIndex",
    "nomad_raft_apply",
    "nomad_raft_barrier",
    "nomad_raft_commitNumLogs",
    "nomad_raft_commitTime",
    "nomad_raft_commitTime_sum",
    "nomad_raft_fsm_apply",
    "nomad_raft_fsm_apply_sum",
    "nomad_raft_lastIndex",
    "nomad_raft_leader_lastContact",
    "nomad_raft_leader_lastContact_count",
    "nomad_raft_state_leader",
    "nomad_runtime_alloc_bytes",
    "nomad_runtime_gc_pause_ns_sum",
    "nomad_runtime_heap_objects",
    "nomad_runtime_num_goroutines",
    "nomad_runtime_sys_bytes",
    "nomad_runtime_total_gc_runs",
    "nomad_serf_member_join",
    "nomad_state_snapshotIndex",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
]


async def test_series_that_alert_rules_name_are_published() -> None:
    async with here() as site, site.client() as client:
        text = (await client.get("/v1/metrics?format=prometheus")).text
        assert (
            set(NAMED_BY_RULES)
            - {line.partition("{")[0].partition(" ")[0] for line in text.splitlines()}
            == set()
        )


async def test_commits_and_their_way_into_memory_are_timed() -> None:
    async with here() as site, site.client() as client:
        await client.put("/v1/namespace", json={"Name": "one"})
        assert {"nomad.raft.commitTime", "nomad.raft.fsm.apply"} <= {
            row["Name"] for row in (await client.get("/v1/metrics")).json()["Samples"]
        }
