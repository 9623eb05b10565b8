"""`system`: housekeeping of the whole cluster. Silent when it worked."""

from __future__ import annotations

from bellcow.cli.shell.errors import failing
from bellcow.cli.shell.session import Session, command


@command("Collects finished jobs, evaluations and allocations now.\n\nNeeds a management token.")
def gc(session: Session) -> None:
    with failing("Error running system garbage-collection: "):
        session.client.put("/v1/system/gc")


@command("Computes the summaries of all jobs again.\n\nNeeds a management token.")
def summaries(session: Session) -> None:
    with failing("Error running system summary reconciliation: "):
        session.client.put("/v1/system/reconcile/summaries")
