"""`operator raft`: list and remove peers, and transfer leadership."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bellcow.cli.commands.server import alive
from bellcow.cli.shell import no_leader
from bellcow.cli.shell.errors import CommandError, RequestError, failing, in_flags
from bellcow.cli.shell.flags import flag, switch
from bellcow.cli.shell.no_leader import HEALTH, UNHEALTHY
from bellcow.cli.shell.output import go_bool, note, say, show, table
from bellcow.cli.shell.session import Session, as_data, command, if_stale, stale_switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.cli.shell.client import Client

CONFIGURATION = "/v1/operator/raft/configuration"
_PEER = "/v1/operator/raft/peer"
_TRANSFER = "/v1/operator/raft/transfer-leadership"


@command(
    "Lists the servers of the consensus configuration: which of them vote, and which leads.\n\n"
    "Needs a management token. Without a leader only -stale gets an answer: what the server that "
    "is asked knew last."
)
@stale_switch
@as_data
def list_peers(session: Session, *, stale: bool, as_json: bool, template: str) -> None:
    prefix = "Failed to retrieve raft configuration: "
    with failing(prefix):
        try:
            answer = _configuration(session.client, stale=stale)
        except RequestError as refusal:
            if refusal.body != no_leader.REFUSAL:
                raise
            no_leader.explain(session, prefix, refusal, lambda: _last_known(session.client))
    show(
        answer,
        lambda: _peers(answer),
        as_json=as_json,
        template=template,
        go_type="*api.RaftConfiguration",
    )
    if session.program != "nomad":
        _note_silent_voters(session.client, answer)


def _note_silent_voters(client: Client, answer: dict[str, Any]) -> None:
    """Print the voters that do not answer; the table has no column for it.

    Nomad: a voter that does not lead is shown as a follower, alive or not.
    """
    living = alive(client)
    if living is None:
        return
    for peer in answer["Servers"] or ():
        if peer["Voter"] and peer["Node"] not in living:
            note(f"{peer['Node']} does not answer; 'bellcow server members' shows its status")


def _configuration(client: Client, *, stale: bool) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(CONFIGURATION, **if_stale(stale=stale))
    return answer


def _last_known(client: Client) -> str:
    known = _configuration(client, stale=True)
    return _peers(known) if known["Servers"] else ""


def _rehearse(client: Client, peer: dict[str, Any] | None, wanted: str, prefix: str) -> None:
    """Print what a removal would do, and whether the quorum would survive it.

    Raises:
        CommandError: the server would refuse the removal.
    """
    if peer is None:
        raise CommandError(f"{prefix}no peer has {wanted}")
    servers: list[dict[str, Any]] = _configuration(client, stale=False)["Servers"] or []
    voters = sum(bool(each["Voter"]) for each in servers)
    if peer["Voter"] and voters == 1:
        raise CommandError(
            f"{prefix}{_described(peer)} is the only voter: the removal would be refused, "
            "with -force as well"
        )
    say(f"Would remove {_described(peer)}")
    if not peer["Voter"]:
        return
    names = alive(client)
    left = _voters_without(servers, peer)
    if names is None:
        say(f"Voters left: {len(left)}. The removal is refused if it costs the quorum.")
        return
    living, needed = sum(each in names for each in left), len(left) // 2 + 1
    numbers = f"of {len(left)} voters left {living} are alive and {needed} are needed"
    # The server refuses to remove a live voter only: a dead one does not count for the quorum.
    if living < needed and peer["Node"] in names:
        raise CommandError(f"{prefix}would be refused without -force: {numbers}")
    spare = living - needed
    bears = f"{spare} of them may fail" if spare > 0 else "none of them may fail"
    say(f"Voters left: {len(left)}, of which {living} are alive and {needed} are needed: {bears}.")


def _voters_without(servers: list[dict[str, Any]], peer: dict[str, Any]) -> list[str]:
    return [each["Node"] for each in servers if each["Voter"] and each["ID"] != peer["ID"]]


def _confirm(client: Client, peer: dict[str, Any]) -> None:
    """On a terminal, ask before removing a live voter if no further server could fail then.

    Removing a dead voter does not lower the number of servers that may fail.

    Raises:
        CommandError: the answer is not yes.
    """
    if not peer["Voter"] or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    names = alive(client)
    left = _voters_without(_configuration(client, stale=False)["Servers"] or [], peer)
    if names is None or peer["Node"] not in names or not left:
        return
    living, needed = sum(each in names for each in left), len(left) // 2 + 1
    if living > needed:
        return
    note(f"This removes {_described(peer)}.")
    note(
        f"Voters left: {len(left)}, of which {living} are alive and {needed} are needed: then none"
    )
    note("of them may fail, and the next failure stops writes.")
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("Nothing was changed.")


def _peers(answer: dict[str, Any]) -> str:
    rows = [["Node", "ID", "Address", "State", "Voter", "RaftProtocol"]]
    rows += [
        [
            peer["Node"],
            peer["ID"],
            peer["Address"],
            "leader" if peer["Leader"] else "follower",
            go_bool(peer["Voter"]),
            str(peer["RaftProtocol"]),
        ]
        for peer in answer["Servers"] or ()
    ]
    return table(rows)


def _which(body: Callable[..., None]) -> Callable[..., None]:
    """The flags that name a peer."""
    body = flag("peer-name", "name", "Name of the server, with or without its region.")(body)
    body = flag("peer-id", "id", "ID of the server.")(body)
    return flag("peer-address", "ip:port", "Address that servers use among themselves.")(body)


@command(
    "Removes a server from the consensus configuration.\n\n"
    "The server is not stopped: it keeps its data, and stays out of the cluster until it joins "
    "again with 'server join' or is restarted. Needs a management token. A removal that would cost "
    "the quorum is refused unless -force is given. On a terminal the command asks before a removal "
    "after which no voter may fail."
)
@_which
@switch("force", "Remove it even if the cluster then has no quorum.")
@switch("dry-run", "Print what would be removed, and do nothing.")
@switch("yes", "Do not ask.")
def remove_peer(
    session: Session, *, force: bool, dry_run: bool, yes: bool, **named: str | None
) -> None:
    prefix = "Error removing peer: "
    key, value = _target(
        named,
        prefix,
        "an address or id is required for the peer to remove\n"
        "Give -peer-id, -peer-address or -peer-name",
    )
    with failing(prefix):
        peer = _find(session.client, key, value)
        if dry_run:
            _rehearse(session.client, peer, f"{key} {value}", prefix)
            return
        if peer is None and key == "name":
            raise CommandError(
                f"{prefix}no peer is called {value}; 'operator raft list-peers' has them"
            )
        if peer and not yes:
            _confirm(session.client, peer)
        query = {"id": peer["ID"]} if peer else {key: value}
        if force:
            query["force"] = "true"
        with in_flags():
            session.client.delete(_PEER, **query)
    say(f'Removed peer with {key} "{value}"')
    if peer and peer["Node"] in (alive(session.client) or ()):
        say("It is still running, and stays out until it joins again or is restarted.")


@command(
    "Hands the leadership to another voter, for example before its machine is stopped.\n\n"
    "Without a target the healthiest of the other voters is chosen. Needs a management token."
)
@_which
def transfer_leadership(session: Session, **named: str | None) -> None:
    prefix = "Error transferring leadership to peer: "
    client = session.client
    with failing(prefix):
        peer, query = _successor(client, named, prefix)
        answer = client.put(_TRANSFER, **query) or {}
    ((key, value),) = query.items()
    shown = peer["Node"] if peer else f'peer with {key} "{value}"'
    if answer.get("Noop"):
        say(f"The {shown} leads already" if peer is None else f"{shown} leads already")
    else:
        say(f"Transferred leadership to {shown}")


def _successor(
    client: Client, named: dict[str, str | None], prefix: str
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The next leader, if it had to be looked up, and the parameter that names it to the server.

    Raises:
        CommandError: there is no such peer, or no other voter is healthy.
    """
    if not any(named.values()):
        peer = _chosen(client, prefix)
        say(f"Chose {peer['Node']}, the healthiest of the other voters")
        return peer, {"id": peer["ID"]}
    key, value = _target(named, prefix, "")
    if key != "name":
        return None, {key: value}
    found = _find(client, key, value)
    if found is None:
        raise CommandError(f"{prefix}no peer is called {value}")
    return found, {"id": found["ID"]}


def _chosen(client: Client, prefix: str) -> dict[str, Any]:
    """The peer that is to lead next.

    Raises:
        CommandError: there is no other voter, or none is healthy.
    """
    peers: list[dict[str, Any]] = _configuration(client, stale=False)["Servers"] or []
    others = [peer for peer in peers if peer["Voter"] and not peer["Leader"]]
    if not others:
        raise CommandError(
            f"{prefix}there is no other voter: leadership can be transferred once a second "
            "server has joined and votes"
        )
    answer = client.request("GET", HEALTH, accept=frozenset({200, UNHEALTHY})).json()
    chosen = healthiest(others, answer["Servers"] or [])
    if chosen is None:
        names = ", ".join(peer["Node"] for peer in others)
        raise CommandError(
            f"{prefix}no other voter is healthy ({names}); 'operator autopilot health' says why, "
            "and -peer-name chooses one anyway"
        )
    return chosen


def healthiest(peers: list[dict[str, Any]], health: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The healthy peer with the highest index, then the latest contact, then the first name."""
    from bellcow.gocompat.duration import parse_duration

    known = {one["ID"]: one for one in health if one["Healthy"]}

    def rank(peer: dict[str, Any]) -> tuple[int, int, str]:
        one = known[peer["ID"]]
        return -int(one["LastIndex"]), parse_duration(one["LastContact"]), peer["Node"]

    return min((peer for peer in peers if peer["ID"] in known), key=rank, default=None)


def _target(named: dict[str, str | None], prefix: str, missing: str) -> tuple[str, str]:
    """The parameter that names the peer, `address`, `id` or `name`, and its value.

    Raises:
        CommandError: the flags name no peer, or name it in several ways.
    """
    given = [(key.removeprefix("peer_"), value) for key, value in named.items() if value]
    if not given:
        raise CommandError(prefix + missing)
    if len(given) > 1:
        both = {key for key, _ in given} == {"address", "id"}
        raise CommandError(
            prefix
            + ("cannot give both an address and id" if both else "name the peer in one way only")
        )
    return given[0]


def _find(client: Client, key: str, value: str) -> dict[str, Any] | None:
    """The named peer; a name may omit the region.

    Raises:
        CommandError: several peers have the name.
    """
    peers: list[dict[str, Any]] = _configuration(client, stale=False)["Servers"] or []
    if key != "name":
        field = {"address": "Address", "id": "ID"}[key]
        return next((peer for peer in peers if peer[field] == value), None)
    found = [peer for peer in peers if value in {peer["Node"], peer["Node"].partition(".")[0]}]
    if len(found) > 1:
        raise CommandError(f"Several peers are called {value}; use -peer-id")
    return found[0] if found else None


def _described(peer: dict[str, Any]) -> str:
    role = "voter" if peer["Voter"] else "non-voter"
    leads = ", the leader" if peer["Leader"] else ""
    return f"{peer['Node']} ({role}{leads}, ID {peer['ID']}, address {peer['Address']})"
