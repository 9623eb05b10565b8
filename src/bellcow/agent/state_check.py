"""Compares the loaded state with the configuration files, once at each start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow.agent.identity import founder_of
from bellcow.agent.start import StartError
from bellcow.cluster.members.notes import ACL_HINT
from bellcow.state.tables import AUTOPILOT, CLUSTER, SCHEDULER

if TYPE_CHECKING:
    from bellcow.config.load import Loaded
    from bellcow.server import Server


def check_state(loaded: Loaded, server: Server) -> None:
    """Report differences of state and files.

    Raises:
        StartError: the state is of another region.
    """
    cluster, settings = server.tables.one(CLUSTER), loaded.settings
    if cluster is not None and cluster.region != settings.region:
        raise StartError(
            f"Error starting agent: the data directory belongs to a cluster of region "
            f'"{cluster.region}", this agent is configured for "{settings.region}"; '
            "use another data_dir, or restore a snapshot into a new cluster of that region"
        )
    _report_differences(loaded, server)
    if server.resolver.are_bootstrapped and not settings.acl.enabled:
        server.report("acl_differs", setting="acl.enabled", file=False, cluster=True, hint=ACL_HINT)


def _report_differences(loaded: Loaded, server: Server) -> None:
    """Report settings of the file that applied only when the cluster was formed, and differ."""
    founder = founder_of(loaded.settings, server.roster.itself)
    for block, table, mine in (
        ("autopilot", AUTOPILOT, founder.autopilot),
        ("default_scheduler_config", SCHEDULER, founder.scheduler),
    ):
        written = [p for p in loaded.origins if f"{block}." in p]
        stored: Any = server.tables.one(table)
        if not written or stored is None:
            continue
        for field in mine.__struct_fields__:
            ours, theirs = getattr(mine, field), getattr(stored, field)
            if field not in {"create_index", "modify_index"} and ours != theirs:
                server.report(
                    "config_differs", setting=f"{block}.{field}", file=ours, cluster=theirs
                )
