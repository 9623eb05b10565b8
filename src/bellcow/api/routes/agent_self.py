"""What `/v1/agent/self` shows: settings under Nomad's names, secrets redacted, and live statistics.

Keys without a setting in bellcow have the value of an agent without that part.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from bellcow.api.routes.agent_config import config
from bellcow.cluster.peers.quorum import RAFT_PROTOCOL
from bellcow.gocompat.duration import Duration, format_duration
from bellcow.model.raft import RaftConfiguration
from bellcow.state.tables import CLUSTER, RAFT

if TYPE_CHECKING:
    from bellcow.server import Server


def describe(server: Server) -> dict[str, Any]:
    """The three parts: `config`, `member`, `stats`."""
    return {
        "config": config(server),
        "member": server.roster.members()[0],
        "stats": stats(server),
    }


def stats(server: Server) -> dict[str, dict[str, str]]:
    """Live figures. Nomad: every value is a string."""
    cluster = server.tables.one(CLUSTER)
    return {
        **_license(server),
        "cluster": {"id": cluster.cluster_id if cluster else ""},
        **_always(server),
    }


def _license(server: Server) -> dict[str, dict[str, str]]:
    """For the snapshot agent, which may read this but not the license itself."""
    if not server.settings.license.issuers:
        return {}
    found = server.licenses.status()
    return {"license": {"phase": found.phase.value, "status": found.text}}


def _always(server: Server) -> dict[str, dict[str, str]]:
    head, leadership = server.tables.head, server.leadership
    raft = server.tables.one(RAFT) or RaftConfiguration()
    leader = next((s.address for s in raft.servers if s.id == leadership.leader_id), "")
    me = server.roster.itself
    members = server.roster.members()
    index = str(head.index)
    configuration = " ".join(
        f"{{Suffrage:{'Voter' if s.voter else 'Nonvoter'} ID:{s.id} Address:{s.address}}}"
        for s in raft.servers
    )
    return {
        "nomad": {
            "bootstrap": _flag(me.bootstrap_expect == 1),
            "known_regions": str(len(server.roster.regions())),
            "leader": _flag(leadership.is_leader),
            "leader_addr": leader,
            "server": "true",
        },
        "raft": {
            "applied_index": index,
            "commit_index": index,
            "fsm_pending": "0",
            "last_contact": _last_contact(server),
            "last_log_index": index,
            "last_log_term": str(head.term),
            "last_snapshot_index": str(server.snapshots.last_index),
            "last_snapshot_term": str(server.snapshots.last_term),
            "latest_configuration": f"[{configuration}]",
            "latest_configuration_index": str(raft.modify_index),
            "num_peers": str(sum(s.voter for s in raft.servers if s.id != me.server_id)),
            "protocol_version": RAFT_PROTOCOL,
            "protocol_version_max": RAFT_PROTOCOL,
            "protocol_version_min": RAFT_PROTOCOL,
            "snapshot_version_max": "1",
            "snapshot_version_min": "0",
            "state": "Leader" if leadership.is_leader else "Follower",
            "term": str(head.term),
        },
        "runtime": {
            "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "unknown"),
            "cpu_count": str(os.cpu_count() or 1),
            "goroutines": str(server.facts.tasks()),
            "kernel.name": sys.platform,
            "max_procs": str(os.cpu_count() or 1),
            "version": f"python{platform.python_version()}",
        },
        "serf": {
            "coordinate_resets": "0",
            "encrypted": _flag(bool(server.settings.server.encrypt)),
            "event_queue": "0",
            "event_time": "1",
            "failed": str(sum(m.status == "failed" for m in members)),
            "health_score": "0",
            "intent_queue": "0",
            "left": str(sum(m.status == "left" for m in members)),
            "member_time": "1",
            "members": str(len(members)),
            "query_queue": "0",
            "query_time": "1",
        },
        "vault": {"token_expire_time": "", "token_ttl": "0s", "tracked_for_revoked": "0"},
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _last_contact(server: Server) -> str:
    """As in Nomad: "0" at the leader, "never" before a first contact with one."""
    if server.leadership.is_leader:
        return "0"
    age_s = server.roster.since_leader_s()
    return "never" if age_s is None else format_duration(Duration.seconds(age_s).ns)
