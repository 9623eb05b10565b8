"""The closed list of log events: for each its level, the module in its line, and its message.

Code reports an event by name with fields; the agent's log turns it into a line. Tests assert on
event names, not on messages. `docs/metrics-and-events.md` lists all events, and earlier names.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Level(enum.IntEnum):
    """Severity of an event."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class Event(NamedTuple):
    """One kind of event. Its level is INFO in reports whose field called `good` is true.

    Nomad: programs search for the whole beginning of some lines. `name_last` puts the event's name
    at the end of such a line.
    """

    level: Level
    module: str
    message: str
    good: str = ""
    name_last: bool = False

    def with_level_for(self, fields: Mapping[str, object]) -> Event:
        """This event with the level that a report with these fields has."""
        return self._replace(level=Level.INFO) if fields.get(self.good) is True else self


class Report(Protocol):
    """Reports an event. `event` is a key of `EVENTS`."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


EVENTS: dict[str, Event] = {
    # Life of the agent
    "starting": Event(Level.INFO, "agent", "agent starting"),
    "started": Event(Level.INFO, "agent", "answering requests"),
    "stopping": Event(Level.INFO, "agent", "stopping"),
    "stopped": Event(Level.INFO, "agent", "stopped"),
    "leaving": Event(Level.INFO, "agent", "leaving the cluster before stopping"),
    "leave_refused": Event(Level.WARN, "agent", "cannot leave the cluster, stopping anyway"),
    "config_note": Event(Level.INFO, "agent", "note on the configuration"),
    "config_changed": Event(Level.DEBUG, "agent", "a later file overrides a setting"),
    "config_differs": Event(
        Level.WARN, "agent", "setting differs between file and cluster; the cluster's value applies"
    ),
    "reloaded": Event(Level.INFO, "agent", "configuration reloaded"),
    "reload_failed": Event(Level.ERROR, "agent", "reload failed, the old settings stay in force"),
    "restart_needed": Event(Level.WARN, "agent", "changed setting takes effect after a restart"),
    "permissions_tightened": Event(
        Level.WARN, "agent", "file was accessible to other users, access removed"
    ),
    "data_dir_exposed": Event(Level.WARN, "agent", "other users can replace this server's files"),
    # Consensus and state
    "node_id_created": Event(Level.INFO, "nomad", "server id created"),
    "leadership_acquired": Event(Level.INFO, "nomad", "cluster leadership acquired"),
    "no_leader": Event(Level.WARN, "nomad", "no server leads: writes and default reads wait"),
    "leadership_lost": Event(Level.WARN, "nomad", "cluster leadership lost"),
    "claim_failed": Event(Level.WARN, "nomad", "cannot claim leadership, retrying"),
    "loop_failed": Event(Level.ERROR, "nomad", "a loop of the leader failed, restarting it"),
    "address_changed": Event(Level.INFO, "nomad", "server address updated"),
    "health_changed": Event(
        Level.WARN, "nomad.autopilot", "health of a server changed", good="healthy"
    ),
    "cluster_health_changed": Event(
        Level.WARN, "nomad.autopilot", "health of the cluster changed", good="healthy"
    ),
    "no_space": Event(Level.ERROR, "nomad.store", "no space left, writes are refused"),
    "state_unreadable": Event(
        Level.ERROR, "nomad.store", "cannot read the state; memory keeps the last one"
    ),
    "stale_state_loaded": Event(
        Level.WARN,
        "nomad.store",
        "no quorum: stale reads answer from the last state on disk",
    ),
    "store_usage_high": Event(
        Level.WARN, "nomad.store", "store is filling up; at the quota writes stop"
    ),
    "store_usage_normal": Event(
        Level.INFO, "nomad.store", "store is below the warning level again"
    ),
    "commit_slow": Event(Level.WARN, "nomad.store", "commit was slow: check disk and network"),
    "write_refused": Event(Level.WARN, "nomad.store", "write refused, clients may retry"),
    "writes_resumed": Event(Level.INFO, "nomad.store", "space is available again, writes resumed"),
    # The copy of a non-voter
    "copy_loaded": Event(Level.INFO, "nomad.store", "state loaded from a voter"),
    "copy_restarted": Event(
        Level.WARN, "nomad.store", "local copy of the state cannot be continued, loading a new one"
    ),
    "copy_stalled": Event(Level.WARN, "nomad.store", "no voter to replicate from, retrying"),
    "copy_resumed": Event(Level.INFO, "nomad.store", "replicating from a voter again"),
    # The other servers
    "member_alive": Event(Level.INFO, "nomad.member", "server is alive"),
    "member_failed": Event(Level.WARN, "nomad.member", "server does not answer"),
    "member_leaving": Event(Level.INFO, "nomad.member", "server is leaving"),
    "member_left": Event(Level.INFO, "nomad.member", "server has left"),
    "member_forgotten": Event(Level.INFO, "nomad.member", "server removed from the member list"),
    "name_conflict": Event(Level.WARN, "nomad.member", "two live servers have the same name"),
    "acl_differs": Event(
        Level.WARN,
        "nomad.member",
        "ACLs are not enabled in every file; once bootstrapped they are enforced",
    ),
    "expect_differs": Event(Level.WARN, "nomad.member", "servers differ in bootstrap_expect"),
    "recovery_missed": Event(
        Level.WARN, "nomad.member", "the cluster was recovered without this server"
    ),
    "hello_failed": Event(Level.WARN, "nomad.member", "hello to a server failed"),
    "join_unanswered": Event(Level.WARN, "nomad.member", "no server answers at an address to join"),
    "join_wrong_region": Event(
        Level.WARN, "nomad.member", "the server at an address to join belongs to another region"
    ),
    "peer_refused": Event(Level.WARN, "nomad.member", "connection to the server port refused"),
    "peers_unprotected": Event(
        Level.WARN, "nomad.member", "server port accepts unauthenticated peers"
    ),
    "api_open": Event(
        Level.WARN, "agent", "HTTP API accepts unauthenticated clients from other machines"
    ),
    # The raft configuration
    "server_admitted": Event(Level.INFO, "nomad", "server added as a non-voter"),
    "server_change_started": Event(Level.INFO, "nomad", "change of the raft configuration started"),
    "server_change_completed": Event(
        Level.INFO, "nomad", "change of the raft configuration completed"
    ),
    "server_removed": Event(Level.WARN, "nomad.autopilot", "failed server removed"),
    "server_change_abandoned": Event(
        Level.WARN, "nomad", "change of the raft configuration abandoned"
    ),
    "raft_configuration_corrected": Event(
        Level.WARN, "nomad", "raft configuration corrected to match the consensus"
    ),
    "server_change_waiting": Event(
        Level.WARN, "nomad", "change of the raft configuration has to wait"
    ),
    "promotion_impossible": Event(Level.WARN, "nomad.autopilot", "server cannot become a voter"),
    "dead_server_not_removed": Event(Level.WARN, "nomad.autopilot", "dead server not removed"),
    # Recovery of a cluster that has lost its quorum
    "recovery_waiting": Event(Level.WARN, "nomad.recovery", "recovery is waiting"),
    "recovery_joining": Event(
        Level.WARN, "nomad.recovery", "another server recovered the cluster, joining it"
    ),
    "cluster_rebuilt": Event(Level.WARN, "nomad.recovery", "cluster rebuilt on this server"),
    "several_clusters": Event(
        Level.ERROR, "nomad.member", "servers of this region belong to different clusters"
    ),
    # Joining and forming a cluster
    "bootstrap_waiting": Event(Level.INFO, "nomad", "waiting for the first servers"),
    "bootstrap_refused": Event(Level.INFO, "nomad", "cluster not formed yet"),
    "bootstrap_abandoned": Event(
        Level.WARN, "nomad", "cluster formation abandoned, searching again"
    ),
    "local_state_write_failed": Event(Level.ERROR, "nomad", "cannot write cluster.json, retrying"),
    "bootstrapped": Event(Level.INFO, "nomad", "all first servers agree, forming the cluster"),
    "joined": Event(Level.INFO, "nomad", "joined the cluster as a non-voter"),
    "join_refused": Event(Level.WARN, "nomad", "the cluster did not admit this server, retrying"),
    "membership_unconfirmed": Event(
        Level.WARN, "nomad", "no leader confirms whether this server was removed"
    ),
    "old_raft_files_moved": Event(Level.WARN, "nomad", "files of an earlier membership moved away"),
    # The server's etcd process
    "etcd_down": Event(
        Level.ERROR, "nomad.etcd", "etcd stays down; stale reads are still answered"
    ),
    "etcd_started": Event(Level.INFO, "nomad.etcd", "etcd started"),
    "etcd_version": Event(Level.INFO, "nomad.etcd", "note on the version of etcd"),
    "etcd_note": Event(Level.DEBUG, "nomad.etcd", "message of etcd"),
    "etcd_warning": Event(Level.WARN, "nomad.etcd", "message of etcd"),
    "etcd_error": Event(Level.ERROR, "nomad.etcd", "message of etcd"),
    "etcd_exited": Event(Level.ERROR, "nomad.etcd", "etcd exited unexpectedly"),
    "etcd_orphan_stopped": Event(
        Level.WARN, "nomad.etcd", "stopped an etcd that a killed server had left running"
    ),
    "etcd_not_a_member": Event(Level.WARN, "nomad.etcd", "etcd is not a member of the cluster"),
    # Access
    "acl_bootstrap_reset": Event(
        Level.WARN, "nomad.acl", "ACLs bootstrapped again; earlier bootstrap tokens are still valid"
    ),
    # The license
    "license_valid": Event(Level.INFO, "nomad.license", "license is valid"),
    "license_expiring": Event(Level.WARN, "nomad.license", "license expires soon"),
    "license_expired": Event(Level.WARN, "nomad.license", "license has expired"),
    "license_terminated": Event(Level.ERROR, "nomad.license", "license has ended"),
    # Snapshots
    "snapshot_saved": Event(Level.INFO, "nomad.snapshot", "snapshot saved"),
    "restore_backup_saved": Event(Level.INFO, "nomad.snapshot", "state before the restore saved"),
    "snapshot_restored": Event(Level.WARN, "nomad.snapshot", "state restored from a snapshot"),
    "snapshot_refused": Event(Level.WARN, "nomad.snapshot", "snapshot refused, nothing changed"),
    # HTTP
    "unknown_tokens": Event(Level.WARN, "acl", "requests carried unknown tokens"),
    "request_complete": Event(Level.DEBUG, "http", "request complete", name_last=True),
    "request_refused": Event(Level.DEBUG, "http", "request refused"),
    "request_failed": Event(Level.ERROR, "http", "request failed"),
    "http_server": Event(Level.WARN, "http", "message of the HTTP library"),
    "http_answer_malformed": Event(Level.ERROR, "http", "answer could not be written"),
    "http_client_too_slow": Event(Level.INFO, "http", "client too slow, connection closed"),
    "http_protocol_fault": Event(Level.ERROR, "http", "error while reading a request"),
    "http_request_failed": Event(Level.ERROR, "http", "request failed"),
    "http_request_refused": Event(Level.INFO, "http", "malformed request refused"),
    "http_request_unanswered": Event(Level.ERROR, "http", "request was not answered"),
    "http_stop_overdue": Event(
        Level.WARN, "http", "stop took too long, closing the remaining connections"
    ),
    "http_too_many_connections": Event(
        Level.WARN, "http", "too many connections, connection refused"
    ),
    "tls_handshake_failed": Event(Level.INFO, "http", "TLS handshake failed"),
}
