"""/v1/agent/host, and the rule for what only a debugging agent answers."""

from __future__ import annotations

import asyncio
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.route import Serve, route
from bellcow.api.routes.agent import BASE
from bellcow.api.routes.host_redaction import without_secrets
from bellcow.cluster.transport.forward import LEADER
from bellcow.errors import Code, Error, denied, invalid, no_leader, not_found
from bellcow.gocompat.quote import go_quote

SHOWN_CHARS = 128  # of a name that a client sent
UNAME = ("machine", "node", "release", "system", "version")


@route(
    "GET",
    f"{BASE}/host",
    need=Need.AGENT_READ,
    right="agent:read; without ACLs enable_debug",
    serve=Serve.NAMED,
    reads=("node_id", "server_id"),
)
async def read_host(call: Call) -> dict[str, Any]:
    """The machine: system, disks, addresses, and the environment without secrets.

    Raises:
        invalid: the request names a client node and a server.
    """
    must_allow_debugging(call)
    node, server = call.request.param("node_id"), call.request.param("server_id")
    if node and server:
        raise invalid("Can only forward to either client node or server")
    must_ask_this_agent(call)
    data = await asyncio.to_thread(_host_data)
    # Nomad: without a server_id the data is not wrapped.
    return {"AgentID": call.server.roster.itself.member_name, "HostData": data} if server else data


def must_allow_debugging(call: Call) -> None:
    """Check that `enable_debug` is set where ACLs are off.

    Raises:
        denied: it is not.
    """
    if not call.server.resolver.enabled and not call.server.settings.enable_debug:
        raise denied()


def must_ask_this_agent(call: Call) -> None:
    """Check that the request names no client node, and no server but this one.

    A request for another live server of this region was forwarded before.

    Raises:
        not_found: it names a client node.
        no_leader: it names the leader, and this server does not lead.
        refused: it names another server.
    """
    must_name_this_server(call, Code.REFUSED)
    if node := call.request.param("node_id"):
        raise not_found(f"Unknown node {go_quote(node, SHOWN_CHARS)}")


def must_name_this_server(call: Call, code: Code) -> None:
    server, me = call.request.param("server_id"), call.server.roster.itself
    if server == LEADER and not call.server.leadership.is_leader:
        raise no_leader()
    if server not in {"", LEADER, me.server_id, me.member_name}:
        raise Error(code, f"unknown Nomad server {server[:SHOWN_CHARS]}")


def _host_data() -> dict[str, Any]:
    import psutil

    addresses = [
        {"name": name, "address": found.address}
        for name, addresses in psutil.net_if_addrs().items()
        for found in addresses
    ]
    disks = {}
    for part in psutil.disk_partitions():
        with suppress(OSError):  # a mount without permission
            usage = psutil.disk_usage(part.mountpoint)
            disks[part.mountpoint] = {"DiskMB": usage.total >> 20, "UsedMB": usage.used >> 20}
    return {
        "Disk": disks,
        "Environment": without_secrets(os.environ),
        "Hosts": _text_of("/etc/hosts"),
        "Network": addresses,
        "OS": " ".join(getattr(platform.uname(), part) for part in UNAME),
        "ResolvConf": _text_of("/etc/resolv.conf"),
    }


def _text_of(path: str) -> str:
    """The text of a system file; the reason when it cannot be read."""
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError as error:
        return f"open {path}: {(error.strerror or '').lower()}"
