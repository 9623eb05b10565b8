"""The verdict on a run: is what clients saw what one server, never failing, could have shown?

Pure: histories and claims in, violations out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from tests.cluster.chaos.indexes import RULES, Violation
from tests.cluster.chaos.registers import one_order_explains_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.chaos.history import Claim, Operation


def check(history: Sequence[Operation], claims: Sequence[Claim] = ()) -> list[Violation]:
    """Everything that is wrong; nothing, if all promises were kept."""
    found = [violation for rule in RULES for violation in rule(history)]
    found += one_order_explains_all(history)
    found += one_leader_a_term(claims)
    return found


def one_leader_a_term(claims: Sequence[Claim]) -> list[Violation]:
    """A term belongs to one server, and a later term begins at a higher index."""
    leaders: dict[int, str] = {}
    found = []
    for claim in claims:
        other = leaders.setdefault(claim.term, claim.server)
        if other != claim.server:
            text = f"{other} and {claim.server} both led in term {claim.term}"
            found.append(Violation("one leader a term", text))
    ordered = sorted(claims, key=lambda claim: (claim.index, claim.term))
    for before, after in pairwise(ordered):
        if after.term < before.term or after.index == before.index:
            text = (
                f"{after.server} began term {after.term} at index {after.index}, "
                f"{before.server} term {before.term} at {before.index}"
            )
            found.append(Violation("one leader a term", text))
    return found


def told(violation: Violation, history: Sequence[Operation]) -> str:
    """A violation for people, with the operations that show it."""
    lines = [f"{violation.rule}: {violation.text}"]
    for position in violation.operations[:12]:
        if position >= 0:
            record = msgspec.structs.replace(history[position], rows=None)
            lines.append(f"  {position}: {msgspec.json.encode(record).decode()}")
    return "\n".join(lines)
