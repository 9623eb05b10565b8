"""The table of members: what this server knows of the others, and the steps that change it.

Pure: every function returns a new table. Times are monotonic seconds of this process. The rules
for messages are in `hearing.py`, those for silence in `failure.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from bellcow.model.agent import FAILED, LEFT
from bellcow.model.hello import (
    COUNT_MAX,
    Cluster,
    Itself,
    RaftView,
    Record,
    Recovery,
    Status,
)
from bellcow.model.raft import RaftServer

if TYPE_CHECKING:
    from collections.abc import Iterable

FAILED_AFTER_S = 5.0  # of silence, in our region: five rounds of hello
FAILED_AFTER_ABROAD_S = 30.0  # in other regions: three rounds
MISSED_MIN = 3  # unanswered hellos; silence alone may mean that this process stood still
MOVED_AFTER_S = 2.5  # of silence, before the same id may appear at another address
MEMBERS_MAX = 500  # bounds memory and calls, whatever others claim
UNHEARD_MAX = 64  # of those, servers that were only named by others and never answered
GONE = frozenset({FAILED, LEFT})


class Known(msgspec.Struct, frozen=True):
    """Another server's record, and since when it has had this status here."""

    record: Record
    since: float


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A server's last answer to us. `answered` starts at the time when we learned of it."""

    answered: float
    missed: int = 0  # hellos in a row without an answer
    raft: RaftView | None = None  # None: no answer yet
    cluster: Cluster | None = None
    recovery: Recovery | None = None
    status: Status = "alive"  # its own claim
    heard: bool = False  # it has answered at least once


class Doubt(msgspec.Struct, frozen=True):
    """A caller's claim about a server that answers us; the server itself is called to verify it.

    `claimed` is accepted if the server misses one more hello than `missed`, the count at that time.
    None: only the server's own answer counts.
    """

    claimed: Record | None
    missed: int


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The leader of our region: its table is authoritative. `heard` is its last hello's arrival.

    `index` was its index at `as_of` or later. A message may have been under way for long, so
    `as_of` is the time when we sent the hello that it echoes.
    """

    server_id: str
    epoch: int
    term: int
    heard: float
    index: int = 0
    as_of: float | None = None


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the other parts of this server know at one moment.

    `claimant` is the leader named by the head in memory, in the term of `raft`. `member_term` is
    the term of our etcd member, 0 without one. `servers` are the ids in the raft configuration,
    `voters` its voters, and `removed` the ids removed from it lately; all empty while it is not
    known. `wall_ns` is our clock (UTC, Unix time); the default bounds nothing.
    """

    cluster: Cluster | None
    raft: RaftView
    claimant: str = ""
    member_term: int = 0
    servers: frozenset[str] = frozenset()
    voters: tuple[RaftServer, ...] = ()
    removed: frozenset[str] = frozenset()
    wall_ns: int = COUNT_MAX

    @property
    def leads(self) -> bool:
        return self.raft.role == "leader"

    @property
    def epoch(self) -> int:
        return self.cluster.epoch if self.cluster else 0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What this server knows of itself and of others. Mappings are by server id."""

    me: Record
    known: Mapping[str, Known] = {}
    contacts: Mapping[str, Contact] = {}
    leader: Leader | None = None
    abroad: Mapping[str, str] = {}  # leader of each other region, by region
    ahead: Cluster | None = None  # our cluster after a recovery that we missed
    recovery: Recovery | None = None  # ours, while we wait to recover the cluster
    doubts: Mapping[str, Doubt] = {}  # servers to call at once


class Note(msgspec.Struct, frozen=True):
    """An event to report. `lasting` ones are due again with each hello while their cause lasts."""

    event: str
    fields: Mapping[str, object]
    lasting: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """A new table, and the events to report."""

    table: Table
    notes: tuple[Note, ...] = ()


# Queries and doubts


def is_full(table: Table) -> bool:
    return len(table.known) >= MEMBERS_MAX


def never_answered(table: Table) -> list[str]:
    """Ids of servers that have never answered a hello."""
    return [each for each, contact in table.contacts.items() if not contact.heard]


def speaks_elsewhere(table: Table, claimed: Record, now: float) -> bool:
    """Whether `claimed` names another address for a server that answered us a moment ago."""
    mine, contact = table.known.get(claimed.server_id), table.contacts.get(claimed.server_id)
    if mine is None or contact is None or contact.raft is None or mine.record.status in GONE:
        return False
    return has_moved(mine.record.itself, claimed.itself) and now - contact.answered < MOVED_AFTER_S


def has_moved(one: Itself, other: Itself) -> bool:
    return (one.serf, one.rpc) != (other.serf, other.rpc)


def with_doubt(table: Table, server_id: str, claimed: Record | None) -> Table:
    """The table with a doubt about a server. A doubt with a claim is not replaced by another."""
    contact, old = table.contacts.get(server_id), table.doubts.get(server_id)
    if contact is None or (old is not None and (claimed is None or old.claimed is not None)):
        return table
    return replace(table, doubts={**table.doubts, server_id: Doubt(claimed, contact.missed)})


def without_doubt(table: Table, server_id: str) -> Table:
    if server_id not in table.doubts:
        return table
    return replace(table, doubts={k: d for k, d in table.doubts.items() if k != server_id})


def answers(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts.get(record.server_id)
    return contact is not None and contact.raft is not None and not is_silent(table, record, now)


def put(table: Table, record: Record, now: float) -> Table:
    """The table with this record. A new or returning server starts with no missed hello."""
    server_id, contacts = record.server_id, table.contacts
    mine = table.known.get(server_id)
    same = mine is not None and mine.record.status == record.status
    since = mine.since if mine is not None and same else now
    if mine is None or (mine.record.status in GONE and record.status not in GONE):
        heard = mine is not None and contacts[server_id].heard
        contacts = {**contacts, server_id: Contact(answered=now, heard=heard)}
    known = {**table.known, server_id: Known(record, since)}
    return replace(table, known=known, contacts=contacts)


def without(table: Table, server_ids: Iterable[str]) -> Table:
    gone = frozenset(server_ids)
    if not gone:
        return table
    known = {key: known for key, known in table.known.items() if key not in gone}
    contacts = {key: contact for key, contact in table.contacts.items() if key not in gone}
    doubts = {key: doubt for key, doubt in table.doubts.items() if key not in gone}
    return replace(table, known=known, contacts=contacts, doubts=doubts)


# Silence


def is_silent(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts[record.server_id]
    patience_s = silence_s(table, record)
    return contact.missed >= MISSED_MIN and now - contact.answered >= patience_s


# Versions of a record


def with_status(record: Record, status: Status) -> Record:
    return renewed(record, record.next_version, status)


def renewed(record: Record, version: tuple[int, int], status: Status) -> Record:
    start_ns, status_seq = version
    return msgspec.structs.replace(record, start_ns=start_ns, status_seq=status_seq, status=status)


# Helpers


def replace(table: Table, **fields: object) -> Table:
    return msgspec.structs.replace(table, **fields)


def silence_s(table: Table, record: Record) -> float:
    """Seconds of silence after which a server has failed."""
    home = record.itself.region == table.me.itself.region
    return FAILED_AFTER_S if home else FAILED_AFTER_ABROAD_S
