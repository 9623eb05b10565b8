"""`server`: the member list, joining, and making a server leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bellcow.cli.shell.arguments import Takes
from bellcow.cli.shell.errors import CommandError, RequestError, failing, in_flags
from bellcow.cli.shell.flags import switch
from bellcow.cli.shell.output import complain, go_bool, note, say, show, table
from bellcow.cli.shell.session import Session, as_data, command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bellcow.cli.shell.client import Client

MEMBERS = "/v1/agent/members"
_HEADER = ["Name", "Address", "Port", "Status", "Leader", "Protocol", "Build", "Datacenter"]
_FORBIDDEN = 403


@command(
    "Lists the servers of all regions and their status.\n\n"
    "Ends with 1 when the region of the server that is asked has no leader. Needs node:read."
)
@switch("detailed", "Show the tags of each server in place of its status.")
@switch("verbose", "Show status and tags.")
@as_data
def members(
    session: Session, *, detailed: bool, verbose: bool, as_json: bool, template: str
) -> None:
    with failing("Error querying servers: "):
        answer: dict[str, Any] = session.client.get(MEMBERS)
    found: list[dict[str, Any]] = answer["Members"] or []
    found.sort(key=lambda member: member["Name"])
    leaders, problems = _leaders(session, found)
    for member in found:
        member["Leader"] = _address(member) in leaders
    show(
        found,
        lambda: table(_rows(found, detailed=detailed, verbose=verbose)),
        as_json=as_json,
        template=template,
        go_type="[]*api.AgentMember",
    )
    warn_of_open_peers(found)
    _note_unknown_region(session, found)
    if not problems:
        return
    if answer.get("ServerRegion") not in {None, *problems}:
        complain("; ".join(f'Region "{name}" has no leader' for name in problems))
        return
    say()
    lines = "".join(f'\n\t* Region "{name}": {why}' for name, why in problems.items())
    count = f"{len(problems)} error{'s' if len(problems) > 1 else ''} occurred:"
    complain(f"Error determining leaders: {count}{lines}\n\n")
    raise CommandError("")


def _note_unknown_region(session: Session, found: list[dict[str, Any]]) -> None:
    """Print a remark if the named region is unknown. Nomad: all regions are listed whichever is
    named.
    """
    known = {member["Tags"].get("region", "") for member in found}
    region = session.settings.region
    if region and region not in known and session.program != "nomad":
        note(
            f"There is no server of region {region} among them; the regions known there: "
            f"{', '.join(sorted(known))}"
        )


def warn_of_open_peers(members: Iterable[dict[str, Any]]) -> None:
    """Warn of servers whose ports accept unauthenticated callers."""
    names = [member["Name"] for member in members if "open_peers" in (member["Tags"] or {})]
    if names:
        note(
            f"The ports between servers are open on {', '.join(sorted(names))}: anyone who "
            "reaches them can read and replace the whole state. Set encrypt on all servers, or "
            "tls { rpc = true }"
        )


def _address(member: dict[str, Any]) -> str:
    tags = member["Tags"]
    return f"{tags.get('region', '')}/{tags.get('rpc_addr') or member['Addr']}:{tags.get('port')}"


def _leaders(session: Session, found: list[dict[str, Any]]) -> tuple[set[str], dict[str, str]]:
    """The leaders, as region and address, and for each region without one, why."""
    leaders: set[str] = set()
    problems: dict[str, str] = {}
    for region in sorted({member["Tags"].get("region", "") for member in found}):
        try:
            leader = session.client.get("/v1/status/leader", region=region)
        except RequestError as error:
            problems[region] = error.message
        else:
            leaders.add(f"{region}/{leader}")
    return leaders, problems


def _rows(found: list[dict[str, Any]], *, detailed: bool, verbose: bool) -> list[list[str]]:
    if detailed and not verbose:
        rows = [["Name", "Address", "Port", "Tags"]]
        return rows + [[one["Name"], one["Addr"], str(one["Port"]), _tags(one)] for one in found]
    rows = [[*_HEADER, "Region", *(["Tags"] if verbose else [])]]
    return rows + [[*_status(one), *([_tags(one)] if verbose else [])] for one in found]


def _status(member: dict[str, Any]) -> list[str]:
    tags = member["Tags"]
    return [
        member["Name"],
        member["Addr"],
        str(member["Port"]),
        member["Status"],
        go_bool(member["Leader"]),
        str(member["ProtocolCur"]),
        tags.get("build", ""),
        tags.get("dc", ""),
        tags.get("region", ""),
    ]


def _tags(member: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(member["Tags"].items()))


@command(
    "Makes the server that is asked join others, by the address of their gossip port.\n\n"
    "Needs agent:write.",
    takes=Takes(
        1, None, "One or more node addresses must be given as arguments", "<addr> [<addr>...]"
    ),
)
def join(session: Session, *, words: tuple[str, ...]) -> None:
    from urllib.parse import urlencode

    query = urlencode([("address", word) for word in words])
    with failing("Error joining: "):
        answer = session.client.put(f"/v1/agent/join?{query}")
    if answer["error"]:
        raise CommandError(f"Error joining: failed joining: {answer['error']}")
    say(f"Joined {answer['num_joined']} servers successfully")


@command(
    "Removes a failed server from the cluster.\n\n"
    "A live server is not removed, and the command says so: stop it first, or remove it from the "
    "consensus configuration with -force. The name may omit the region if only one server has it. "
    "Needs agent:write.",
    takes=Takes(1, 1, "This command takes one argument: <node>", "<node>"),
)
@switch("prune", "Drop it from the member list at once.")
@switch("force", "Do it even if the cluster then has no quorum.")
def force_leave(session: Session, *, prune: bool, force: bool, words: tuple[str, ...]) -> None:
    prefix = f"Error force-leaving server {words[0]}: "
    with failing(prefix):
        name = _member_name(session, words[0], prefix)
        query = {"node": name}
        if prune:
            query["prune"] = "true"
        if force:
            query["force"] = "true"
        with in_flags():
            session.client.put("/v1/agent/force-leave", **query)
    say(f'Server "{name}" is now leaving')
    # Nomad: the text is the same for a live server, which is not removed.
    if not force and name in (alive(session.client) or ()):
        complain(
            f"{name} is alive: nothing was done; -force removes it from the consensus configuration"
        )


def alive(client: Client) -> set[str] | None:
    """The names of the live servers; None if the token may not list them."""
    try:
        members = client.get(MEMBERS)["Members"] or ()
    except RequestError:
        return None  # only a remark depends on it
    return {member["Name"] for member in members if member["Status"] == "alive"}


def _member_name(session: Session, given: str, prefix: str) -> str:
    """The full name of the member.

    Raises:
        CommandError: no server has the name, or several have.
        RequestError: the members cannot be listed for another reason than the token's rights.
    """
    try:
        found: list[dict[str, Any]] = session.client.get(MEMBERS)["Members"] or []
    except RequestError as error:
        if error.status != _FORBIDDEN:
            raise
        return given  # the token may be allowed to do this but not to list: the server decides
    known = sorted(str(member["Name"]) for member in found)
    if given in known:
        return given
    meant = [name for name in known if name.partition(".")[0] == given]
    if len(meant) == 1:
        return meant[0]
    what = (
        f"several servers have this name: {', '.join(meant)}"
        if meant
        else (f"there is no such server; the known ones are {', '.join(known) or 'none'}")
    )
    raise CommandError(prefix + what)
