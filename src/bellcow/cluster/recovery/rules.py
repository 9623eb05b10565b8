"""Decides which of the remaining servers rebuilds their cluster, and when: one pure function.

Every listed server decides for itself from the same facts, so all reach the same answer. Nothing
is decided by a timeout: two halves of a cluster must not both be rebuilt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow.model.hello import Recovery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bellcow.cluster.recovery.peers_json import Listed

INDEX_STEP = 1_000_000  # more than the lost servers may have acknowledged: no index is reused


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answers, or this one. `epoch` and `index` are the latest it has seen.

    `epoch_seen` is the highest epoch that any server has shown it, lost ones included.
    """

    server_id: str
    address: str  # of its peer port, in the spelling of the file
    recovery: Recovery | None
    epoch: int
    index: int
    leads: bool = False
    epoch_seen: int = 0


class RebuildHere(msgspec.Struct, frozen=True):
    """This server rebuilds the cluster, at this epoch and index."""

    epoch: int
    index: int


class Join(msgspec.Struct, frozen=True):
    """The cluster has this leader already: join it."""

    leader: str


class Wait(msgspec.Struct, frozen=True):
    """Wait, for these reasons."""

    reasons: tuple[str, ...]


Decision: TypeAlias = RebuildHere | Join | Wait


def decide(listed: Sequence[Listed], me: Seen, others: Sequence[Seen]) -> Decision:
    """What to do now. `me` is one of the listed servers and has a recovery of its own."""
    mine = me.recovery
    assert mine is not None  # noqa: S101  it has a peers.json
    known = max(me.epoch, mine.epoch)
    for other in others:
        if other.leads and (other.epoch > known or mine.role == "none"):
            return Join(other.server_id)
        if other.leads and other.epoch == known:
            return Wait((_already_led(other),))
    if ahead := [other for other in others if other.recovery is None and other.epoch > known]:
        return Wait(tuple(_will_lead(other) for other in ahead))
    entries = {server.address: _match(server, (me, *others), mine.file) for server in listed}
    if missing := tuple(each for each in entries.values() if isinstance(each, str)):
        return Wait(missing)
    present = [seen for seen in entries.values() if isinstance(seen, Seen)]
    wanted = {server.address for server in listed if not server.non_voter}
    founder = _founder(present, wanted)
    if founder is None:
        return Wait(("none of the servers in the file has any data: restore a snapshot",))
    if founder.server_id != me.server_id:
        return Wait((_will_rebuild(founder),))
    return RebuildHere(
        epoch=max(_epoch(seen) for seen in (me, *others)) + 1,
        index=max(_index(seen) for seen in (me, *others)) + INDEX_STEP,
    )


def _will_rebuild(other: Seen) -> str:
    return f"{other.server_id} at {other.address} has the newest copy and rebuilds the cluster"


def _will_lead(other: Seen) -> str:
    return f"{other.server_id} at {other.address} has epoch {other.epoch}, and no leader yet"


def _already_led(leader: Seen) -> str:
    return (
        f"{leader.server_id} at {leader.address} leads this cluster, so there is nothing to "
        "recover: stop this server, remove peers.json, start it again"
    )


def _match(server: Listed, seen: Iterable[Seen], file: str) -> Seen | str:
    """The server that answers for an entry, or what the entry lacks."""
    answering = [each for each in seen if each.address == server.address]
    if not answering:
        return f"no answer from {server.address}: start it, or remove it from every peers.json"
    if len(answering) > 1:
        return f"two servers answer as {server.address}"
    (found,) = answering
    if server.id and found.server_id != server.id:
        return f"the server at {server.address} is {found.server_id} and not {server.id}"
    if found.recovery is None:
        return f"{server.address} has no peers.json: stop it, copy this one to it, start it"
    if found.recovery.file != file:
        return f"{server.address} has a peers.json with other servers: make them the same"
    return found


def _founder(present: Iterable[Seen], wanted: set[str]) -> Seen | None:
    """The server with the newest copy; of equal ones a voter, then the one with the lowest id."""
    best: tuple[int, int, bool] = (-1, -1, False)
    founder: Seen | None = None
    for seen in sorted(present, key=lambda each: each.server_id):
        recovery = seen.recovery
        if recovery is None or recovery.role == "none":
            continue
        votes = recovery.role == "voter" and seen.address in wanted
        rank = (recovery.epoch, recovery.index, votes)
        if rank > best:
            best, founder = rank, seen
    return founder


def _epoch(seen: Seen) -> int:
    return max(seen.epoch, seen.epoch_seen, seen.recovery.epoch if seen.recovery else 0)


def _index(seen: Seen) -> int:
    return max(seen.index, seen.recovery.index if seen.recovery else 0)
