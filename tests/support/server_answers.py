"""What a server answers about the cluster, for commands that show it."""

from __future__ import annotations

from typing import Any

HEALTH = "/v1/operator/autopilot/health"


CONFIG = {
    "LastContactThreshold": "200ms",
    "ServerStabilizationTime": "10s",
    "CleanupDeadServers": True,
    "MaxTrailingLogs": 250,
    "MinQuorum": 0,
    "EnableRedundancyZones": False,
    "DisableUpgradeMigration": False,
    "EnableCustomUpgrades": False,
    "CreateIndex": 4,
    "ModifyIndex": 9,
}


def server_health(name: str, **more: Any) -> dict[str, Any]:
    known = {
        "ID": f"id-{name}",
        "Name": name,
        "Address": "127.0.0.1:1",
        "SerfStatus": "alive",
        "Version": "1.0.18",
        "Leader": False,
        "Voter": True,
        "Healthy": True,
        "LastContact": "10ms",
        "LastTerm": 2,
        "LastIndex": 1000,
        "StableSince": "2026-11-23T14:00:19Z",
    }
    return {**known, **more}


LEADER = server_health("c1", Leader=True, LastContact="0s")


OTHERS = [server_health("c2"), server_health("c3")]
CONFIGURATION = "/v1/operator/raft/configuration"
