"""/v1/agent/health: whether this server works and knows a leader."""

from __future__ import annotations

from typing import Any

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import Serve, route
from bellcow.api.routes.agent import BASE
from bellcow.errors import Error
from bellcow.wire import to_json


@route(
    "GET", f"{BASE}/health", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False, reads=("type",)
)
async def read_health(call: Call) -> Reply[dict[str, Any]]:
    """Whether the server has a leader, and the reason when it has none."""
    asked = call.request.query.get("type", [])
    states: dict[str, tuple[bool, str]] = {}
    if "client" in asked:
        states["client"] = False, "client not enabled"
    if not asked or "server" in asked:
        problem = await _leader_problem(call)
        states["server"] = not problem, problem or _well(call)
    if all(ok for ok, _ in states.values()):
        return Reply({name: {"message": text, "ok": True} for name, (_, text) in states.items()})
    # Nomad: a failure is the same JSON, labeled as text, with its keys in reverse.
    shown = {name: {"ok": ok, "message": text} for name, (ok, text) in states.items()}
    return Reply(status=500, text=to_json(shown).decode())


def _well(call: Call) -> str:
    """The text of a server with a leader.

    Reads go on when the disk is full, and everything but a few features when the license has ended:
    still no failure.
    """
    server = call.server
    full = "the last write was refused: no space left" if server.committer.full else ""
    amiss = [text for text in (full, server.licenses.warning()) if text]
    return f"ok, but {', and '.join(amiss)}" if amiss else "ok"


async def _leader_problem(call: Call) -> str:
    """Why the server cannot serve, "" when it can. Nomad: the text differs with `stale`."""
    leadership = call.server.leadership
    if call.stale:
        return "" if leadership.is_leader else "no leader"
    try:
        await leadership.wait_for_leader()
    except Error as error:
        return error.message
    return ""
