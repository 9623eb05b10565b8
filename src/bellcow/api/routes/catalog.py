"""All routes: importing a module of this package declares its routes; this one imports them all."""

from __future__ import annotations

from bellcow.api.route import ROUTES, Route
from bellcow.api.routes import (  # noqa: F401  each declares its routes when it is imported
    acl_bootstrap,
    acl_policies,
    acl_tokens,
    agent,
    agent_health,
    agent_host,
    agent_monitor,
    enterprise,
    events,
    jobs,
    keyring,
    namespaces,
    operator,
    operator_raft,
    pprof,
    search,
    status,
    system,
    ui,
)


def routes() -> list[Route]:
    """Every declared route."""
    return list(ROUTES)


def table() -> list[str]:
    """The routes as a table: method, path, right, server that answers, status of other methods."""
    rows = [("Method", "Path", "Needs", "Answered by", "Other methods")]
    rows += sorted(
        (each.method, each.path, each.asks, each.serve.value, str(each.wrong_method))
        for each in routes()
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table_ = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [
        *table_,
        "",
        "A path that ends in * stands for all that begin with it; {name} is the rest of a path.",
    ]
