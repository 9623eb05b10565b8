"""The agent's settings: one frozen struct a block, each key with type, default, priority and help.

The longest blocks are in modules of their own (`server_block`, `client_block`, `telemetry_block`).
Nothing else states these facts: the decoder, the flags and `docs/configuration.md` read them from
here. Values that a type allows and bellcow does not are refused in `validate`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from bellcow.config.block import Anything, Block, Strings, acts, ignored, later, partly, seconds
from bellcow.config.client_block import Client
from bellcow.config.server_block import Server
from bellcow.config.telemetry_block import Telemetry
from bellcow.gocompat.duration import Duration


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
    """The addresses to advertise, as `host` or `host:port`."""

    http: Annotated[str, acts("Advertised address of the HTTP API.")] = ""
    rpc: Annotated[str, acts("Advertised address of consensus.")] = ""
    serf: Annotated[str, acts("Advertised address between servers.")] = ""


class Acl(Block, frozen=True, kw_only=True):
    """Access control."""

    enabled: Annotated[bool, acts("Require tokens.")] = False
    token_ttl: Annotated[Duration, partly("How long a token may be cached; none is.")] = seconds(30)
    policy_ttl: Annotated[Duration, partly("How long a policy may be cached; none is.")] = seconds(
        30
    )
    role_ttl: Annotated[Duration, partly("How long a role may be cached; none is.")] = seconds(30)
    replication_token: Annotated[str, later("Token for copying ACLs between regions.")] = ""
    token_min_expiration_ttl: Annotated[Duration, later("Shortest life of a token.")] = seconds(60)
    token_max_expiration_ttl: Annotated[Duration, later("Longest life of a token.")] = seconds(
        24 * 3600
    )


class Limits(Block, frozen=True, kw_only=True):
    """Limits for clients."""

    https_handshake_timeout: Annotated[
        Duration, acts("Time for a TLS handshake, API; 0 has no limit.")
    ] = seconds(5)
    http_max_conns_per_client: Annotated[
        int, acts("HTTP connections from one address; 0 has no limit.")
    ] = 100
    http_max_bad_tokens: Annotated[
        int, acts("Unknown tokens from one address in 10 s before 429; 0 has no limit.")
    ] = 100
    rpc_handshake_timeout: Annotated[
        Duration, acts("Time for a TLS handshake, servers; 0 has no limit.")
    ] = seconds(5)
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
    tls_prefer_server_cipher_suites: Annotated[
        bool, later("The server's order of suites wins.")
    ] = False


class Autopilot(Block, frozen=True, kw_only=True):
    """The autopilot configuration a new cluster begins with."""

    cleanup_dead_servers: Annotated[bool, acts("Remove failed servers.")] = True
    last_contact_threshold: Annotated[Duration, acts("Longest silence of a healthy server.")] = (
        seconds(0.2)
    )
    max_trailing_logs: Annotated[
        int, acts("Most log entries that a healthy server may lag behind.")
    ] = 250
    min_quorum: Annotated[int, acts("Fewest servers that clean-up leaves.")] = 0
    server_stabilization_time: Annotated[
        Duration, acts("Time a server must be healthy before it votes.")
    ] = seconds(10)
    enable_redundancy_zones: Annotated[bool, partly("One voter per `redundancy_zone`.")] = False
    disable_upgrade_migration: Annotated[bool, partly("No migration to newer versions.")] = False
    enable_custom_upgrades: Annotated[bool, partly("Migrate by `upgrade_version`.")] = False


class License(Block, frozen=True, kw_only=True):
    """Who may issue licenses for this cluster."""

    issuers: Annotated[
        Strings, acts("Public keys of accepted issuers, as `ed25519:KEY`; none by default.")
    ] = ()


class Settings(Block, frozen=True, kw_only=True):
    """All settings of an agent."""

    region: Annotated[str, acts("Region of the cluster.")] = "global"
    datacenter: Annotated[str, acts("Datacenter of this agent.")] = "dc1"
    name: Annotated[str, acts("Name, unique in its region; the host name when empty.")] = ""
    data_dir: Annotated[str, acts("Directory of all data, an absolute path.")] = ""
    plugin_dir: Annotated[str, ignored("Directory of drivers.")] = ""
    bind_addr: Annotated[
        str, acts('Address to listen on, or a template such as `{{ GetInterfaceIP "eth0" }}`.')
    ] = "0.0.0.0"
    ports: Annotated[Ports, acts("Ports to listen on.")] = Ports()
    addresses: Annotated[ListenAddresses, acts("Addresses to listen on.")] = ListenAddresses()
    advertise: Annotated[Advertise, acts("Addresses to advertise.")] = Advertise()
    http_allowed_hosts: Annotated[
        Strings, acts("Further `Host` names that the HTTP API answers to.")
    ] = ()
    log_level: Annotated[str, acts("`TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`.")] = "INFO"
    log_json: Annotated[bool, acts("Log as lines of JSON.")] = False
    log_file: Annotated[str, acts("Log into a file too; a directory gets `nomad.log`.")] = ""
    log_rotate_duration: Annotated[Duration, acts("Age at which a new file begins.")] = seconds(
        24 * 3600
    )
    log_rotate_bytes: Annotated[int, acts("Size at which a new file begins; 0 has no limit.")] = 0
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
    ] = msgspec.field(default_factory=dict)
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
