"""The part `config` of /v1/agent/self: the settings in the shape that Nomad's clients read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow import METADATA, NOMAD_VERSION
from bellcow.api.routes.host_redaction import REDACTED
from bellcow.cluster.peers.quorum import RAFT_PROTOCOL
from bellcow.gocompat.duration import NS_PER_S

if TYPE_CHECKING:
    from bellcow.config import model, server_block
    from bellcow.config.telemetry_block import Telemetry
    from bellcow.server import Server

# Parts that bellcow lacks, as Nomad 1.0.18 shows them when nothing is set. `nomad operator
# debug` stops with a panic where `Addr` or `Token` is missing.
CONSUL: dict[str, Any] = {
    "Addr": "127.0.0.1:8500",
    "AllowUnauthenticated": True,
    "Auth": "",
    "AutoAdvertise": True,
    "CAFile": "",
    "CertFile": "",
    "ChecksUseAdvertise": False,
    "ClientAutoJoin": True,
    "ClientHTTPCheckName": "Nomad Client HTTP Check",
    "ClientServiceName": "nomad-client",
    "EnableSSL": False,
    "GRPCAddr": "",
    "KeyFile": "",
    "Namespace": "",
    "ServerAutoJoin": True,
    "ServerHTTPCheckName": "Nomad Server HTTP Check",
    "ServerRPCCheckName": "Nomad Server RPC Check",
    "ServerSerfCheckName": "Nomad Server Serf Check",
    "ServerServiceName": "nomad",
    "ShareSSL": None,
    "Tags": None,
    "Timeout": 5 * NS_PER_S,
    "Token": "",
    "VerifySSL": True,
}
VAULT: dict[str, Any] = {
    "Addr": "https://vault.service.consul:8200",
    "AllowUnauthenticated": True,
    "ConnectionRetryIntv": 30 * NS_PER_S,
    "Enabled": None,
    "Namespace": "",
    "Role": "",
    "TLSCaFile": "",
    "TLSCaPath": "",
    "TLSCertFile": "",
    "TLSKeyFile": "",
    "TLSServerName": "",
    "TLSSkipVerify": None,
    "TaskTokenTTL": "",
    "Token": "",
}


def config(server: Server) -> dict[str, Any]:
    settings, facts = server.settings, server.facts
    ports, addresses = settings.ports, settings.addresses
    bind = settings.bind_addr
    return {
        "ACL": {
            "Enabled": server.resolver.enabled,
            "PolicyTTL": settings.acl.policy_ttl.ns,
            "ReplicationToken": _secret(settings.acl.replication_token),
            "TokenTTL": settings.acl.token_ttl.ns,
        },
        "Addresses": {
            "HTTP": addresses.http or bind,
            "RPC": addresses.rpc or bind,
            "Serf": addresses.serf or bind,
        },
        "AdvertiseAddrs": {
            "HTTP": facts.advertised["http"],
            "RPC": facts.advertised["rpc"],
            "Serf": facts.advertised["serf"],
        },
        "Audit": {"Enabled": None, "Filters": None, "Sinks": None},
        "Autopilot": _autopilot(settings.autopilot),
        "BindAddr": bind,
        "Client": {"Enabled": False},
        "Consul": CONSUL,
        "DataDir": settings.data_dir,
        "Datacenter": settings.datacenter,
        "DevMode": facts.dev,
        "DisableAnonymousSignature": settings.disable_anonymous_signature,
        "DisableUpdateCheck": True,
        "EnableDebug": settings.enable_debug,
        "EnableSyslog": settings.enable_syslog,
        "Files": list(facts.files),
        "HTTPAPIResponseHeaders": settings.http_api_response_headers,
        "LeaveOnInt": settings.leave_on_interrupt,
        "LeaveOnTerm": settings.leave_on_terminate,
        "Limits": {
            "HTTPMaxConnsPerClient": settings.limits.http_max_conns_per_client,
            "HTTPSHandshakeTimeout": str(settings.limits.https_handshake_timeout),
            "RPCHandshakeTimeout": str(settings.limits.rpc_handshake_timeout),
            "RPCMaxConnsPerClient": settings.limits.rpc_max_conns_per_client,
        },
        "LogFile": settings.log_file,
        "LogJson": settings.log_json,
        "LogLevel": settings.log_level,
        "LogRotateBytes": settings.log_rotate_bytes,
        "LogRotateDuration": str(settings.log_rotate_duration),
        "LogRotateMaxFiles": settings.log_rotate_max_files,
        "NodeName": settings.name,
        "PluginDir": settings.plugin_dir,
        "Plugins": None,
        "Ports": {"HTTP": ports.http, "RPC": ports.rpc, "Serf": ports.serf},
        "Region": settings.region,
        "Sentinel": {"Imports": None},
        "Server": _server(settings.server),
        "SyslogFacility": settings.syslog_facility,
        "TLSConfig": _tls(settings.tls),
        "Telemetry": _telemetry(settings.telemetry),
        "Vault": VAULT,
        "Version": {
            "Revision": "",
            "Version": NOMAD_VERSION,
            "VersionMetadata": METADATA,
            "VersionPrerelease": "",
        },
    }


def _secret(text: str) -> str:
    return REDACTED if text else ""


def _autopilot(settings: model.Autopilot) -> dict[str, Any]:
    return {
        "CleanupDeadServers": settings.cleanup_dead_servers,
        "DisableUpgradeMigration": settings.disable_upgrade_migration,
        "EnableCustomUpgrades": settings.enable_custom_upgrades,
        "EnableRedundancyZones": settings.enable_redundancy_zones,
        "LastContactThreshold": settings.last_contact_threshold.ns,
        "MaxTrailingLogs": settings.max_trailing_logs,
        "MinQuorum": settings.min_quorum,
        "ServerStabilizationTime": settings.server_stabilization_time.ns,
    }


def _server(settings: server_block.Server) -> dict[str, Any]:
    join = settings.server_join
    scheduler = settings.default_scheduler_config
    preemption = scheduler.preemption_config
    return {
        "AuthoritativeRegion": settings.authoritative_region,
        "BootstrapExpect": settings.bootstrap_expect,
        "CSIPluginGCThreshold": "",
        "CSIVolumeClaimGCThreshold": "",
        "DataDir": settings.data_dir,
        "DefaultSchedulerConfig": {
            "PreemptionConfig": {
                "BatchSchedulerEnabled": preemption.batch_scheduler_enabled,
                "ServiceSchedulerEnabled": preemption.service_scheduler_enabled,
                "SystemSchedulerEnabled": preemption.system_scheduler_enabled,
            },
            "SchedulerAlgorithm": scheduler.scheduler_algorithm,
        },
        "DeploymentGCThreshold": str(settings.deployment_gc_threshold),
        "EnableEventBroker": settings.enable_event_broker,
        "Enabled": settings.enabled,
        "EnabledSchedulers": list(settings.enabled_schedulers),
        "EncryptKey": _secret(settings.encrypt),
        "Engine": settings.engine,
        "EvalGCThreshold": str(settings.eval_gc_threshold),
        "EventBufferSize": settings.event_buffer_size,
        "HeartbeatGrace": settings.heartbeat_grace.ns,
        "JobGCInterval": str(settings.job_gc_interval),
        "JobGCThreshold": str(settings.job_gc_threshold),
        "MaxHeartbeatsPerSecond": settings.max_heartbeats_per_second,
        "MinHeartbeatTTL": settings.min_heartbeat_ttl.ns,
        "NodeGCThreshold": str(settings.node_gc_threshold),
        "NonVotingServer": settings.non_voting_server,
        "NumSchedulers": settings.num_schedulers,
        "ProtocolVersion": 0,
        "RaftMultiplier": settings.raft_multiplier,
        "RaftProtocol": int(RAFT_PROTOCOL),
        "RedundancyZone": settings.redundancy_zone,
        "RejoinAfterLeave": settings.rejoin_after_leave,
        "RetryInterval": settings.retry_interval.ns,
        "RetryJoin": list(settings.retry_join),
        "RetryMaxAttempts": settings.retry_max,
        "ServerJoin": {
            "RetryInterval": join.retry_interval.ns,
            "RetryJoin": list(join.retry_join),
            "RetryMaxAttempts": join.retry_max,
            "StartJoin": list(join.start_join),
        },
        "StartJoin": list(settings.start_join),
        "UpgradeVersion": settings.upgrade_version,
    }


def _tls(settings: model.Tls) -> dict[str, Any]:
    return {
        "CAFile": settings.ca_file,
        "CertFile": settings.cert_file,
        "EnableHTTP": settings.http,
        "EnableRPC": settings.rpc,
        "KeyFile": settings.key_file,
        "RPCUpgradeMode": settings.rpc_upgrade_mode,
        "TLSCipherSuites": settings.tls_cipher_suites,
        "TLSMinVersion": settings.tls_min_version,
        "TLSPreferServerCipherSuites": settings.tls_prefer_server_cipher_suites,
        "VerifyHTTPSClient": settings.verify_https_client,
        "VerifyServerHostname": settings.verify_server_hostname,
    }


def _telemetry(settings: Telemetry) -> dict[str, Any]:
    return {
        "CirconusAPIToken": "",
        "CollectionInterval": str(settings.collection_interval),
        "DataDogAddr": settings.datadog_address,
        "DataDogTags": list(settings.datadog_tags),
        "DisableHostname": settings.disable_hostname,
        "FilterDefault": settings.filter_default,
        "PrefixFilter": list(settings.prefix_filter),
        "PrometheusMetrics": settings.prometheus_metrics,
        "PublishAllocationMetrics": settings.publish_allocation_metrics,
        "PublishNodeMetrics": settings.publish_node_metrics,
        "StatsdAddr": settings.statsd_address,
        "StatsiteAddr": settings.statsite_address,
        "UseNodeName": settings.use_node_name,
    }
