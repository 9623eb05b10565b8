"""All routes: importing a noun declares its routes, and every noun is imported here."""

from __future__ import annotations

from bellcow.api import acl, agent, jobs, namespaces, operator, status, system, ui
from bellcow.api.route import ROUTES, Route

NOUNS = (acl, agent, jobs, namespaces, operator, status, system, ui)


def routes() -> list[Route]:
    """Every declared route."""
    return list(ROUTES)
