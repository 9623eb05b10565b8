"""`monitor`: follow the log of a server."""

from __future__ import annotations

from bellcow.cli.shell.errors import failing
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.output import write_bytes
from bellcow.cli.shell.session import Session, command


@command("Prints the log of a server from now on, until it is interrupted.\n\nNeeds agent:read.")
@flag("log-level", "level", "Least severe level to print.", default="")
@flag("node-id", "id", "Client whose log is wanted.", default="")
@flag("server-id", "name", "Server whose log is wanted, or leader.", default="")
@switch("json", "Print JSON lines.", into="as_json")
def monitor(
    session: Session, *, log_level: str, node_id: str, server_id: str, as_json: bool
) -> None:
    given = {"log_level": log_level, "node_id": node_id, "server_id": server_id}
    query = {name: value for name, value in given.items() if value} | {"plain": "true"}
    if as_json:
        query["log_json"] = "true"
    with failing("Error starting monitor: "):
        # No time limit: an idle server may log nothing for hours.
        answer = session.client.request("GET", "/v1/agent/monitor", query=query, read_s=None)
    try:
        with failing("Error monitoring logs: "):
            for chunk in answer.chunks():
                write_bytes(chunk)
    except KeyboardInterrupt:
        return  # the usual end
