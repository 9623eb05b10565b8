"""`operator autopilot`: settings, and the health of the servers with the reasons."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from bellcow.cli.commands.operator.health_view import NEW, name, reasons, removals, rows, view
from bellcow.cli.commands.operator.set_config import set_with_cas
from bellcow.cli.commands.server import MEMBERS, warn_of_open_peers
from bellcow.cli.shell.errors import CommandError, RequestError, failing
from bellcow.cli.shell.flags import DURATION, UINT, flag, switch, three_state
from bellcow.cli.shell.no_leader import HEALTH, REFUSAL, UNHEALTHY, explain, last_known_health
from bellcow.cli.shell.output import go_bool, listing, one_line, say, show, to_json
from bellcow.cli.shell.session import Session, as_data, command, if_stale, stale_switch
from bellcow.clock import SystemClock

if TYPE_CHECKING:
    from bellcow.cli.shell.client import Client

CONFIGURATION = "/v1/operator/autopilot/configuration"
_SHOWN = (
    "CleanupDeadServers",
    "LastContactThreshold",
    "MaxTrailingLogs",
    "MinQuorum",
    "ServerStabilizationTime",
    "EnableRedundancyZones",
    "DisableUpgradeMigration",
    "EnableCustomUpgrades",
)


@command("Shows the settings of autopilot.\n\nNeeds operator:read.")
@stale_switch
@as_data
def get_config(session: Session, *, stale: bool, as_json: bool, template: str) -> None:
    with failing("Error querying Autopilot configuration: "):
        answer: dict[str, Any] = session.client.get(CONFIGURATION, **if_stale(stale=stale))
    show(
        answer,
        lambda: "\n".join(f"{key} = {one_line(_text(answer[key]))}" for key in _SHOWN),
        as_json=as_json,
        template=template,
        go_type="*api.AutopilotConfiguration",
    )


def _text(value: object) -> str:
    return go_bool(value) if isinstance(value, bool) else str(value)


@command(
    "Changes settings of autopilot; without a flag a setting stays unchanged.\n\n"
    "Needs operator:write and operator:read."
)
@three_state(
    "cleanup-dead-servers",
    "Remove failed servers without an operator, about ten seconds after they failed.",
)
@flag("max-trailing-logs", "n", "Log entries a healthy server may lag behind.", kind=UINT)
@flag("min-quorum", "n", "Never remove dead servers below this many voters.", kind=UINT)
@flag("last-contact-threshold", "duration", "Longest silence of a healthy server.", kind=DURATION)
@flag(
    "server-stabilization-time",
    "duration",
    "How long a new server must be healthy before it votes.",
    kind=DURATION,
)
@three_state("enable-redundancy-zones", "Aim at one voter in each redundancy zone.")
@three_state("disable-upgrade-migration", "Let servers of a new version vote at once.")
@three_state("enable-custom-upgrades", "Compare upgrade_version instead of the build.")
@switch("verbose", "Print the changes.")
def set_config(session: Session, *, verbose: bool, **given: Any) -> None:
    from bellcow.gocompat.duration import format_duration

    changes = {
        "".join(word.capitalize() for word in name.split("_")): value
        for name, value in given.items()
        if value is not None
    }
    for key in ("LastContactThreshold", "ServerStabilizationTime"):
        if key in changes:
            changes[key] = format_duration(changes[key])
    if not changes:
        raise session.misuse("Give at least one setting to change")
    client = session.client

    def read() -> dict[str, Any]:
        with failing("Error querying for Autopilot configuration: "):
            answer: dict[str, Any] = client.get(CONFIGURATION)
            return answer

    def write(after: dict[str, Any], index: int) -> bool:
        with failing("Error setting Autopilot configuration: "):
            return bool(client.put(CONFIGURATION, after, cas=str(index)))

    changed = set_with_cas(read, write, changes)
    if changed is None:
        say("Configuration could not be atomically updated, please try again")
        raise CommandError("")
    say("Configuration updated!")
    if verbose:
        say("\n".join(changed) or "Nothing was different before")


@command(
    "Shows the health of each server, how many may be lost, and what is wrong with the unhealthy "
    "ones.\n\nEnds with 0 when all are healthy and, with -tolerates, as many as it says may fail; "
    "else with 1. Needs operator:read."
)
@flag("tolerates", "n", "How many more servers must be able to fail.", kind=UINT, default=0)
@switch("verbose", "On a terminal, show addresses, versions, terms and IDs as well.")
@stale_switch
@as_data
def health(
    session: Session, *, tolerates: int, verbose: bool, stale: bool, as_json: bool, template: str
) -> None:
    answer = _ask_health(session, stale=stale)

    def text() -> str:
        if not sys.stdout.isatty():
            return _health(session.client, answer)
        now_ns = SystemClock().wall_ns()
        return view(answer, _settings(session.client), now_ns, verbose=verbose)

    show(
        answer,
        text,
        as_json=as_json,
        template=template,
        go_type="*api.OperatorHealthReply",
    )
    with contextlib.suppress(RequestError):  # the token may read health but not the members
        warn_of_open_peers(session.client.get(MEMBERS)["Members"] or ())
    if answer["FailureTolerance"] < tolerates:
        raise CommandError(too_few(answer, tolerates))
    if not answer["Healthy"]:
        raise CommandError("")


def _ask_health(session: Session, *, stale: bool) -> dict[str, Any]:
    client, prefix = session.client, "Error querying Autopilot configuration: "
    accept = frozenset({200, UNHEALTHY})
    with failing(prefix):
        if stale:
            return last_known_health(client)
        try:
            answer: dict[str, Any] = client.request("GET", HEALTH, accept=accept).json()
        except RequestError as refusal:
            if refusal.body != REFUSAL or session.program == "nomad":
                raise
            explain(session, prefix, refusal, lambda: _last_known(client))
        return answer


def _last_known(client: Client) -> str:
    servers = last_known_health(client)["Servers"]
    return rows(servers, SystemClock().wall_ns()) if servers else ""


def too_few(answer: dict[str, Any], tolerates: int) -> str:
    """Why fewer servers may fail than was asked for, in words."""
    servers: list[dict[str, Any]] = answer["Servers"] or []
    voters = [one for one in servers if one["Voter"]]
    why = [f"{len(voters)} {'voter' if len(voters) == 1 else 'voters'}" if servers else NEW]
    why += [f"{name(one)} is not healthy" for one in voters if not one["Healthy"]]
    why += [_no_vote(one) for one in servers if not one["Voter"]]
    why += removals(answer)
    return (
        f"FailureTolerance is {answer['FailureTolerance']}, {tolerates} is asked for: "
        f"{'; '.join(why)}"
    )


def _no_vote(server: dict[str, Any]) -> str:
    if reason := server.get("NoVote"):
        return f"{name(server)} will get no vote: {one_line(reason)}"
    return f"{name(server)} has no vote yet"


def _health(client: Client, answer: dict[str, Any]) -> str:
    servers: list[dict[str, Any]] = answer["Servers"] or []
    voters = answer.get("Voters") or [one["ID"] for one in servers if one["Voter"]]
    leader = answer.get("Leader") or next((one["ID"] for one in servers if one["Leader"]), "")
    lines = [
        f"Healthy: {go_bool(answer['Healthy'])}",
        f"FailureTolerance: {answer['FailureTolerance']}",
        f"Leader: {one_line(leader)}",
        "Voters:  ",
        *(f"\t{one_line(voter)}" for voter in voters),
        "Servers: ",
        listing(_health_rows(servers)),
        "",
    ]
    for key in ("ReadReplicas", "RedundancyZones", "Upgrade"):
        if answer.get(key):
            lines += [f"{key}: ", to_json(answer[key]), ""]
    if not answer["Healthy"]:
        lines += _reasons(client, servers)
    return "\n".join(lines)


def _health_rows(servers: list[dict[str, Any]]) -> list[list[str]]:
    header = ["ID", "Name", "Address", "SerfStatus", "Version", "Leader", "Voter", "Healthy"]
    tail = ["LastContact", "LastTerm", "LastIndex", "StableSince"]
    return [header + tail] + [[_text(one[key]) for key in header + tail] for one in servers]


def _reasons(client: Client, servers: list[dict[str, Any]]) -> list[str]:
    if not servers:
        return [f"Unhealthy: {NEW}; ask again in 2 s"]
    return reasons(servers, _settings(client))


def _settings(client: Client) -> dict[str, Any]:
    """The settings by which health was judged; empty if they cannot be read."""
    try:
        settings: dict[str, Any] = client.get(CONFIGURATION, stale="")
    except RequestError:
        return {}  # only the text of the reasons depends on them
    return settings
