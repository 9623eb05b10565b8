"""The closed list of what is logged: for each event its level, who says it and what it says.

Code reports an event by name with fields; the agent's log turns it into a line. Tests assert on
events, never on text. `docs/metrics-and-events.md` lists them all.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Level(enum.IntEnum):
    """How grave an event is."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class Event(NamedTuple):
    """One kind of event. Where the field called `good` is true, its level is INFO.

    Nomad: programs look for the whole beginning of some lines; there the event's name stands last.
    """

    level: Level
    module: str
    message: str
    good: str = ""
    name_last: bool = False

    def with_level_for(self, fields: Mapping[str, object]) -> Event:
        """The same kind, at the level of this report."""
        return self._replace(level=Level.INFO) if fields.get(self.good) is True else self


class Report(Protocol):
    """Says that an event happened. `event` is a name of `EVENTS`."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


EVENTS: dict[str, Event] = {
    # Life of the agent
    "starting": Event(Level.INFO, "agent", "starting"),
    "started": Event(Level.INFO, "agent", "answering requests"),
    "stopping": Event(Level.INFO, "agent", "stopping"),
    "stopped": Event(Level.INFO, "agent", "stopped"),
    "leaving": Event(Level.INFO, "agent", "leaving the cluster before the stop"),
    "leave_refused": Event(Level.WARN, "agent", "stops without leaving the cluster"),
    "config_note": Event(Level.INFO, "agent", "configuration"),
    "config_changed": Event(Level.DEBUG, "agent", "a later file changed a setting"),
    "config_differs": Event(
        Level.WARN, "agent", "file and cluster differ; the cluster's value counts"
    ),
    "reloaded": Event(Level.INFO, "agent", "configuration reloaded"),
    "reload_failed": Event(Level.ERROR, "agent", "reload failed, old settings stay"),
    "restart_needed": Event(Level.WARN, "agent", "changed setting needs a restart"),
    "permissions_tightened": Event(Level.WARN, "agent", "file was readable by others, closed it"),
    "data_dir_exposed": Event(Level.WARN, "agent", "other users can replace this server's files"),
    # Consensus and state
    "node_id_created": Event(Level.INFO, "nomad", "made a server id"),
    "leadership_acquired": Event(Level.INFO, "nomad", "cluster leadership acquired"),
    "no_leader": Event(Level.WARN, "nomad", "no server leads: writes and default reads wait"),
    "leadership_lost": Event(Level.WARN, "nomad", "cluster leadership lost"),
    "claim_failed": Event(Level.WARN, "nomad", "leadership not claimed, trying again"),
    "loop_failed": Event(Level.ERROR, "nomad", "leader loop failed, starting it again"),
    "address_changed": Event(Level.INFO, "nomad", "server address updated"),
    "health_changed": Event(
        Level.WARN, "nomad.autopilot", "health of a server changed", good="healthy"
    ),
    "cluster_health_changed": Event(
        Level.WARN, "nomad.autopilot", "health of the cluster changed", good="healthy"
    ),
    "no_space": Event(Level.ERROR, "nomad.store", "no space left, writes are refused"),
    "state_unreadable": Event(
        Level.ERROR, "nomad.store", "state cannot be read, memory stays as it is"
    ),
    "state_recalled": Event(
        Level.WARN,
        "nomad.store",
        "no quorum: stale reads are answered from the last state on disk",
    ),
    "store_fills": Event(Level.WARN, "nomad.store", "store fills up, writes end at the quota"),
    "store_has_room": Event(Level.INFO, "nomad.store", "store has room again"),
    "commit_slow": Event(Level.WARN, "nomad.store", "commit took long: slow disk or network"),
    "write_refused": Event(Level.WARN, "nomad.store", "write not done, clients may try again"),
    "space_again": Event(Level.INFO, "nomad.store", "there is space again, writes are taken"),
    # The copy of a server without a vote
    "copy_taken": Event(Level.INFO, "nomad.store", "state taken from a voter"),
    "copy_set_aside": Event(Level.WARN, "nomad.store", "copy of the state set aside, begun anew"),
    "copy_stalled": Event(Level.WARN, "nomad.store", "no voter to follow, trying again"),
    "copy_follows": Event(Level.INFO, "nomad.store", "following a voter again"),
    # The other servers
    "member_alive": Event(Level.INFO, "nomad.member", "server is there"),
    "member_failed": Event(Level.WARN, "nomad.member", "server does not answer"),
    "member_leaving": Event(Level.INFO, "nomad.member", "server is leaving"),
    "member_left": Event(Level.INFO, "nomad.member", "server has left"),
    "member_forgotten": Event(Level.INFO, "nomad.member", "server is forgotten"),
    "name_taken": Event(Level.WARN, "nomad.member", "two live servers have one name"),
    "acl_differs": Event(
        Level.WARN,
        "nomad.member",
        "ACLs are not on in every file; once bootstrapped they are enforced",
    ),
    "expect_differs": Event(Level.WARN, "nomad.member", "servers differ in bootstrap_expect"),
    "cluster_ahead": Event(Level.WARN, "nomad.member", "our cluster was recovered without us"),
    "hello_refused": Event(Level.WARN, "nomad.member", "our hello was not taken, or not answered"),
    "join_unanswered": Event(Level.WARN, "nomad.member", "no answer at an address to join"),
    "joined_other_region": Event(
        Level.WARN, "nomad.member", "the server at an address to join is of another region"
    ),
    "peer_refused": Event(Level.WARN, "nomad.member", "refused who came to the servers' port"),
    "peers_unprotected": Event(
        Level.WARN, "nomad.member", "whoever reaches the servers' ports may pass for a server"
    ),
    "api_open": Event(
        Level.WARN, "agent", "whoever reaches the HTTP API may read and replace the whole state"
    ),
    # The consensus configuration
    "server_admitted": Event(Level.INFO, "nomad", "server admitted, without a vote for now"),
    "change_begun": Event(Level.INFO, "nomad", "change of the servers begins"),
    "servers_changed": Event(Level.INFO, "nomad", "change of the servers is made"),
    "server_removed": Event(
        Level.WARN, "nomad.autopilot", "server that had stopped answering was removed"
    ),
    "change_given_up": Event(Level.WARN, "nomad", "change of the servers given up"),
    "servers_reconciled": Event(Level.WARN, "nomad", "servers shown as the consensus has them"),
    "membership_waits": Event(Level.WARN, "nomad", "change of the servers has to wait"),
    "promotion_impossible": Event(Level.WARN, "nomad.autopilot", "server cannot be given a vote"),
    "dead_server_kept": Event(Level.WARN, "nomad.autopilot", "dead server not removed"),
    # Recovery of a cluster that has lost its quorum
    "recovery_waiting": Event(Level.WARN, "nomad.recovery", "recovery waits"),
    "recovery_joins": Event(Level.WARN, "nomad.recovery", "another server has recovered, joining"),
    "cluster_founded": Event(Level.WARN, "nomad.recovery", "cluster founded anew on this server"),
    # The etcd beside us
    "several_clusters": Event(
        Level.ERROR, "nomad.member", "servers of this region belong to different clusters"
    ),
    "bootstrap_waits": Event(Level.INFO, "nomad", "waiting for the first servers"),
    "bootstrap_refused": Event(Level.INFO, "nomad", "cluster not founded yet"),
    "founding_given_up": Event(
        Level.WARN, "nomad", "the cluster that was begun never came to be, looking for another"
    ),
    "place_unwritten": Event(
        Level.ERROR, "nomad", "part in the cluster cannot be written down, trying again"
    ),
    "bootstrapped": Event(Level.INFO, "nomad", "all first servers agree, founding the cluster"),
    "joined": Event(Level.INFO, "nomad", "admitted to the cluster, without a vote yet"),
    "join_refused": Event(Level.WARN, "nomad", "not admitted to the cluster, asking again"),
    "standing_unknown": Event(Level.WARN, "nomad", "the leader does not say how we stand"),
    "raft_set_aside": Event(Level.WARN, "nomad", "files of an earlier membership set aside"),
    "etcd_down": Event(Level.ERROR, "nomad.etcd", "etcd stays down; stale reads go on"),
    "etcd_started": Event(Level.INFO, "nomad.etcd", "etcd started"),
    "etcd_version": Event(Level.INFO, "nomad.etcd", "version of etcd"),
    "etcd_note": Event(Level.DEBUG, "nomad.etcd", "etcd says"),
    "etcd_warning": Event(Level.WARN, "nomad.etcd", "etcd says"),
    "etcd_error": Event(Level.ERROR, "nomad.etcd", "etcd says"),
    "etcd_exited": Event(Level.ERROR, "nomad.etcd", "etcd ended unasked"),
    "etcd_orphan_ended": Event(Level.WARN, "nomad.etcd", "ended an etcd that was left behind"),
    "etcd_not_a_member": Event(Level.WARN, "nomad.etcd", "etcd is no member of the cluster"),
    # Access
    "acl_bootstrap_reset": Event(
        Level.WARN, "nomad.acl", "bootstrapped again; earlier bootstrap tokens are still valid"
    ),
    # The license
    "license_valid": Event(Level.INFO, "nomad.license", "license is valid"),
    "license_expiring": Event(Level.WARN, "nomad.license", "license expires soon"),
    "license_expired": Event(Level.WARN, "nomad.license", "license has expired"),
    "license_terminated": Event(Level.ERROR, "nomad.license", "license has ended"),
    # Snapshots
    "snapshot_saved": Event(Level.INFO, "nomad.snapshot", "snapshot saved"),
    "snapshot_kept": Event(Level.INFO, "nomad.snapshot", "state before the restore kept"),
    "snapshot_restored": Event(Level.WARN, "nomad.snapshot", "state restored from a snapshot"),
    "snapshot_refused": Event(Level.WARN, "nomad.snapshot", "snapshot refused, nothing changed"),
    # HTTP
    "unknown_tokens": Event(Level.WARN, "acl", "tokens that nobody has were sent"),
    "request_complete": Event(Level.DEBUG, "http", "request complete", name_last=True),
    "request_refused": Event(Level.DEBUG, "http", "request refused"),
    "request_failed": Event(Level.ERROR, "http", "request failed"),
    "http_server": Event(Level.WARN, "http", "server"),
    "http_answer_malformed": Event(Level.ERROR, "http", "answer could not be written"),
    "http_client_too_slow": Event(Level.INFO, "http", "client too slow, connection closed"),
    "http_protocol_fault": Event(Level.ERROR, "http", "fault while reading a request"),
    "http_request_failed": Event(Level.ERROR, "http", "request failed"),
    "http_request_refused": Event(Level.INFO, "http", "malformed request refused"),
    "http_request_unanswered": Event(Level.ERROR, "http", "request left without an answer"),
    "http_stop_overdue": Event(Level.WARN, "http", "stop overdue, what is left is cut off"),
    "http_too_many_connections": Event(Level.WARN, "http", "too many connections, refused"),
    "tls_handshake_failed": Event(Level.INFO, "http", "TLS handshake failed"),
}
