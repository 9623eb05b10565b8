"""/v1/agent and /v1/metrics: the agent itself, its members, its health, its log."""

from __future__ import annotations

from typing import Any

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.route import Serve, route
from bellcow.api.routes import agent_self
from bellcow.cluster.members.join import join as join_server
from bellcow.cluster.members.lookup import shown
from bellcow.config.joins import host_fault, split_join_address
from bellcow.config.peer_ports import is_loopback
from bellcow.errors import Code, Error, denied, invalid, refused
from bellcow.gocompat.multierror import several_errors
from bellcow.gocompat.values import parse_bool
from bellcow.model.agent import MembersReply

BASE = "/v1/agent"
CLOSED = (
    "this server has no key and no certificates, so it accepts servers from its own machine "
    "only; give all servers the same `encrypt` (bellcow operator keygen) and restart them"
)


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


@route("PUT, POST", f"{BASE}/join", need=Need.AGENT_WRITE, serve=Serve.LOCAL, reads=("address",))
async def join(call: Call) -> dict[str, Any]:
    """Join the servers named by `address`. The body reports a failure, with status 200.

    A name is called at all its addresses. A server that was removed asks to join again.

    Raises:
        invalid: no address is given.
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


@route(
    "PUT, POST",
    f"{BASE}/force-leave",
    need=Need.AGENT_WRITE,
    serve=Serve.LEADER,
    reads=("node", "prune", "force"),
)
async def force_leave(call: Call) -> None:
    """Declare a failed server to have left. Nomad: an unknown name is no error.

    With `prune` it is also removed from the member list. Refused with 409 where it would cost the
    quorum; `force=true` does it anyway. The leader answers: its list of members counts.

    Raises:
        invalid: no node is given, or `prune` is no boolean.
    """
    name = call.request.param("node")
    if not name:
        raise invalid("missing node to force leave")
    try:
        prune = parse_bool(call.request.param("prune", "false"))
    except ValueError:
        raise invalid("invalid prune value") from None
    await call.server.membership.force_leave(name, prune=prune, force=call.flag("force"))


@route("GET, PUT, POST", f"{BASE}/servers", need=Need.ANONYMOUS, serve=Serve.LOCAL, token=False)
def list_client_servers(call: Call) -> None:
    """The servers of a client agent; this is none.

    Raises:
        Error: NOT_IMPLEMENTED, always.
    """
    del call
    # Nomad: the answer of a server without a client.
    raise Error(Code.NOT_IMPLEMENTED, "Invalid method")


@route(
    "GET",
    "/v1/metrics",
    need=Need.ANONYMOUS,
    right="none, or agent:read with telemetry.metrics_require_token",
    serve=Serve.LOCAL,
    token=False,
    reads=("format",),
)
def read_metrics(call: Call) -> Reply[dict[str, Any]]:
    """The last finished interval, or Prometheus' format with `format=prometheus`.

    Raises:
        denied: the settings want a token, and it lacks `agent:read`.
        Error: UNSUPPORTED, Prometheus' format is not enabled.
    """
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


# Keyring and host


@route("GET", f"{BASE}/keyring/list", need=Need.AGENT_WRITE, serve=Serve.LOCAL)
def list_keys(call: Call) -> None:
    """The keys between servers."""
    _refuse_keyring(call)


@route("PUT, POST", f"{BASE}/keyring/{{action}}", need=Need.AGENT_WRITE, serve=Serve.LOCAL)
async def change_keys(call: Call) -> None:
    """Install, use or remove a key between servers.

    Raises:
        Error: NOT_FOUND, there is no such change; any other is refused.
    """
    if call.tail not in {"install", "use", "remove"}:
        raise Error(Code.NOT_FOUND, "resource not found")
    _refuse_keyring(call)


def _refuse_keyring(call: Call) -> None:
    # Nomad: the text counts the servers; none has a keyring.
    count = len(call.server.roster.members())
    raise refused(f"{count}/{count} nodes reported failure")
