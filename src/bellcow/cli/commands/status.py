"""`status`: the jobs at a glance, or what an ID belongs to."""

from __future__ import annotations

from typing import Any

from bellcow.cli.shell.arguments import Takes
from bellcow.cli.shell.errors import CommandError, RequestError, failing
from bellcow.cli.shell.output import listing, say
from bellcow.cli.shell.session import Session, command

_NOT_FOUND = 404
# The server's name of a kind, ours, and the path of one object.
_KINDS = {
    "jobs": ("Jobs", "/v1/job/"),
    "evals": ("Evaluations", "/v1/evaluation/"),
    "allocs": ("Allocations", "/v1/allocation/"),
    "nodes": ("Nodes", "/v1/node/"),
    "deployment": ("Deployments", "/v1/deployment/"),
    "namespaces": ("Namespaces", "/v1/namespace/"),
}


@command(
    "Lists the jobs; with an ID, or its beginning, shows what it belongs to and where to read it.",
    takes=Takes(0, 1, "This command takes either no arguments or one: <id>", "[<id>]"),
)
def status(session: Session, *, words: tuple[str, ...]) -> None:
    say(_found(session, words[0]) if words else _jobs(session))


def _jobs(session: Session) -> str:
    with failing("Error querying jobs: "):
        jobs = _or_nothing(session, "GET", "/v1/jobs") or []
    if not jobs:
        return "No running jobs"
    rows = [["ID", "Type", "Priority", "Status", "Submit Date"]]
    rows += [
        [job["ID"], _kind(job), str(job["Priority"]), job["Status"], _date(job["SubmitTime"])]
        for job in jobs
    ]
    return listing(rows)


def _kind(job: dict[str, Any]) -> str:
    return str(job["Type"]) + ("/periodic" if job.get("Periodic") else "")


def _date(ns: int) -> str:
    from bellcow.gocompat.time import rfc3339_seconds

    return rfc3339_seconds(ns) if ns else ""


def _found(session: Session, prefix: str) -> str:
    body = {"Prefix": prefix, "Context": "all"}
    with failing(f'Error querying search with id: "{prefix}": '):
        answer = _or_nothing(session, "PUT", "/v1/search", body) or {}
    matches = {kind: ids for kind, ids in (answer.get("Matches") or {}).items() if ids}
    if not matches:
        raise CommandError(f'Unable to resolve ID: "{prefix}"')
    exact = {kind: [prefix] for kind, ids in matches.items() if prefix in ids}
    chosen = exact if len(exact) == 1 else matches
    if len(chosen) > 1 or sum(map(len, chosen.values())) > 1:
        groups = [f"\n{_named(kind)}:\n{', '.join(ids)}" for kind, ids in chosen.items()]
        raise CommandError(f'Multiple matches found for id "{prefix}"\n' + "\n".join(groups))
    kind, (identifier,) = next(iter(chosen.items()))
    name, path = _KINDS.get(kind, (kind, ""))
    if not path:
        return f"{name}: {identifier}"
    return f"{name}: {identifier}\nRead it with '{session.program} operator api {path}{identifier}'"


def _named(kind: str) -> str:
    return _KINDS.get(kind, (kind, ""))[0]


def _or_nothing(session: Session, method: str, path: str, body: Any = None) -> Any:
    """The answer; None from a server without this endpoint.

    Raises:
        RequestError: the server refused, or did not answer.
    """
    import msgspec

    data = None if body is None else msgspec.json.encode(body)
    try:
        return session.client.request(method, path, body=data).json()
    except RequestError as error:
        if error.status == _NOT_FOUND:
            return None
        raise
