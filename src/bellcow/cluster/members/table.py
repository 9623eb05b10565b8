"""What a server knows of the others: the table of members, and the steps that change it.

Pure: every function takes the table, what was heard and the time, and returns a new table. Times
are monotonic seconds of this process. Which message changes what is in `hearing.py`, which silence
in `failure.py`.
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

FAILED_AFTER_S = 5.0
FAILED_AFTER_ABROAD_S = 30.0
MISSED_MIN = 3  # a server is not failed because we ourselves stood still
MOVED_AFTER_S = 2.5  # of silence, before the same id may speak from another address
MEMBERS_MAX = 500  # so that nobody can make us remember, and call, without end
UNHEARD_MAX = 64  # of them, servers that were named here and have never answered
GONE = frozenset({FAILED, LEFT})


class Known(msgspec.Struct, frozen=True):
    """Another server, and since when it has been seen here as it is."""

    record: Record
    since: float


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """How a server answers us. `answered` counts from when we learned of it; `raft` is its last."""

    answered: float
    missed: int = 0  # hellos in a row without an answer
    raft: RaftView | None = None  # None: it has not answered yet
    cluster: Cluster | None = None
    recovery: Recovery | None = None
    status: Status = "alive"  # as it said of itself
    heard: bool = False  # whether it has ever answered


class Doubt(msgspec.Struct, frozen=True):
    """Something a caller said of a server that answers us; the server itself is asked about it.

    `told` holds if it does not answer once more than the `missed` times when this was heard. It is
    None where only the server's own word counts.
    """

    told: Record | None
    missed: int


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """Whose table counts in our region, when it last spoke to us, and the index it stood at.

    It stood there at `as_of` or later: what is heard may have been on its way for long.
    """

    server_id: str
    epoch: int
    term: int
    heard: float
    index: int = 0
    as_of: float | None = None


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the rest of this server knows at one moment.

    `claimant` is the server that leads by the head in memory, in the term of `raft`. `member_term`
    is the term that our member of the consensus knows, 0 without one. `servers` are the ids in the
    raft configuration, `voters` its voters, and `removed` those that were taken out lately; none
    while it is not known. `wall_ns` is our clock (UTC, Unix time), which by default bounds nothing.
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
    """All that is believed. `known` and `contacts` hold the others, by id."""

    me: Record
    known: Mapping[str, Known] = {}
    contacts: Mapping[str, Contact] = {}
    leader: Leader | None = None
    abroad: Mapping[str, str] = {}  # who leads each other region
    ahead: Cluster | None = None  # our cluster after a recovery that we were not part of
    recovery: Recovery | None = None  # what we bring to the recovery that we wait for
    doubts: Mapping[str, Doubt] = {}  # servers to be asked at once, by id


class Note(msgspec.Struct, frozen=True):
    """Something worth an event. `lasting` notes come again with each hello while they hold."""

    event: str
    fields: Mapping[str, object]
    lasting: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """A new table, and what is to be told of it."""

    table: Table
    notes: tuple[Note, ...] = ()


# What was heard


def is_full(table: Table) -> bool:
    return len(table.known) >= MEMBERS_MAX


def never_answered(table: Table) -> list[str]:
    """Servers that have never answered."""
    return [each for each, contact in table.contacts.items() if not contact.heard]


def speaks_elsewhere(table: Table, told: Record, now: float) -> bool:
    mine, contact = table.known.get(told.server_id), table.contacts.get(told.server_id)
    if mine is None or contact is None or contact.raft is None or mine.record.status in GONE:
        return False
    return has_moved(mine.record.itself, told.itself) and now - contact.answered < MOVED_AFTER_S


def has_moved(one: Itself, other: Itself) -> bool:
    return (one.serf, one.rpc) != (other.serf, other.rpc)


def with_doubt(table: Table, server_id: str, told: Record | None) -> Table:
    """The table with a question to a server. What may end it is not forgotten over another one."""
    contact, old = table.contacts.get(server_id), table.doubts.get(server_id)
    if contact is None or (old is not None and (told is None or old.told is not None)):
        return table
    return replace(table, doubts={**table.doubts, server_id: Doubt(told, contact.missed)})


def without_doubt(table: Table, server_id: str) -> Table:
    if server_id not in table.doubts:
        return table
    return replace(table, doubts={k: d for k, d in table.doubts.items() if k != server_id})


def answers(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts.get(record.server_id)
    return contact is not None and contact.raft is not None and not is_silent(table, record, now)


def put(table: Table, record: Record, now: float) -> Table:
    """The table with this record. One that comes alive gets time to answer."""
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


# What time does


def is_silent(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts[record.server_id]
    patience_s = silence_s(table, record)
    return contact.missed >= MISSED_MIN and now - contact.answered >= patience_s


# What an operator asks for


def with_status(record: Record, status: Status) -> Record:
    return renewed(record, record.next_version, status)


def renewed(record: Record, version: tuple[int, int], status: Status) -> Record:
    start_ns, status_seq = version
    return msgspec.structs.replace(record, start_ns=start_ns, status_seq=status_seq, status=status)


# What is told


def replace(table: Table, **fields: object) -> Table:
    return msgspec.structs.replace(table, **fields)


def silence_s(table: Table, record: Record) -> float:
    """How long a server may be silent before it has failed."""
    home = record.itself.region == table.me.itself.region
    return FAILED_AFTER_S if home else FAILED_AFTER_ABROAD_S
