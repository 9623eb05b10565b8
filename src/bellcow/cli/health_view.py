"""The health of the servers for a person at a terminal: the sentence first, then a narrow table.

Pure: an answer of `operator/autopilot/health`, the settings and the time in, text out. What tools
read is in `operator_autopilot`, in Nomad's form.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bellcow.cli.output import age, listing, one_line
from bellcow.wire import NS_PER_S, parse_duration

_FIRST_YEAR = 1971
NEW = "the leader is new and has not looked at the servers yet"


def view(answer: dict[str, Any], settings: dict[str, Any], now_ns: int, *, verbose: bool) -> str:
    """The whole text; `verbose` adds what identifies a server and its log."""
    servers: list[dict[str, Any]] = answer["Servers"] or []
    rows = [_head(verbose)] + [_row(one, servers, now_ns, verbose=verbose) for one in servers]
    parts = [summary(answer), *reasons(servers, settings)]
    return "\n".join([*parts, "", listing(rows)] if servers else parts)


def summary(answer: dict[str, Any]) -> str:
    """Whether the cluster is healthy, and how many voters it can lose."""
    servers: list[dict[str, Any]] = answer["Servers"] or []
    if not servers:
        return f"Health is not known: {NEW}; ask again in 2 s."
    voters = [one for one in servers if one["Voter"]]
    well = sum(one["Healthy"] for one in voters)
    word = "Healthy" if answer["Healthy"] else "Unhealthy"
    if len(voters) == 1:
        return f"{word}: one voter, and nothing works without it."
    tolerance = answer["FailureTolerance"]
    bears = f"{tolerance} may fail" if tolerance else "none may fail: the next failure stops writes"
    return f"{word}: {well} of {len(voters)} voters are healthy; {bears}."


def reasons(servers: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """One sentence for each server that is not healthy."""
    newest = next((one for one in servers if one["Leader"]), servers[0] if servers else {})
    return [
        f"Unhealthy: {name(one)}: {reason(one, newest, settings)}"
        for one in servers
        if not one["Healthy"]
    ]


def name(server: dict[str, Any]) -> str:
    return one_line(server["Name"] or server["ID"])


def reason(server: dict[str, Any], leader: dict[str, Any], settings: dict[str, Any]) -> str:
    """Why autopilot calls this server unhealthy."""
    if server["SerfStatus"] != "alive":
        return f"the other servers see it as {one_line(server['SerfStatus'])}"
    silence = parse_duration(server["LastContact"])
    if silence < 0:
        return "it does not answer the leader"
    threshold = settings.get("LastContactThreshold", "")
    if threshold and silence > parse_duration(threshold):
        return f"no contact with the leader for {server['LastContact']}, allowed are {threshold}"
    if server["LastTerm"] != leader["LastTerm"]:
        return (
            f"its last entry is of term {server['LastTerm']}, the leader's of {leader['LastTerm']}"
        )
    trails = leader["LastIndex"] - server["LastIndex"]
    allowed = settings.get("MaxTrailingLogs")
    if allowed is not None and trails > allowed:
        return f"it trails by {trails} entries, allowed are {allowed}"
    return "it was unhealthy when the leader last looked"


def _head(verbose: bool) -> list[str]:
    more = ["Address", "Version", "Term", "Index", "ID"] if verbose else []
    return ["Name", "State", "Voter", "Healthy", "Contact", "Behind", "So for", *more]


def _row(
    server: dict[str, Any], servers: list[dict[str, Any]], now_ns: int, *, verbose: bool
) -> list[str]:
    state = "leader" if server["Leader"] else server["SerfStatus"]
    more = [server[key] for key in ("Address", "Version", "LastTerm", "LastIndex", "ID")]
    return [
        name(server),
        state,
        _yes(server["Voter"]),
        _yes(server["Healthy"]),
        _contact(server),
        _behind(server, servers),
        _since(server["StableSince"], now_ns),
        *(str(cell) for cell in (more if verbose else ())),
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _contact(server: dict[str, Any]) -> str:
    """Time since the leader's last contact, in milliseconds; none of the leader with itself."""
    silence = parse_duration(server["LastContact"])
    if server["Leader"]:
        return "-"
    return f"{silence // 1_000_000}ms" if silence >= 0 else "none"


def _behind(server: dict[str, Any], servers: list[dict[str, Any]]) -> str:
    """Entries that the server lacks; unknown while it does not answer."""
    if parse_duration(server["LastContact"]) < 0:
        return "?"
    newest = max(one["LastIndex"] for one in servers)
    return str(newest - server["LastIndex"])


def _since(stable_since: str, now_ns: int) -> str:
    """How long the server has been as healthy, or as unhealthy, as it is."""
    began = datetime.fromisoformat(stable_since)
    if began.year < _FIRST_YEAR:  # Nomad: the zero time, where nothing is known
        return "?"
    return age(max(0, now_ns - int(began.timestamp()) * NS_PER_S)).removesuffix(" ago")
