"""The agent's settings: one frozen struct a block, each key with type, default, priority and help.

This is the only place that states those facts; the reader, the flags and `docs/configuration.md`
take them from here. It knows nothing of files, nor of what is allowed beyond a type.
"""

from __future__ import annotations

import functools
import types
import typing
from typing import Annotated, Any, NamedTuple

import msgspec

from bellcow.wire import Duration


def acts(text: str) -> msgspec.Meta:
    """Help of a key that bellcow obeys."""
    return msgspec.Meta(description=text, extra={"priority": "A"})


def partly(text: str) -> msgspec.Meta:
    """Help of a key that bellcow obeys in part, such as by storing it."""
    return msgspec.Meta(description=text, extra={"priority": "B"})


def later(text: str) -> msgspec.Meta:
    """Help of a key that is checked and kept, and has no effect yet: one warning at start."""
    return msgspec.Meta(description=text, extra={"priority": "L"})


def ignored(text: str) -> msgspec.Meta:
    """Help of a key that loads so that existing files work, with one warning at start."""
    return msgspec.Meta(description=text, extra={"priority": "C"})


class Anything(msgspec.Struct, frozen=True):
    """The value of a key of any shape that is accepted and not kept."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every block of settings."""


def _s(seconds: float) -> Duration:
    return Duration.seconds(seconds)


Strings = tuple[str, ...]


class Ports(Block, frozen=True, kw_only=True):
    """The ports to listen on; 0 takes any free one."""

    http: Annotated[int, acts("Port of the HTTP API.")] = 4646
    rpc: Annotated[int, acts("Port of consensus between servers.")] = 4647
    serf: Annotated[int, acts("Port of everything else between servers.")] = 4648


class ListenAddresses(Block, frozen=True, kw_only=True):
    """The addresses to listen on, where they are not `bind_addr`."""

    http: Annotated[str, acts("Listen address of the HTTP API; `bind_addr` when empty.")] = ""
    rpc: Annotated[str, acts("Listen address of consensus; `bind_addr` when empty.")] = ""
    serf: Annotated[str, acts("Listen address between servers; `bind_addr` when empty.")] = ""


class Advertise(Block, frozen=True, kw_only=True):
    """The addresses that others are told, as `host` or `host:port`."""

    http: Annotated[str, acts("Address of the HTTP API that others are told.")] = ""
    rpc: Annotated[str, acts("Address of consensus that other servers are told.")] = ""
    serf: Annotated[str, acts("Address between servers that other servers are told.")] = ""


class ServerJoin(Block, frozen=True, kw_only=True):
    """Which servers to join at start, and how patiently."""

    retry_join: Annotated[Strings, acts("Servers to join, tried again until one answers.")] = ()
    start_join: Annotated[
        Strings, acts("Servers to join in one try; a failure ends the agent.")
    ] = ()
    retry_max: Annotated[int, acts("Further tries of `retry_join`; 0 never gives up.")] = 0
    retry_interval: Annotated[Duration, acts("Pause between tries of `retry_join`.")] = _s(30)


class Preemption(Block, frozen=True, kw_only=True):
    """Which kinds of job may push others aside."""

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
            "Servers to wait for before a new cluster forms; 1 is alone; 0 joins those that "
            "`server_join` names, and without any is alone."
        ),
    ] = 0
    engine: Annotated[
        str,
        acts(
            "Where the state is kept: `embedded` (one server), `etcd` (several) or `auto`, which "
            "takes etcd when servers are expected or joined, and takes the state of a single "
            "server over into it."
        ),
    ] = "auto"
    etcd_path: Annotated[str, acts("The etcd program; looked up in PATH when empty.")] = ""
    authoritative_region: Annotated[str, later("Region that owns ACLs; its own when empty.")] = ""
    data_dir: Annotated[str, acts("Where state is kept; `<data_dir>/server` when empty.")] = ""
    encrypt: Annotated[
        str,
        acts(
            "Key that servers prove themselves with: base64 of 16, 24 or 32 bytes; a kept keyring "
            "wins over it."
        ),
    ] = ""
    open_peers: Annotated[
        bool,
        acts(
            "Listen for other servers beyond loopback without a key and without TLS: whoever "
            "reaches the ports reads and replaces the whole state."
        ),
    ] = False
    server_join: Annotated[ServerJoin, acts("Which servers to join.")] = ServerJoin()
    start_join: Annotated[Strings, acts("Old spelling of `server_join.start_join`.")] = ()
    retry_join: Annotated[Strings, acts("Old spelling of `server_join.retry_join`.")] = ()
    retry_max: Annotated[int, acts("Old spelling of `server_join.retry_max`.")] = 0
    retry_interval: Annotated[Duration, acts("Old spelling of `server_join.retry_interval`.")] = _s(
        30
    )
    rejoin_after_leave: Annotated[bool, later("Join again at start after having left.")] = False
    non_voting_server: Annotated[bool, acts("Stand by without a vote, for ever.")] = False
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
    node_gc_threshold: Annotated[Duration, later("Age at which a dead node is forgotten.")] = _s(
        24 * 3600
    )
    job_gc_interval: Annotated[Duration, later("Pause between clean-ups of jobs.")] = _s(300)
    job_gc_threshold: Annotated[Duration, later("Age at which a dead job is forgotten.")] = _s(
        4 * 3600
    )
    eval_gc_threshold: Annotated[Duration, later("Age at which an evaluation is forgotten.")] = _s(
        3600
    )
    deployment_gc_threshold: Annotated[
        Duration, later("Age at which a deployment is forgotten.")
    ] = _s(3600)
    csi_volume_claim_gc_threshold: Annotated[Anything, ignored("Storage plugins.")] = Anything()
    csi_volume_claim_gc_interval: Annotated[Anything, ignored("Storage plugins.")] = Anything()
    csi_plugin_gc_threshold: Annotated[Anything, ignored("Storage plugins.")] = Anything()
    heartbeat_grace: Annotated[Duration, later("Allowance for late heartbeats of nodes.")] = _s(10)
    min_heartbeat_ttl: Annotated[Duration, later("Shortest time between heartbeats.")] = _s(10)
    max_heartbeats_per_second: Annotated[float, later("Heartbeats of all nodes a second.")] = 50.0
    failover_heartbeat_ttl: Annotated[Duration, later("Time nodes have to reach a new leader.")] = (
        _s(300)
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
    raft_snapshot_interval: Annotated[Duration, later("Pause between looks at the log.")] = _s(120)
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


class Acl(Block, frozen=True, kw_only=True):
    """Access control."""

    enabled: Annotated[bool, acts("Ask for tokens.")] = False
    token_ttl: Annotated[Duration, partly("How long a token may be remembered; none is.")] = _s(30)
    policy_ttl: Annotated[Duration, partly("How long a policy may be remembered; none is.")] = _s(
        30
    )
    role_ttl: Annotated[Duration, partly("How long a role may be remembered; none is.")] = _s(30)
    replication_token: Annotated[str, later("Token for copying ACLs between regions.")] = ""
    token_min_expiration_ttl: Annotated[Duration, later("Shortest life of a token.")] = _s(60)
    token_max_expiration_ttl: Annotated[Duration, later("Longest life of a token.")] = _s(24 * 3600)


class Limits(Block, frozen=True, kw_only=True):
    """Protection against clients that ask too much."""

    https_handshake_timeout: Annotated[
        Duration, acts("Time for a TLS handshake, API; 0 has no limit.")
    ] = _s(5)
    http_max_conns_per_client: Annotated[
        int, acts("HTTP connections from one address; 0 has no limit.")
    ] = 100
    http_max_bad_tokens: Annotated[
        int, acts("Unknown tokens from one address in 10 s before 429; 0 has no limit.")
    ] = 100
    rpc_handshake_timeout: Annotated[
        Duration, acts("Time for a TLS handshake, servers; 0 has no limit.")
    ] = _s(5)
    rpc_max_conns_per_client: Annotated[
        int,
        acts(
            "Server connections from one address, each counted as 40, for 40 requests at once; "
            "0 has no limit, else above 25."
        ),
    ] = 100


class Tls(Block, frozen=True, kw_only=True):
    """Certificates, and where they are used."""

    http: Annotated[bool, acts("TLS on the HTTP API.")] = False
    rpc: Annotated[bool, acts("Mutual TLS between servers.")] = False
    ca_file: Annotated[str, acts("Certificates of authorities, PEM; no roots needed.")] = ""
    cert_file: Annotated[str, acts("Certificate of this agent, PEM.")] = ""
    key_file: Annotated[str, acts("Key of this agent, PEM.")] = ""
    verify_server_hostname: Annotated[
        bool, acts("Servers must show a certificate for `server.<region>.nomad`.")
    ] = False
    verify_https_client: Annotated[bool, acts("HTTP clients must show a certificate.")] = False
    rpc_upgrade_mode: Annotated[bool, ignored("Both kinds of connection at once.")] = False
    tls_cipher_suites: Annotated[str, acts("Allowed cipher suites, with commas.")] = ""
    tls_min_version: Annotated[str, acts("`tls10`, `tls11`, `tls12` or `tls13`.")] = "tls12"
    tls_prefer_server_cipher_suites: Annotated[bool, later("Our order of suites wins.")] = False


class Autopilot(Block, frozen=True, kw_only=True):
    """The autopilot configuration a new cluster begins with."""

    cleanup_dead_servers: Annotated[bool, acts("Remove failed servers.")] = True
    last_contact_threshold: Annotated[Duration, acts("Longest silence of a healthy server.")] = _s(
        0.2
    )
    max_trailing_logs: Annotated[int, acts("Most entries a healthy server is behind.")] = 250
    min_quorum: Annotated[int, acts("Fewest servers that clean-up leaves.")] = 0
    server_stabilization_time: Annotated[
        Duration, acts("Time a server must be healthy before it votes.")
    ] = _s(10)
    enable_redundancy_zones: Annotated[bool, partly("One voter a `redundancy_zone`.")] = False
    disable_upgrade_migration: Annotated[bool, partly("No migration to newer versions.")] = False
    enable_custom_upgrades: Annotated[bool, partly("Migrate by `upgrade_version`.")] = False


class Telemetry(Block, frozen=True, kw_only=True):
    """Metrics."""

    prometheus_metrics: Annotated[bool, acts("Serve metrics in Prometheus' format.")] = False
    metrics_require_token: Annotated[
        bool, acts("Ask for a token with `agent:read` on `/v1/metrics` when ACLs are on.")
    ] = False
    collection_interval: Annotated[Duration, later("Pause between collections.")] = _s(1)
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
    in_memory_collection_interval: Annotated[Duration, later("Length of one interval.")] = _s(10)
    in_memory_retention_period: Annotated[Duration, later("How long intervals are kept.")] = _s(60)
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


class Client(Block, frozen=True, kw_only=True):
    """This agent as a client: accepted so that shared files load; bellcow has no client."""

    enabled: Annotated[
        bool, acts("Run as a client; refused without a server, since bellcow has none.")
    ] = False
    servers: Annotated[Strings, ignored("Servers of the client.")] = ()
    server_join: Annotated[ServerJoin, ignored("Servers of the client.")] = ServerJoin()
    state_dir: Annotated[str, ignored("Where the client keeps its state.")] = ""
    alloc_dir: Annotated[str, ignored("Where allocations live.")] = ""
    node_class: Annotated[str, ignored("Class of the node.")] = ""
    node_pool: Annotated[str, ignored("Pool of the node.")] = ""
    meta: Annotated[dict[str, str], ignored("Facts about the node.")] = {}
    options: Annotated[dict[str, str], ignored("Options of drivers.")] = {}
    network_interface: Annotated[str, ignored("Network of the node.")] = ""
    network_speed: Annotated[int, ignored("Network of the node.")] = 0
    gc_interval: Annotated[Duration, ignored("Pause between clean-ups.")] = _s(60)
    alloc_mounts_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    artifact: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_hairpin_mode: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_name: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_subnet: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_subnet_ipv6: Annotated[Anything, ignored("Node agent.")] = Anything()
    cgroup_parent: Annotated[Anything, ignored("Node agent.")] = Anything()
    chroot_env: Annotated[Anything, ignored("Node agent.")] = Anything()
    client_max_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    client_min_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    cni_config_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    cni_path: Annotated[Anything, ignored("Node agent.")] = Anything()
    common_plugin_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    cpu_disable_dmidecode: Annotated[Anything, ignored("Node agent.")] = Anything()
    cpu_total_compute: Annotated[Anything, ignored("Node agent.")] = Anything()
    disable_remote_exec: Annotated[Anything, ignored("Node agent.")] = Anything()
    disk_free_mb: Annotated[Anything, ignored("Node agent.")] = Anything()
    disk_total_mb: Annotated[Anything, ignored("Node agent.")] = Anything()
    drain_on_shutdown: Annotated[Anything, ignored("Node agent.")] = Anything()
    fingerprint: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_disk_usage_threshold: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_inode_usage_threshold: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_max_allocs: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_parallel_destroys: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_volumes_on_node_gc: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_network: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_volume: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_volume_plugin_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_volumes_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    intro_token: Annotated[Anything, ignored("Node agent.")] = Anything()
    max_dynamic_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    max_kill_timeout: Annotated[Anything, ignored("Node agent.")] = Anything()
    memory_total_mb: Annotated[Anything, ignored("Node agent.")] = Anything()
    min_dynamic_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    no_host_uuid: Annotated[Anything, ignored("Node agent.")] = Anything()
    node_max_allocs: Annotated[Anything, ignored("Node agent.")] = Anything()
    nomad_service_discovery: Annotated[Anything, ignored("Node agent.")] = Anything()
    preferred_address_family: Annotated[Anything, ignored("Node agent.")] = Anything()
    reservable_cores: Annotated[Anything, ignored("Node agent.")] = Anything()
    reserved: Annotated[Anything, ignored("Node agent.")] = Anything()
    template: Annotated[Anything, ignored("Node agent.")] = Anything()
    users: Annotated[Anything, ignored("Node agent.")] = Anything()
    stats: Annotated[Anything, ignored("Node agent.")] = Anything()
    bind_wildcard_default_host_network: Annotated[Anything, ignored("Node agent.")] = Anything()
    default_ineligible: Annotated[Anything, ignored("Node agent.")] = Anything()
    log_file: Annotated[Anything, ignored("Node agent.")] = Anything()


class License(Block, frozen=True, kw_only=True):
    """Who may issue licenses for this cluster."""

    issuers: Annotated[
        Strings, acts("Public keys whose licenses count, as `ed25519:KEY`; none by default.")
    ] = ()


class Settings(Block, frozen=True, kw_only=True):
    """All settings of an agent."""

    region: Annotated[str, acts("Region of the cluster.")] = "global"
    datacenter: Annotated[str, acts("Datacenter of this agent.")] = "dc1"
    name: Annotated[str, acts("Name, unique in its region; the host name when empty.")] = ""
    data_dir: Annotated[str, acts("Where everything is kept, an absolute path.")] = ""
    plugin_dir: Annotated[str, ignored("Where drivers are.")] = ""
    bind_addr: Annotated[
        str, acts('Address to listen on, or a template such as `{{ GetInterfaceIP "eth0" }}`.')
    ] = "0.0.0.0"
    ports: Annotated[Ports, acts("Ports to listen on.")] = Ports()
    addresses: Annotated[ListenAddresses, acts("Addresses to listen on.")] = ListenAddresses()
    advertise: Annotated[Advertise, acts("Addresses that others are told.")] = Advertise()
    http_allowed_hosts: Annotated[
        Strings, acts("Further `Host` names that the HTTP API answers to.")
    ] = ()
    log_level: Annotated[str, acts("`TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`.")] = "INFO"
    log_json: Annotated[bool, acts("Log as lines of JSON.")] = False
    log_file: Annotated[str, acts("Log into a file too; a directory gets `nomad.log`.")] = ""
    log_rotate_duration: Annotated[Duration, acts("Age at which a new file begins.")] = _s(
        24 * 3600
    )
    log_rotate_bytes: Annotated[int, acts("Size at which a new file begins; 0 is any.")] = 0
    log_rotate_max_files: Annotated[int, acts("Old files kept; 0 keeps all.")] = 0
    log_include_location: Annotated[bool, ignored("Source lines in the log.")] = False
    enable_syslog: Annotated[bool, acts("Log to syslog too.")] = False
    syslog_facility: Annotated[str, acts("Facility at syslog.")] = "LOCAL0"
    leave_on_interrupt: Annotated[bool, acts("Leave the cluster on SIGINT.")] = False
    leave_on_terminate: Annotated[bool, acts("Leave the cluster on SIGTERM.")] = False
    enable_debug: Annotated[bool, acts("`agent/host` and `agent/pprof` also without ACLs.")] = False
    disable_update_check: Annotated[bool, ignored("Bellcow never calls home.")] = False
    disable_anonymous_signature: Annotated[bool, ignored("Bellcow never calls home.")] = False
    http_api_response_headers: Annotated[
        dict[str, str], acts("Headers added to every answer of the HTTP API.")
    ] = {}
    server: Annotated[Server, acts("The server.")] = Server()
    acl: Annotated[Acl, acts("Access control.")] = Acl()
    limits: Annotated[Limits, acts("Limits of clients.")] = Limits()
    tls: Annotated[Tls, acts("Certificates.")] = Tls()
    autopilot: Annotated[Autopilot, acts("Autopilot of a new cluster.")] = Autopilot()
    telemetry: Annotated[Telemetry, acts("Metrics.")] = Telemetry()
    license: Annotated[License, acts("Who may issue licenses.")] = License()
    client: Annotated[Client, ignored("The client.")] = Client()
    consul: Annotated[Anything, ignored("Consul.")] = Anything()
    vault: Annotated[Anything, ignored("Vault.")] = Anything()
    sentinel: Annotated[Anything, ignored("Sentinel.")] = Anything()
    audit: Annotated[Anything, ignored("Audit log.")] = Anything()
    plugin: Annotated[Anything, ignored("Drivers.")] = Anything()
    ui: Annotated[Anything, ignored("The web page.")] = Anything()
    keyring: Annotated[Anything, ignored("Keys of variables.")] = Anything()
    reporting: Annotated[Anything, ignored("Bellcow never calls home.")] = Anything()
    rpc: Annotated[Anything, ignored("Connections between servers.")] = Anything()
    eventlog: Annotated[Anything, ignored("Windows event log.")] = Anything()


class Key(NamedTuple):
    """What is known of one key of a block."""

    path: str
    name: str
    kind: str  # string, number, float, bool, duration, list, map, block or any
    block: type[Block] | None
    default: Any
    priority: str
    help: str


_KINDS: dict[Any, str] = {
    str: "string",
    int: "number",
    int | None: "number",
    float: "float",
    bool: "bool",
    Duration: "duration",
    Strings: "list",
    dict[str, str]: "map",
    Anything: "any",
}


@functools.cache
def keys_of(block: type[Block], prefix: str = "") -> types.MappingProxyType[str, Key]:
    """The keys of a block by name; `prefix` is the path of the block with a dot at its end."""
    hints = typing.get_type_hints(block, include_extras=True)
    out = {}
    for field in msgspec.structs.fields(block):
        kind, meta = typing.get_args(hints[field.name])
        default = {} if field.default is msgspec.NODEFAULT else field.default
        out[field.name] = Key(
            path=prefix + field.name,
            name=field.name,
            kind=_KINDS.get(kind, "block"),
            block=None if kind in _KINDS else kind,
            default=default,
            priority=meta.extra["priority"],
            help=meta.description,
        )
    return types.MappingProxyType(out)


@functools.cache
def all_keys(block: type[Block] = Settings, prefix: str = "") -> tuple[Key, ...]:
    """Every key below a block, in the order of the documentation, blocks before what is in them."""
    out: list[Key] = []
    for key in keys_of(block, prefix).values():
        out.append(key)
        if key.block is not None:
            out.extend(all_keys(key.block, f"{key.path}."))
    return tuple(out)


def get(settings: Settings, path: str) -> Any:
    """The value at a path such as `server.enabled`."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def put(settings: Settings, path: str, value: Any) -> Settings:
    """The settings with one value changed."""
    return typing.cast("Settings", _put(settings, path.split("."), value))


def _put(block: Any, names: list[str], value: Any) -> Any:
    name, *rest = names
    new = _put(getattr(block, name), rest, value) if rest else value
    return msgspec.structs.replace(block, **{name: new})
