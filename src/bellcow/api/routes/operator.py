"""/v1/operator: consensus, autopilot, scheduler configuration, license, snapshots."""

from __future__ import annotations

from pathlib import PurePath

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.pipeline.answers import contact
from bellcow.api.query import CAS
from bellcow.api.route import BodyRules, Serve, route
from bellcow.cluster.peers.quorum import describe, find_server, is_ip_and_port
from bellcow.errors import Code, Error, invalid, not_found, refused
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth
from bellcow.model.license import IndexReply, LicenseReply
from bellcow.model.raft import (
    LeadershipTransferReply,
    RaftConfiguration,
    RaftConfigurationReply,
    RaftPeer,
    RaftServer,
)
from bellcow.model.scheduler import (
    SchedulerConfiguration,
    SchedulerConfigurationReply,
    SchedulerUpdateReply,
)
from bellcow.state.commands import put_setting
from bellcow.state.tables import AUTOPILOT, RAFT, SCHEDULER
from bellcow.wire import UUID, UUID_CHARS, to_json

BASE = "/v1/operator"


# Consensus


@route(
    "GET",
    f"{BASE}/raft/configuration*",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER_OR_STALE,
    wrong_method_text="",
)
def read_raft_configuration(call: Call) -> RaftConfigurationReply:
    """The servers in the consensus configuration, and which of them vote and lead."""
    server = call.server
    return describe(_raft(call), server.roster.names(), server.leadership.leader_id)


@route("DELETE", f"{BASE}/raft/peer*", need=Need.MANAGEMENT, serve=Serve.LEADER, wrong_method=404)
async def remove_raft_peer(call: Call) -> None:
    """Remove a server from the consensus configuration, by `id` or by `address`.

    Refused with 409 where it would cost the quorum; `force=true` removes it anyway.
    """
    await call.server.membership.remove(_named_server(call).id, force=call.flag("force"))


@route("PUT, POST", f"{BASE}/raft/transfer-leadership", need=Need.MANAGEMENT, serve=Serve.LEADER)
async def transfer_leadership(call: Call) -> LeadershipTransferReply:
    """Hand leadership to the voter named by `id` or `address`."""
    configuration = _raft(call)
    target = _transfer_target(call, configuration)
    leader = find_server(configuration, by="id", value=call.server.roster.itself.server_id)
    if target.id != leader.id:
        if not target.voter:
            raise invalid(f'server "{target.id}" has no vote and cannot lead')
        await call.server.membership.transfer(target.id)
    return LeadershipTransferReply(
        from_=_peer(leader), to=_peer(target), noop=target.id == leader.id
    )


@route(
    "GET",
    f"{BASE}/raft/{{rest}}",
    need=Need.ANONYMOUS,
    serve=Serve.LOCAL,
    token=False,
    wrong_method=404,
    documented=False,
)
def refuse_other_raft_path(call: Call) -> None:
    """Nomad: the raft paths are a folder; any other path in it is an invalid method."""
    del call
    raise not_found("Invalid method")


def _raft(call: Call) -> RaftConfiguration:
    return call.server.tables.one(RAFT) or RaftConfiguration()


def _named_server(call: Call) -> RaftServer:
    """The server that `id` or `address` names. Nomad: presence counts, even when empty."""
    by_id, by_address = call.request.has("id"), call.request.has("address")
    if not by_id and not by_address:
        raise invalid(
            "Must specify either ?id with the server's ID "
            "or ?address with IP:port of peer to remove"
        )
    if by_id and by_address:
        raise invalid("Must specify only one of ?id or ?address")
    by = "id" if by_id else "address"
    return find_server(_raft(call), by=by, value=call.request.param(by))


def _peer(server: RaftServer) -> RaftPeer:
    return RaftPeer(address=server.address, id=server.id)


def _transfer_target(call: Call, configuration: RaftConfiguration) -> RaftServer:
    query = call.request.query
    ids, addresses = query.get("id", []), query.get("address", [])
    if not ids and not addresses:
        raise invalid("must specify id or address")
    if ids and addresses:
        raise invalid("must specify either id or address")
    by, values = ("id", ids) if ids else ("address", addresses)
    if len(values) > 1:
        raise invalid(f"must specify only one {by}")
    _must_name_a_server(by, values[0])
    try:
        return find_server(configuration, by=by, value=values[0])
    except Error as error:
        raise invalid(error.message) from None


def _must_name_a_server(by: str, value: str) -> None:
    """Raise unless the text can be an id or an address, in Go's words."""
    if not value:
        raise invalid(f"{by} must be non-empty")
    if by == "id" and len(value) != UUID_CHARS:
        raise invalid("id must be a uuid: uuid string is wrong length")
    if by == "id" and not UUID.fullmatch(value):
        raise invalid("id must be a uuid: uuid is improperly formatted")
    if by == "address" and not is_ip_and_port(value):
        raise invalid("address must be in IP:port format: not an ip:port")


# Autopilot


@route(
    "GET",
    f"{BASE}/autopilot/configuration",
    need=Need.OPERATOR_READ,
    serve=Serve.LEADER_OR_STALE,
    wrong_method=404,
    cache=(AUTOPILOT,),
)
def read_autopilot_configuration(call: Call) -> Reply[AutopilotConfiguration]:
    """The settings by which autopilot judges, promotes and removes servers."""
    configuration = call.server.tables.one(AUTOPILOT)
    if configuration is None:
        raise refused("autopilot config not initialized yet")
    # Nomad: this value stays on one line even when pretty.
    encoded = to_json(configuration)
    return Reply(configuration, encoded=encoded, one_line=(encoded,))


@route(
    "PUT",
    f"{BASE}/autopilot/configuration",
    need=Need.OPERATOR_WRITE,
    serve=Serve.LEADER,
    wrong_method=404,
    body_rules=BodyRules(prefix="Error parsing autopilot config: ", strict=True),
    query=(CAS,),
)
async def update_autopilot_configuration(call: Call, body: AutopilotConfiguration) -> bool:
    """Replace the autopilot settings; with `cas` only if that is still the modify index.

    A key left out takes its documented default.
    """
    written = await call.server.commit(put_setting(AUTOPILOT, body, call.cas))
    return written.updated


@route(
    "GET",
    f"{BASE}/autopilot/health",
    need=Need.OPERATOR_READ,
    serve=Serve.LEADER_OR_STALE,
    wrong_method=404,
)
async def read_autopilot_health(call: Call) -> Reply[ClusterHealth]:
    """The health of each server and of the cluster; 429 when the cluster is not healthy.

    With `stale`, a server that does not lead answers from what it knows itself.
    """
    server = call.server
    health = server.autopilot.health
    if not server.leadership.is_leader:
        health = await server.autopilot.last_known(server.leadership.leader_id)
    lines = tuple(to_json(server) for server in health.servers or ())
    return Reply(health, status=200 if health.healthy else 429, one_line=lines)


# Scheduler


@route(
    "GET",
    f"{BASE}/scheduler/configuration",
    need=Need.OPERATOR_READ,
    serve=Serve.LEADER_OR_STALE,
    cache=(SCHEDULER,),
)
def read_scheduler_configuration(call: Call) -> Reply[SchedulerConfigurationReply]:
    """The algorithm of placements, and which schedulers may preempt."""
    server = call.server
    configuration = server.tables.one(SCHEDULER)
    if configuration is None:
        raise refused("scheduler config not initialized yet")
    index = server.tables.row_index(configuration)
    known, contact_ns = contact(server)
    value = SchedulerConfigurationReply(
        index=index, known_leader=known, last_contact=contact_ns, scheduler_config=configuration
    )
    return Reply(value, index=index, read=True)


@route(
    "PUT, POST",
    f"{BASE}/scheduler/configuration",
    need=Need.OPERATOR_WRITE,
    serve=Serve.LEADER,
    body_rules=BodyRules(prefix="Error parsing scheduler config: ", strict=True),
    query=(CAS,),
)
async def update_scheduler_configuration(
    call: Call, body: SchedulerConfiguration
) -> Reply[SchedulerUpdateReply]:
    """Replace the scheduler settings; with `cas` only if that is still the modify index.

    A key left out takes its documented default.
    """
    written = await call.server.commit(put_setting(SCHEDULER, body, call.cas))
    value = SchedulerUpdateReply(index=written.index, updated=written.updated)
    return Reply(value, index=written.index)


# License


@route(
    "GET",
    f"{BASE}/license",
    need=Need.LICENSE_READ,
    serve=Serve.LEADER_OR_STALE,
    reads_wait=False,
)
def read_license(call: Call) -> LicenseReply:
    """The license in force."""
    return LicenseReply(license=call.server.licenses.current())


@route("PUT", f"{BASE}/license", need=Need.OPERATOR_WRITE, serve=Serve.LEADER)
async def update_license(call: Call, body: bytes) -> Reply[IndexReply]:
    """Install the license whose signed text is the body."""
    command = call.server.licenses.put(body.decode("utf-8", "replace").strip())
    written = await call.server.commit(command)
    return Reply(IndexReply(index=written.index), index=written.index)


# Snapshots


@route(
    "GET",
    f"{BASE}/snapshot",
    need=Need.SNAPSHOT_SAVE,
    serve=Serve.LEADER_OR_STALE,
    unknown_token=Code.INVALID,
)
async def save_snapshot(call: Call) -> Reply[bytes]:
    """An archive of the whole state at one moment; its digest is in the header `Digest`."""
    saved = await call.server.snapshots.save()
    digest = (("Digest", saved.digest),)
    return Reply(stream=saved, content_type="application/x-gzip", headers=digest)


@route(
    "PUT, POST",
    f"{BASE}/snapshot",
    need=Need.MANAGEMENT,
    serve=Serve.LEADER,
    unknown_token=Code.INVALID,
)
async def restore_snapshot(call: Call) -> Reply[None]:
    """Replace the whole state with that of the archive in the body; all of it or nothing.

    The header `X-Bellcow-Kept` names the file with the state before the restore, and
    `X-Bellcow-Kept-On` the server that has it: the leader.
    """
    content_type = (call.request.header(b"content-type") or b"").decode("latin-1")
    restored = await call.server.snapshots.restore(call.content.chunks(), content_type)
    if not restored.kept:
        return Reply()
    name, where = PurePath(restored.kept).name, call.server.roster.itself.member_name
    return Reply(headers=(("X-Bellcow-Kept", name), ("X-Bellcow-Kept-On", where)))
