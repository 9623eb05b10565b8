"""The `telemetry` block."""

from __future__ import annotations

from typing import Annotated

from bellcow.config.block import Anything, Block, Strings, acts, ignored, later, seconds
from bellcow.gocompat.duration import Duration


class Telemetry(Block, frozen=True, kw_only=True):
    """Metrics."""

    prometheus_metrics: Annotated[bool, acts("Serve metrics in Prometheus' format.")] = False
    metrics_require_token: Annotated[
        bool, acts("Ask for a token with `agent:read` on `/v1/metrics` when ACLs are on.")
    ] = False
    collection_interval: Annotated[Duration, later("Pause between collections.")] = seconds(1)
    publish_node_metrics: Annotated[bool, later("Metrics of nodes.")] = False
    publish_allocation_metrics: Annotated[bool, later("Metrics of allocations.")] = False
    disable_hostname: Annotated[bool, acts("No host name before the metric's name.")] = False
    use_node_name: Annotated[bool, acts("The agent's name instead of the host name.")] = False
    prefix_filter: Annotated[
        Strings, acts("Metrics to send (`+prefix`) and to leave out (`-prefix`).")
    ] = ()
    filter_default: Annotated[bool, acts("Send what no filter names.")] = True
    statsd_address: Annotated[str, later("A statsd server.")] = ""
    statsite_address: Annotated[str, later("A statsite server.")] = ""
    datadog_address: Annotated[str, later("A DogStatsD server.")] = ""
    datadog_tags: Annotated[Strings, later("Tags for DogStatsD.")] = ()
    in_memory_collection_interval: Annotated[Duration, later("Length of one interval.")] = seconds(
        10
    )
    in_memory_retention_period: Annotated[Duration, later("How long intervals are kept.")] = (
        seconds(60)
    )
    disable_dispatched_job_summary_metrics: Annotated[Anything, ignored("Jobs.")] = Anything()
    disable_allocation_hook_metrics: Annotated[Anything, ignored("Allocations.")] = Anything()
    disable_quota_utilization_metrics: Annotated[Anything, ignored("Quotas.")] = Anything()
    disable_rpc_rate_metrics_labels: Annotated[Anything, ignored("Labels.")] = Anything()
    include_alloc_metadata_in_metrics: Annotated[Anything, ignored("Allocations.")] = Anything()
    allowed_metadata_keys_in_metrics: Annotated[Anything, ignored("Allocations.")] = Anything()
    disable_tagged_metrics: Annotated[Anything, ignored("Old releases.")] = Anything()
    backwards_compatible_metrics: Annotated[Anything, ignored("Old releases.")] = Anything()
    circonus_api_token: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_api_app: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_api_url: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_submission_interval: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_submission_url: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_check_id: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_check_force_metric_activation: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_check_instance_id: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_check_search_tag: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_check_tags: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_check_display_name: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_broker_id: Annotated[Anything, ignored("Circonus.")] = Anything()
    circonus_broker_select_tag: Annotated[Anything, ignored("Circonus.")] = Anything()
