"""The health of the servers for a person at a terminal: the sentence first, then a narrow table.

Pure: an answer of `operator/autopilot/health`, the settings and the time in, text out. The output
in Nomad's form, for tools, is in `autopilot`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bellcow.cli.shell.output import age, listing, one_line
from bellcow.gocompat.duration import NS_PER_S, parse_duration

_FIRST_YEAR = 1971
NO_LEADER = "No server leads."
NEW = "the leader is new and has not looked at the servers yet"


def view(answer: dict[str, Any], settings: dict[str, Any], now_ns: int, *, verbose: bool) -> str:
    """The whole text; `verbose` adds IDs, addresses and log positions."""
    servers: list[dict[str, Any]] = answer["Servers"] or []
    parts = [summary(answer), *_missing(answer), *reasons(servers, settings)]
    return "\n".join([*parts, "", rows(servers, now_ns, verbose=verbose)] if servers else parts)


def rows(servers: list[dict[str, Any]], now_ns: int, *, verbose: bool = False) -> str:
    """The table alone."""
    body = [_row(one, servers, now_ns, verbose=verbose) for one in servers]
    return listing([_head(verbose), *body])


def summary(answer: dict[str, Any]) -> str:
    """One sentence: whether the cluster is healthy, and how many voters it can lose."""
    servers: list[dict[str, Any]] = answer["Servers"] or []
    if not servers:
        return f"Health is not known: {NEW}; ask again in 2 s."
    if not any(one["Leader"] for one in servers):
        return leaderless(answer)
    voters = [one for one in servers if one["Voter"]]
    if (missed := _missed(answer)) and answer["Healthy"]:
        before = max(one["VotersBefore"] for one in missed)
        bears = f"{answer['FailureTolerance'] or 'none'} may fail"
        return f"Degraded: {len(voters)} of {before} voters, {bears}."
    well = sum(one["Healthy"] for one in voters)
    word = "Healthy" if answer["Healthy"] else "Unhealthy"
    if len(voters) == 1:
        return f"{word}: one voter, and nothing works without it."
    tolerance = answer["FailureTolerance"]
    bears = f"{tolerance} may fail" if tolerance else "none may fail: the next failure stops writes"
    return f"{word}: {well} of {len(voters)} voters are healthy; {bears}."


def leaderless(answer: dict[str, Any]) -> str:
    """Without a leader: how many of the voters answer, and which to start."""
    voters = [one for one in answer["Servers"] or () if one["Voter"]]
    silent = [one for one in voters if not _answers(one)]
    there, needed = len(voters) - len(silent), len(voters) // 2 + 1
    count = f"{there} of {len(voters)} voters {'answers' if there == 1 else 'answer'}"
    if not voters:
        return NO_LEADER
    if there >= needed:
        return f"{NO_LEADER} {count}, enough to elect one within seconds."
    names = [f"{name(one)}{_failed_since(one)}" for one in silent]
    lacking = needed - there
    some = f"{lacking} of " if 1 < lacking < len(silent) else ""
    start = (" and " if lacking == len(silent) else " or ").join(names)
    return (
        f"{NO_LEADER} {count}, {needed} are needed: start {some}{start}. If they are lost for "
        "good: bellcow operator raft recover -h"
    )


def _answers(server: dict[str, Any]) -> bool:
    return server["SerfStatus"] == "alive" and parse_duration(server["LastContact"]) >= 0


def _failed_since(server: dict[str, Any]) -> str:
    began = datetime.fromisoformat(server["StableSince"])
    return "" if began.year < _FIRST_YEAR else f" (failed since {_clock(server['StableSince'])})"


def _missed(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in answer.get("Removed") or () if one["Missed"]]


def removals(answer: dict[str, Any]) -> list[str]:
    """One line for each voter that was removed as dead and not replaced."""
    return [
        f"{name(one)} {_silence(one)}was removed at {_clock(one['Removed'])}"
        for one in _missed(answer)
    ]


def _missing(answer: dict[str, Any]) -> list[str]:
    return [f"Missing: {one}; start it, or a replacement" for one in removals(answer)]


def _silence(removed: dict[str, Any]) -> str:
    since = removed.get("SilentSince")
    return f"stopped answering at {_clock(since)} and " if since else ""


def _clock(time: str) -> str:
    """An RFC 3339 time as `2026-11-23 13:59:47 UTC`."""
    return f"{one_line(time)[:19].replace('T', ' ')} UTC"


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
    """Time since the leader's last contact, in milliseconds; none for the leader."""
    silence = parse_duration(server["LastContact"])
    if server["Leader"]:
        return "-"
    return f"{silence // 1_000_000}ms" if silence >= 0 else "none"


def _behind(server: dict[str, Any], servers: list[dict[str, Any]]) -> str:
    """Log entries that the server lacks; unknown while it does not answer."""
    if parse_duration(server["LastContact"]) < 0:
        return "?"
    newest = max(one["LastIndex"] for one in servers)
    return str(newest - server["LastIndex"])


def _since(stable_since: str, now_ns: int) -> str:
    """How long the server has been in its present health."""
    began = datetime.fromisoformat(stable_since)
    if began.year < _FIRST_YEAR:  # Nomad: the zero time means unknown
        return "?"
    return age(max(0, now_ns - int(began.timestamp()) * NS_PER_S)).removesuffix(" ago")
