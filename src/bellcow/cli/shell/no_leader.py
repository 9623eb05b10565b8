"""What a command says when no server leads: why, and what the server that was asked knew last."""

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
    """Health as the server that is asked knows it, leader or not. Raises RequestError."""
    accept = frozenset({200, UNHEALTHY})
    answer: dict[str, Any] = client.request(
        "GET", HEALTH, accept=accept, query={"stale": ""}
    ).json()
    return answer


def explain(
    session: Session, prefix: str, refusal: RequestError, known: Callable[[], str]
) -> NoReturn:
    """Say why nobody leads and who must be started, print what `known` returns, and end with 1.

    `known` returns "" where the server has no list of servers, and may raise RequestError.
    """
    complain(f"{prefix}{refusal.message}")
    try:
        table = known()
    except RequestError:
        raise CommandError("") from None  # the refusal would be the same, and is said already
    if table:
        complain(f"{_why(session.client, refusal)}\nWhat {session.client.address} knew last:")
        say(table)
        raise CommandError("")
    complain(f"No server leads, and {session.client.address} has no list of servers")
    for line in (*filter(None, [refusal.reason]), *_why_no_list(session.client)):
        complain(line)
    raise CommandError("")


def _why(client: Client, refusal: RequestError) -> str:
    """The server's own reasons, which it does not have at once; else what follows from health."""
    if refusal.reason:
        return refusal.reason
    try:
        return health_view.leaderless(last_known_health(client))
    except RequestError:
        return health_view.NO_LEADER  # who votes is shown with operator:read only


def _why_no_list(client: Client) -> list[str]:
    """What a server waits for that knows of no configuration: in no cluster, or just started."""
    try:
        answer: dict[str, Any] = client.get(MEMBERS)
    except RequestError:
        return []  # the list of members may need a right of its own
    expects, sees = awaited(answer)
    new = (
        f"it waits for {expects} servers with this bootstrap_expect and sees {sees}, itself "
        "included"
        if expects
        else "it waits to be admitted, for bootstrap_expect is not set"
    )
    return [
        f"If it is in no cluster yet: {new}. Its log says whom it cannot reach",
        "If it was in one: it has started again, and more than half of the voters must be there",
    ]


def awaited(answer: dict[str, Any]) -> tuple[int, int]:
    """How many first servers the server that is asked expects, and how many of them it sees."""
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
