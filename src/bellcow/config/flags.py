"""The flags of `agent` as data: which setting each one sets.

The command line builds its options from this table; click is unknown here.
"""

from __future__ import annotations

import msgspec


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag of `agent`.

    `path` is its setting; "" if the flag has no effect, or is read by the agent itself (`-config`,
    `-dev`, `-routes`).

    `kind` is `string`, `number`, `bool`, `duration`, `list` (given again for each element),
    `commas` (with commas) or `map` (`key=value` with commas).
    """

    name: str
    path: str = ""
    kind: str = "string"
    help: str
    repeat: bool = False


_NO_EFFECT = "Accepted for old scripts; has no effect."


def _ignored(name: str, kind: str = "string") -> Flag:
    return Flag(name=name, kind=kind, help=_NO_EFFECT)


_JOIN = "server.server_join."

FLAGS: tuple[Flag, ...] = (
    Flag(name="config", kind="list", repeat=True, help="A file or a directory with settings."),
    Flag(name="dev", kind="bool", help="One server on loopback that keeps its state in memory."),
    _ignored("dev-connect", "bool"),
    Flag(name="routes", kind="bool", help="Print the table of HTTP routes and stop."),
    Flag(name="bind", path="bind_addr", help="Address to listen on."),
    Flag(name="data-dir", path="data_dir", help="Directory of all data, an absolute path."),
    Flag(name="plugin-dir", path="plugin_dir", help=_NO_EFFECT),
    Flag(name="dc", path="datacenter", help="Datacenter of this agent."),
    Flag(name="log-level", path="log_level", help="TRACE, DEBUG, INFO, WARN or ERROR."),
    Flag(name="log-json", path="log_json", kind="bool", help="Log as lines of JSON."),
    Flag(name="node", path="name", help="Name of this agent, unique in its region."),
    Flag(name="region", path="region", help="Region of this agent."),
    Flag(name="server", path="server.enabled", kind="bool", help="Run as a server."),
    Flag(
        name="bootstrap-expect",
        path="server.bootstrap_expect",
        kind="number",
        help="Servers to wait for before a new cluster forms.",
    ),
    Flag(name="encrypt", path="server.encrypt", help="Key between servers, in base64."),
    Flag(
        name="raft-protocol",
        path="server.raft_protocol",
        kind="number",
        help="Accepted for old scripts; there is one protocol, shown as 3.",
    ),
    Flag(
        name="rejoin",
        path="server.rejoin_after_leave",
        kind="bool",
        help="Join again at start, even after leaving the cluster.",
    ),
    Flag(
        name="join",
        path=_JOIN + "start_join",
        kind="list",
        repeat=True,
        help="A server to join in one try.",
    ),
    Flag(
        name="retry-join",
        path=_JOIN + "retry_join",
        kind="list",
        repeat=True,
        help="A server to join, tried again until it answers.",
    ),
    Flag(
        name="retry-max",
        path=_JOIN + "retry_max",
        kind="number",
        help="Further tries of -retry-join; 0 never gives up.",
    ),
    Flag(
        name="retry-interval",
        path=_JOIN + "retry_interval",
        kind="duration",
        help="Pause between tries of -retry-join.",
    ),
    Flag(name="client", path="client.enabled", kind="bool", help="Refused: there is no client."),
    Flag(name="state-dir", path="client.state_dir", help=_NO_EFFECT),
    Flag(name="alloc-dir", path="client.alloc_dir", help=_NO_EFFECT),
    Flag(name="node-class", path="client.node_class", help=_NO_EFFECT),
    Flag(name="servers", path="client.servers", kind="commas", help=_NO_EFFECT),
    Flag(name="meta", path="client.meta", kind="map", repeat=True, help=_NO_EFFECT),
    Flag(name="network-interface", path="client.network_interface", help=_NO_EFFECT),
    Flag(name="network-speed", path="client.network_speed", kind="number", help=_NO_EFFECT),
    Flag(name="acl-enabled", path="acl.enabled", kind="bool", help="Require tokens."),
    Flag(
        name="acl-replication-token",
        path="acl.replication_token",
        help="Token for copying ACLs between regions.",
    ),
    _ignored("consul-address"),
    _ignored("consul-auth"),
    _ignored("consul-auto-advertise", "bool"),
    _ignored("consul-ca-file"),
    _ignored("consul-cert-file"),
    _ignored("consul-checks-use-advertise", "bool"),
    _ignored("consul-client-auto-join", "bool"),
    _ignored("consul-client-service-name"),
    _ignored("consul-client-http-check-name"),
    _ignored("consul-key-file"),
    _ignored("consul-server-service-name"),
    _ignored("consul-server-http-check-name"),
    _ignored("consul-server-serf-check-name"),
    _ignored("consul-server-rpc-check-name"),
    _ignored("consul-server-auto-join", "bool"),
    _ignored("consul-ssl", "bool"),
    _ignored("consul-token"),
    _ignored("consul-verify-ssl", "bool"),
    _ignored("vault-enabled", "bool"),
    _ignored("vault-allow-unauthenticated", "bool"),
    _ignored("vault-token"),
    _ignored("vault-address"),
    _ignored("vault-create-from-role"),
    _ignored("vault-ca-file"),
    _ignored("vault-ca-path"),
    _ignored("vault-cert-file"),
    _ignored("vault-key-file"),
    _ignored("vault-tls-skip-verify", "bool"),
    _ignored("vault-tls-server-name"),
    _ignored("vault-namespace"),
)
