"""Why this server finds no cluster, as events for the log. Pure.

Nothing is reported while a leader is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import clusters_here, leader_of_region, willing
from bellcow.cluster.members.table import FAILED_AFTER_S, Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cluster.members.table import Inputs, Table

HEARD_S = 2.0  # by then every reachable server has answered: one round and one time limit


def is_wanted(
    address: tuple[str, int], table: Table, inputs: Inputs, waited_s: float, now: float
) -> bool:
    """Whether to report that no server answers at this address to join.

    Not for a known server: `member_failed` reports it. A member of a cluster waits a moment after
    its start, because the others may start at the same time.
    """
    if _is_led(table, inputs, now):
        return False
    others = [known.record.itself for known in table.known.values()]
    if inputs.cluster is None:
        return all(itself.serf != address for itself in others)
    alone = all(itself.region != table.me.itself.region for itself in others)
    return alone and waited_s >= FAILED_AFTER_S


def reasons(
    table: Table, inputs: Inputs, joined: Mapping[str, str], waited_s: float, now: float
) -> tuple[Note, ...]:
    """Why this server is in no cluster.

    `joined` maps addresses to join to the region that answers there; `waited_s` counts from our
    first hello.
    """
    if waited_s < HEARD_S or inputs.cluster is not None or _is_led(table, inputs, now):
        return ()
    return (*_strangers(table, joined), *_waiting(table))


def _is_led(table: Table, inputs: Inputs, now: float) -> bool:
    """Whether our region has a known leader, or this server leads."""
    return inputs.leads or leader_of_region(table, now) != ""


def _strangers(table: Table, joined: Mapping[str, str]) -> list[Note]:
    ours = table.me.itself.region
    return [
        Note(
            "join_wrong_region",
            {"address": address, "theirs": region, "ours": ours},
            lasting=True,
        )
        for address, region in joined.items()
        if region != ours
    ]


def _waiting(table: Table) -> list[Note]:
    """Too few possible first voters. With enough of them the proposer reports what it waits for."""
    expects, sees = table.me.itself.bootstrap_expect, len(willing(table))
    if clusters_here(table) or (expects and sees >= expects):
        return []
    return [Note("bootstrap_waiting", {"sees": sees, "expects": expects}, lasting=True)]
