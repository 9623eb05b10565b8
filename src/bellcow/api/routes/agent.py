"""/v1/agent and /v1/metrics: the agent itself, its members, its health, its log."""

from __future__ import annotations

import asyncio
import base64
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.http.task import closing
from bellcow.api.route import Serve, route
from bellcow.api.routes import agent_self
from bellcow.api.routes.host_redaction import without_secrets
from bellcow.cluster.members.join import join as join_server
from bellcow.cluster.members.lookup import shown
from bellcow.cluster.transport.forward import LEADER
from bellcow.config.joins import host_fault, split_join_address
from bellcow.config.peer_ports import is_loopback
from bellcow.errors import Code, Error, denied, invalid, no_leader, not_found, refused
from bellcow.events import Level
from bellcow.gocompat.multierror import several_errors
from bellcow.gocompat.quote import go_quote
from bellcow.model.agent import MembersReply
from bellcow.wire import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE = "/v1/agent"
CLOSED = (
    "this server has no key and no certificates, so its ports between servers are for its own "
    "machine alone; give all servers the same `encrypt` (bellcow operator keygen) and restart them"
)
HEARTBEAT_S = 10.0
RECHECK_S = 0.5  # after which a stream ends whose token has lost its right
SHOWN_CHARS = 128  # of a name that a client sent
UNAME = ("machine", "node", "release", "system", "version")
PARSED_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


@route("GET", f"{BASE}/self", need=Need.AGENT_READ, serve=Serve.LOCAL)
def read_self(call: Call) -> dict[str, Any]:
    """This agent: its configuration with secrets redacted, its member entry, its statistics."""
    return agent_self.describe(call.server)


@route("GET", f"{BASE}/members", need=Need.NODE_READ, serve=Serve.LOCAL)
def list_members(call: Call) -> MembersReply:
    """The servers known here, of all regions."""
    roster = call.server.roster
    return MembersReply(
        members=roster.members(),
        server_dc=roster.itself.datacenter,
        server_name=roster.itself.name,
        server_region=roster.itself.region,
    )


@route("PUT, POST", f"{BASE}/join", need=Need.AGENT_WRITE, serve=Serve.LOCAL)
async def join(call: Call) -> dict[str, Any]:
    """Join the servers named by `address`. The body reports a failure, with status 200.

    A name is called at all its addresses. A server that was removed asks to join again.
    """
    addresses = call.request.query.get("address", [])
    if not addresses:
        raise invalid("missing address to join")
    count, failures = 0, list[str]()
    for address in addresses:
        host, port = split_join_address(address)
        closed = call.server.facts.closed_peers and not is_loopback(host)
        if closed and not host_fault(host):  # a malformed name gets its own text below
            failures.append(f"Failed to join {shown(host)}: {CLOSED}")
            continue
        joined = await join_server((host, port), call.server.exchange)
        count += joined.servers
        failures += joined.failures
    if count:
        await call.server.lifecycle.rejoin()
    # Nomad: failures are reported only when no address worked.
    return {"error": "" if count else several_errors(failures), "num_joined": count}


@route("PUT, POST", f"{BASE}/force-leave", need=Need.AGENT_WRITE, serve=Serve.LEADER)
async def force_leave(call: Call) -> None:
    """Declare a failed server to have left. Nomad: an unknown name is no error.

    With `prune` it is forgotten as well. Refused with 409 where it would cost the quorum;
    `force=true` does it all the same. The leader answers: its list of members counts.
    """
    name = call.request.param("node")
    if not name:
        raise invalid("missing node to force leave")
    prune = call.request.param("prune", "false")
    if prune not in PARSED_BOOLEANS:
        raise invalid("invalid prune value")
    await call.server.membership.force_leave(
        name, prune=PARSED_BOOLEANS[prune], force=call.flag("force")
    )


@route("GET, PUT, POST", f"{BASE}/servers", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False)
def list_client_servers(call: Call) -> None:
    """The servers of a client agent; this is none."""
    del call
    # Nomad: the answer of a server without a client.
    raise Error(Code.NOT_IMPLEMENTED, "Invalid method")


@route("GET", f"{BASE}/health", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False)
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


@route(
    "GET",
    "/v1/metrics",
    need=Need.ANONYMOUS,
    right="none, or agent:read with telemetry.metrics_require_token",
    serve=Serve.LOCAL,
    token=False,
)
def read_metrics(call: Call) -> Reply[dict[str, Any]]:
    """The last finished interval, or Prometheus' format with `format=prometheus`."""
    server = call.server
    if server.settings.telemetry.metrics_require_token:
        rights = call.resolve(call.carried_secret())
        if not rights.allows(Need.AGENT_READ):
            raise denied()
    metrics = server.facts.metrics
    if call.request.param("format") != "prometheus":
        return Reply(metrics.summary())
    if not metrics.prometheus_enabled:
        raise Error(Code.UNSUPPORTED, "Prometheus is not enabled")
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Reply(encoded=metrics.prometheus(), content_type=kind)


# The log


@route("GET, PUT, POST, DELETE", f"{BASE}/monitor", need=Need.AGENT_READ, serve=Serve.NAMED)
async def monitor(call: Call) -> Reply[None]:
    """Stream the log from now on: frames of JSON, or bare lines with `plain=true`."""
    level, as_json, plain = _monitor_parameters(call)
    lines = call.server.facts.log.follow(level, as_json=as_json, heartbeat_s=RECHECK_S)
    lines = _while_allowed(call, lines)
    if plain:
        return Reply(stream=_bare(lines), content_type="text/plain")
    return Reply(stream=_framed(lines), content_type="application/json")


def _monitor_parameters(call: Call) -> tuple[Level, bool, bool]:
    name = call.request.param("log_level") or "INFO"
    if name.upper() not in Level.__members__:
        raise invalid(f"Unknown log level: {name[:64]}")
    as_json = _parsed(call, "log_json", "log json")
    plain = _parsed(call, "plain", "plain")
    node, server = call.request.param("node_id"), call.request.param("server_id")
    if node and server:
        raise invalid("Cannot target node and server simultaneously")
    _must_be_meant(call, Code.INVALID)
    if node:
        raise invalid(f"Unknown node {node[:128]}")
    return Level[name.upper()], as_json, plain


def _parsed(call: Call, name: str, words: str) -> bool:
    text = call.request.param(name) or "false"
    if text not in PARSED_BOOLEANS:
        raise invalid(
            f'Unknown option for {words}: strconv.ParseBool: parsing "{text[:64]}": invalid syntax'
        )
    return PARSED_BOOLEANS[text]


async def _while_allowed(call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines until the token loses its right; b"" after each ten seconds of silence."""
    silent_s = 0.0
    async with closing(lines):
        async for line in lines:
            if not _may_still_read(call):
                return
            silent_s = 0.0 if line else silent_s + RECHECK_S
            if line or silent_s >= HEARTBEAT_S:
                silent_s = 0.0
                yield line


def _may_still_read(call: Call) -> bool:
    try:
        return call.server.resolver.resolve(call.secret).allows(Need.AGENT_READ)
    except Error:
        return False  # the token is gone


async def _bare(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with closing(lines):
        async for line in lines:
            if line:
                yield line


async def _framed(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with closing(lines):
        async for line in lines:
            yield to_json({"Data": base64.b64encode(line).decode()}) if line else b"{}"


# Keyring and host


@route("GET", f"{BASE}/keyring/list", need=Need.AGENT_WRITE, serve=Serve.LOCAL)
def list_keys(call: Call) -> None:
    """The keys between servers."""
    _refuse_keyring(call)


@route("PUT, POST", f"{BASE}/keyring/{{action}}", need=Need.AGENT_WRITE, serve=Serve.LOCAL)
async def change_keys(call: Call) -> None:
    """Install, use or remove a key between servers."""
    if call.tail not in {"install", "use", "remove"}:
        raise Error(Code.NOT_FOUND, "resource not found")
    _refuse_keyring(call)


def _refuse_keyring(call: Call) -> None:
    # Nomad: the text counts the servers; none has a keyring.
    count = len(call.server.roster.members())
    raise refused(f"{count}/{count} nodes reported failure")


@route(
    "GET",
    f"{BASE}/host",
    need=Need.AGENT_READ,
    right="agent:read; without ACLs enable_debug",
    serve=Serve.NAMED,
)
async def read_host(call: Call) -> dict[str, Any]:
    """The machine: system, disks, addresses, and the environment without secrets."""
    must_allow_debugging(call)
    node, server = call.request.param("node_id"), call.request.param("server_id")
    if node and server:
        raise invalid("Can only forward to either client node or server")
    must_be_meant(call)
    data = await asyncio.to_thread(_host_data)
    # Nomad: without a server_id the data is not wrapped.
    return {"AgentID": call.server.roster.itself.member_name, "HostData": data} if server else data


def must_allow_debugging(call: Call) -> None:
    """Raise Error(DENIED) with ACLs off, unless `enable_debug` is set."""
    if not call.server.resolver.enabled and not call.server.settings.enable_debug:
        raise denied()


def must_be_meant(call: Call) -> None:
    """Raise Error when the request names a client node, or a server that is not this one.

    A request for another live server of this region was forwarded before.
    """
    _must_be_meant(call, Code.REFUSED)
    if node := call.request.param("node_id"):
        raise not_found(f"Unknown node {go_quote(node, SHOWN_CHARS)}")


def _must_be_meant(call: Call, code: Code) -> None:
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
