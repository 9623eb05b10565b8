"""/v1/system: maintenance on demand."""

from __future__ import annotations

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.route import Serve, route


@route("PUT", "/v1/system/gc", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def collect_garbage(call: Call) -> None:
    """Collect what has ended. There is nothing to collect before there are jobs."""
    del call


@route("PUT", "/v1/system/reconcile/summaries", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def reconcile_summaries(call: Call) -> None:
    """Count jobs' summaries again. There is nothing to count before there are jobs."""
    del call
