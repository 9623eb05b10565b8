"""The output of a command when no server leads: why, and the last state that the server has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from bellcow.cli.commands.operator import health_view
from bellcow.cli.commands.server import MEMBERS
from bellcow.cli.shell.errors import CommandError, RequestError
from bellcow.cli.shell.output import complain, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from bellcow.cli.shell.client import Client
    from bellcow.cli.shell.session import Session

REFUSAL = "No cluster leader"
HEALTH = "/v1/operator/autopilot/health"
UNHEALTHY = 429


def last_known_health(client: Client) -> dict[str, Any]:
    """The last health that the asked server has, leader or not.

    Raises:
        RequestError: it does not answer, or refuses.
    """
    accept = frozenset({200, UNHEALTHY})
    answer: dict[str, Any] = client.request(
        "GET", HEALTH, accept=accept, query={"stale": ""}
    ).json()
    return answer


def explain(
    session: Session, prefix: str, refusal: RequestError, known: Callable[[], str]
) -> NoReturn:
    """Print why no server leads, which servers to start, and what `known` returns.

    `known` returns "" if the server has no list of servers, and may raise RequestError.

    Raises:
        CommandError: always; without a text, because all of it is printed already.
    """
    complain(f"{prefix}{refusal.message}")
    try:
        table = known()
    except RequestError:
        raise CommandError("") from None  # it would be the refusal that is printed already
    if table:
        complain(f"{_why(session.client, refusal)}\nWhat {session.client.address} knew last:")
        say(table)
        raise CommandError("")
    complain(f"No server leads, and {session.client.address} has no list of servers")
    for line in (*filter(None, [refusal.reason]), *_why_no_list(session.client)):
        complain(line)
    raise CommandError("")


def _why(client: Client, refusal: RequestError) -> str:
    """The server's own reason; while it has none yet, what follows from health."""
    if refusal.reason:
        return refusal.reason
    try:
        return health_view.leaderless(last_known_health(client))
    except RequestError:
        return health_view.NO_LEADER  # without operator:read the voters are not listed


def _why_no_list(client: Client) -> list[str]:
    """Why a server has no raft configuration: it is in no cluster, or has just started."""
    try:
        answer: dict[str, Any] = client.get(MEMBERS)
    except RequestError:
        return []  # the list of members may need another right
    expects, sees = awaited(answer)
    new = (
        f"it waits for {expects} servers with this bootstrap_expect and sees {sees}, itself "
        "included"
        if expects
        else "it waits to be admitted, because bootstrap_expect is not set"
    )
    return [
        f"If it is in no cluster yet: {new}. Its log names the servers that it cannot reach",
        "If it was in one: it has started again, and more than half of the voters must answer",
    ]


def awaited(answer: dict[str, Any]) -> tuple[int, int]:
    """bootstrap_expect of the asked server, and how many of those servers it sees."""
    region, own_name = answer["ServerRegion"], f"{answer['ServerName']}.{answer['ServerRegion']}"
    members: list[dict[str, Any]] = answer["Members"] or []
    expected = {member["Name"]: member["Tags"].get("expect", "0") for member in members}
    mine = expected.get(own_name, "0")
    sees = sum(
        member["Status"] == "alive"
        and member["Tags"].get("region") == region
        and "nonvoter" not in member["Tags"]
        and expected[member["Name"]] == mine
        for member in members
    )
    return int(mine), sees
