"""Every part of a running server on one screen. `agent/main.py` makes one; handlers read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bellcow.acl.tokens import BadTokens, Resolver
    from bellcow.autopilot.loop import Autopilot
    from bellcow.clock import Clock
    from bellcow.cluster.hello import Roster
    from bellcow.cluster.leader import Leadership
    from bellcow.config.model import Settings
    from bellcow.license.keeper import Licenses
    from bellcow.snapshot.service import Snapshots
    from bellcow.state.committer import Committer
    from bellcow.state.draft import Draft
    from bellcow.state.mirror import Mirror
    from bellcow.state.tables import Tables
    from bellcow.state.waiting import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The parts, and nothing else: each is built once and lives as long as the process."""

    settings: Settings
    data_dir: Path | None  # DATA_DIR/server; None keeps everything in memory
    clock: Clock
    report: Callable[..., None]  # one structured event for the log

    tables: Tables  # what every reader reads
    waiting: Waiting  # who waits for which table
    mirror: Mirror  # the only writer of `tables`
    committer: Committer  # commands in, commits out

    roster: Roster  # servers as members
    leadership: Leadership  # who leads
    autopilot: Autopilot
    resolver: Resolver  # secrets to rights
    bad_tokens: BadTokens
    licenses: Licenses
    snapshots: Snapshots

    agent: Any = field(default=None)  # what only the agent knows: logs, metrics, its own facts

    async def commit(self, command: Callable[[Draft], Any]) -> Any:
        """Run a command in the next commit and return its answer."""
        return await self.committer.commit(command)
