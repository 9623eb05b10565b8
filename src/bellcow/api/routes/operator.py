"""/v1/operator: consensus, autopilot, scheduler configuration, license, snapshots."""

from __future__ import annotations

from pathlib import PurePath

from bellcow.acl.rights import Need
from bellcow.api.call import Call, Reply
from bellcow.api.pipeline.answers import contact
from bellcow.api.query import CAS
from bellcow.api.route import BodyRules, Serve, route
from bellcow.errors import Code, refused
from bellcow.model.autopilot import AutopilotConfiguration, ClusterHealth
from bellcow.model.license import IndexReply, LicenseReply
from bellcow.model.scheduler import (
    SchedulerConfiguration,
    SchedulerConfigurationReply,
    SchedulerUpdateReply,
)
from bellcow.state.commands import put_setting
from bellcow.state.tables import AUTOPILOT, SCHEDULER
from bellcow.wire import to_json

BASE = "/v1/operator"


# Consensus


# Autopilot


@route(
    "GET",
    f"{BASE}/autopilot/configuration",
    need=Need.OPERATOR_READ,
    serve=Serve.VOTER_OR_STALE,
    wrong_method=404,
    cache=(AUTOPILOT,),
)
def read_autopilot_configuration(call: Call) -> Reply[AutopilotConfiguration]:
    """The settings by which autopilot judges, promotes and removes servers.

    Raises:
        refused: no leader has written the settings yet.
    """
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
    serve=Serve.VOTER_OR_STALE,
    cache=(SCHEDULER,),
)
def read_scheduler_configuration(call: Call) -> Reply[SchedulerConfigurationReply]:
    """The algorithm of placements, and which schedulers may preempt.

    Raises:
        refused: no leader has written the settings yet.
    """
    server = call.server
    configuration = server.tables.one(SCHEDULER)
    if configuration is None:
        raise refused("scheduler config not initialized yet")
    index = server.tables.row_index(configuration)
    known, contact_ns = contact(server, call.request)
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
    serve=Serve.VOTER_OR_STALE,
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
