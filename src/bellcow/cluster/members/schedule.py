"""Decides which servers are due for a hello, and when the next ones are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bellcow.model.agent import FAILED, LEFT
from bellcow.wire import join_host_port

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bellcow.cluster.members.table import Table
    from bellcow.model.hello import Record

BEAT_S = 0.1  # from the leader to each server of its cluster
ROUND_S = 1.0  # from each server to each live one of its region
FAR_S = 10.0  # to failed servers, and to other regions
EARLY_S = 0.002  # how early a timer may fire
CALLS_PER_S = 1_000  # in all, to known servers


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver of a hello. `server_id` is "" for an address whose server is not known."""

    server_id: str
    address: tuple[str, int]
    region: str

    @property
    def key(self) -> str:
        return self.server_id or join_host_port(self.address)


class Plan(msgspec.Struct, frozen=True):
    """The calls that are due now, and the seconds until the next ones."""

    targets: tuple[Target, ...]
    wake_s: float


def plan(
    table: Table,
    *,
    leads: bool,
    joins: tuple[tuple[str, int], ...],
    led_home: Mapping[str, bool],
    tried: Mapping[str, float],
    busy: Collection[str],
    now: float,
    servers: Collection[str] = (),
) -> Plan:
    """The calls that are due at `now`. `tried` maps the key of a target to its last call's time.

    The leader's beat goes to `servers`: the ids in the raft configuration or removed from it
    lately. While those are not known it goes to all servers that answer. The addresses in `joins`
    are called while no other server of our region is alive, and rarely until they have answered
    once; `led_home` maps those that have answered to whether that was another server of our
    region. A target in `busy` has a call under way and gets no second one.
    """
    due, wake_s = [], FAR_S
    beats = _beats(table, servers) if leads else frozenset()
    for target, every_s in _calls(table, joins, led_home, beats):
        left = tried.get(target.key, now - every_s) + every_s - now
        if target.key in busy:
            # A call that ends before its target is due again needs no earlier round.
            wake_s = min(wake_s, left) if left > EARLY_S else wake_s
            continue
        if left <= EARLY_S:
            due.append(target)
            left = every_s
        wake_s = min(wake_s, left)
    return Plan(tuple(due), wake_s)


def _calls(
    table: Table,
    joins: tuple[tuple[str, int], ...],
    led_home: Mapping[str, bool],
    beats: frozenset[str],
) -> Iterator[tuple[Target, float]]:
    region = table.me.itself.region
    alone = True
    pace_s = len(table.known) / CALLS_PER_S
    for server_id, known in table.known.items():
        record = known.record
        soon = server_id in beats or server_id in table.doubts
        every_s = _interval(record, region, soon=soon)
        if every_s:
            yield target_of(record), max(every_s, pace_s)
        if record.itself.region == region and record.status not in {FAILED, LEFT}:
            alone = False
    for address in joins:
        target = Target(server_id="", address=address, region=region)
        every_s = _join_interval(led_home.get(target.key), alone=alone)
        if every_s:
            yield target, every_s


def _join_interval(led_home: bool | None, *, alone: bool) -> float:
    """Seconds between two calls to an address to join; 0 for none. See `plan` for `led_home`."""
    if alone:
        return FAR_S if led_home is False else ROUND_S
    return FAR_S if led_home is None else 0.0


def _beats(table: Table, servers: Collection[str]) -> frozenset[str]:
    """Ids that get the leader's beat: servers of the cluster that have answered once."""
    return frozenset(
        server_id
        for server_id, contact in table.contacts.items()
        if contact.heard and (not servers or server_id in servers)
    )


def _interval(record: Record, region: str, *, soon: bool) -> float:
    """Seconds between two hellos to a known server; 0 for none."""
    if record.status == LEFT:
        return 0.0
    if record.status == FAILED or record.itself.region != region:
        return FAR_S
    return BEAT_S if soon else ROUND_S


def target_of(record: Record) -> Target:
    itself = record.itself
    return Target(server_id=itself.server_id, address=itself.serf, region=itself.region)
