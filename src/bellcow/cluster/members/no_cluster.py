"""What a server that finds no cluster tells of why that is so. Pure: it takes what the exchange
knows, and nothing is told where a leader speaks to us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.queries import clusters_here, leader_of_region, willing
from bellcow.cluster.members.table import FAILED_AFTER_S, Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bellcow.cluster.members.table import Inputs, Table

HEARD_S = 2.0  # by then who can answer has done so


def is_wanted(
    address: tuple[str, int], table: Table, inputs: Inputs, waited_s: float, now: float
) -> bool:
    """Whether it matters that nobody answers at this address to join.

    Of a server that was known it is told that it fails. A member gives the others a moment after
    its start.
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
    """Why this server is in no cluster, as far as it can tell.

    `joined` has the region of whoever answers at an address to join, `waited_s` counts from our
    first hello.
    """
    if waited_s < HEARD_S or inputs.cluster is not None or _is_led(table, inputs, now):
        return ()
    return (*_strangers(table, joined), *_waiting(table))


def _is_led(table: Table, inputs: Inputs, now: float) -> bool:
    """Whether somebody is known to lead our region, or this server leads."""
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
    """How many first servers are there. Enough of them have other reasons, told elsewhere."""
    expects, sees = table.me.itself.bootstrap_expect, len(willing(table))
    if clusters_here(table) or (expects and sees >= expects):
        return []
    return [Note("bootstrap_waiting", {"sees": sees, "expects": expects}, lasting=True)]
