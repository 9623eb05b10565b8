"""The rules of membership: what a server believes of the others, and what changes that.

Pure: every function takes the table, what was heard and the time, and returns a new table with what
is worth telling. Times are monotonic seconds of this process. Nothing here knows how a hello
travels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from bellcow.errors import Code, Error
from bellcow.model.agent import ALIVE, FAILED, LEAVING, LEFT
from bellcow.model.hello import Cluster, Hello, Itself, RaftView, Record, Recovery, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

FAILED_AFTER_S = 5.0
FAILED_AFTER_ABROAD_S = 30.0
MISSED_MIN = 3  # a server is not failed because we ourselves stood still
MOVED_AFTER_S = 2.5  # of silence, before the same id may speak from another address
REAPED_AFTER_S = {FAILED: 72 * 3600.0, LEFT: 24 * 3600.0}
MEMBERS_MAX = 500  # so that nobody can make us remember, and call, without end
COPY = "is its data directory a copy?"  # what two servers of one id are told
GONE = frozenset({FAILED, LEFT})
_RANK = {ALIVE: 0, LEAVING: 1, FAILED: 2, LEFT: 3}


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


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """What the rest of this server knows at one moment."""

    cluster: Cluster | None
    raft: RaftView

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


def hear(table: Table, hello: Hello, here: Here, now: float, *, answer: bool) -> Outcome:
    """Take in a hello; `answer` when it came in reply to one of ours.

    Raises Error(CONFLICT) for a server that is not one of us: the table stays as it is.
    """
    sender = hello.sender
    if sender.server_id == table.me.server_id:
        return _hear_own_id(table, hello)
    home = hello.region == table.me.itself.region
    old = home and _is_behind(hello.cluster, here.cluster)
    if home:
        _check_cluster(hello.cluster, here.cluster)
    _check_address(table, sender, now)
    if sender.server_id not in table.known and _is_full(table):
        raise Error(Code.TOO_MANY, f"{MEMBERS_MAX} other servers are known here; no more are taken")
    before = table
    table = _with_leader(table, hello, here, now, home=home and not old)
    table = _with_sender(table, hello, now, answer=answer)
    if not old:
        table = _with_others(table, hello, now)
    if home and _is_behind(here.cluster, hello.cluster):
        table = _replace(table, ahead=hello.cluster)
    return Outcome(table, (*_changes(before, table), *_disagreements(table, sender, here)))


def _hear_own_id(table: Table, hello: Hello) -> Outcome:
    """Our own hello come back by a roundabout address, or a stranger with our id."""
    if hello.sender.itself == table.me.itself:
        return Outcome(table)
    raise Error(
        Code.CONFLICT,
        f"another server has the id {table.me.server_id}; {COPY}",
    )


def _is_full(table: Table) -> bool:
    return len(table.known) >= MEMBERS_MAX


def _is_behind(one: Cluster | None, other: Cluster | None) -> bool:
    """Whether `one` is an earlier epoch of `other`."""
    return one is not None and other is not None and one.id == other.id and one.epoch < other.epoch


def _check_cluster(theirs: Cluster | None, ours: Cluster | None) -> None:
    if theirs is not None and ours is not None and theirs.id != ours.id:
        raise Error(
            Code.CONFLICT,
            f"server of another cluster: theirs is {theirs.id}, ours is {ours.id}; "
            "a server must leave one to join another",
        )
    if theirs is not None and ours is not None and theirs.is_fork_of(ours):
        raise Error(
            Code.CONFLICT,
            f"cluster {ours.id} was recovered twice, and epoch {ours.epoch} is not the same here "
            "and there: keep the servers of one recovery, stop those of the other, remove their "
            "data directories, start them again",
        )


def _check_address(table: Table, sender: Record, now: float) -> None:
    """One id speaks from one address. It may move, once it has fallen silent where it was."""
    if _speaks_elsewhere(table, sender, now):
        raise Error(
            Code.CONFLICT,
            f"a server with the id {sender.server_id} answers at another address; {COPY}",
        )


def _speaks_elsewhere(table: Table, told: Record, now: float) -> bool:
    mine, contact = table.known.get(told.server_id), table.contacts.get(told.server_id)
    if mine is None or contact is None or contact.raft is None or mine.record.status in GONE:
        return False
    return _moved(mine.record.itself, told.itself) and now - contact.answered < MOVED_AFTER_S


def _moved(one: Itself, other: Itself) -> bool:
    return (one.serf, one.rpc) != (other.serf, other.rpc)


def _with_leader(table: Table, hello: Hello, here: Here, now: float, *, home: bool) -> Table:
    """Who leads: at home the leader of the highest term, elsewhere whom its servers name."""
    sender = hello.sender
    if hello.region != table.me.itself.region:
        if hello.leader in {"", table.abroad.get(hello.region)}:
            return table
        return _replace(table, abroad={**table.abroad, hello.region: hello.leader})
    if not home or hello.raft is None or hello.raft.role != "leader":
        return table
    epoch = hello.cluster.epoch if hello.cluster else 0
    claim = (epoch, hello.raft.term)
    if here.leads and (here.epoch, here.raft.term) >= claim:
        return table
    old = table.leader
    # For who is in no cluster, a leader that is gone may have been another cluster's.
    if old is not None and here.cluster is None and now - old.heard >= FAILED_AFTER_S:
        old = None
    if old is not None and old.server_id != sender.server_id and (old.epoch, old.term) >= claim:
        return table
    leader = Leader(
        server_id=sender.server_id,
        epoch=epoch,
        term=hello.raft.term,
        heard=now,
        index=hello.raft.index,
        as_of=min(hello.echo_ms / 1_000, now) if hello.echo_ms else None,
    )
    return _replace(table, leader=leader)


def _with_sender(table: Table, hello: Hello, now: float, *, answer: bool) -> Table:
    """The sender's word on itself counts, unless we have heard a later one."""
    sender = hello.sender
    mine = table.known.get(sender.server_id)
    if mine is None or _is_later(sender, mine.record):
        table = _put(table, sender, now)
    if not answer:
        return table
    no_raft = RaftView(role="none", term=0, index=0, commit="")
    contact = Contact(
        answered=now,
        raft=hello.raft or no_raft,
        cluster=hello.cluster,
        recovery=hello.recovery,
    )
    return _replace(table, contacts={**table.contacts, sender.server_id: contact})


def _leads(table: Table, hello: Hello) -> bool:
    if hello.raft is None or hello.raft.role != "leader" or table.leader is None:
        return False
    return table.leader.server_id == hello.sender.server_id


def _with_others(table: Table, hello: Hello, now: float) -> Table:
    """What the sender says of third servers.

    A leader's table counts as it is; anybody else's adds to ours.
    """
    home = hello.region == table.me.itself.region
    trusted = home and _leads(table, hello)
    for told in hello.others:
        if told.server_id == table.me.server_id:
            table = _replace(table, me=_refuted(table.me, told))
        elif home or told.itself.region != table.me.itself.region:
            table = _with_other(table, told, now, trusted=trusted)
    if trusted:
        listed = {told.server_id for told in hello.others} | {hello.sender.server_id}
        table = _without(
            table,
            (
                server_id
                for server_id, known in table.known.items()
                if known.record.status in GONE and server_id not in listed
            ),
        )
    return table


def _refuted(me: Record, told: Record) -> Record:
    """Our own record, made later than what is said of us where that is not so.

    It also helps a server whose clock was set back before it started again.
    """
    if told.version < me.version or (told.version == me.version and told.status == me.status):
        return me
    return _renewed(me, told.next_version, me.status)


def _with_other(table: Table, told: Record, now: float, *, trusted: bool) -> Table:
    mine = table.known.get(told.server_id)
    if mine is None:
        # Hearsay of the dead is not believed: else nobody would ever be forgotten.
        wanted = (trusted or told.status not in GONE) and not _is_full(table)
        return _put(table, told, now) if wanted else table
    if told == mine.record or _speaks_elsewhere(table, told, now):
        return table
    if trusted and mine.record.status == FAILED:
        return _put(table, told, now)
    if not _is_later(told, mine.record):
        return table
    if told.status == FAILED and not trusted and _answers(table, told, now):
        return table
    return _put(table, told, now)


def _is_later(one: Record, other: Record) -> bool:
    if one.version != other.version:
        return one.version > other.version
    return _RANK[one.status] > _RANK[other.status]


def _answers(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts.get(record.server_id)
    return contact is not None and contact.raft is not None and not _is_silent(table, record, now)


def _put(table: Table, record: Record, now: float) -> Table:
    """The table with this record. One that comes alive gets time to answer."""
    server_id, contacts = record.server_id, table.contacts
    mine = table.known.get(server_id)
    same = mine is not None and mine.record.status == record.status
    since = mine.since if mine is not None and same else now
    if mine is None or (mine.record.status in GONE and record.status not in GONE):
        contacts = {**contacts, server_id: Contact(answered=now)}
    known = {**table.known, server_id: Known(record, since)}
    return _replace(table, known=known, contacts=contacts)


def _without(table: Table, server_ids: Iterable[str]) -> Table:
    gone = frozenset(server_ids)
    if not gone:
        return table
    known = {key: known for key, known in table.known.items() if key not in gone}
    contacts = {key: contact for key, contact in table.contacts.items() if key not in gone}
    return _replace(table, known=known, contacts=contacts)


# What time does


def missed(table: Table, server_id: str) -> Table:
    """A hello to this server had no answer."""
    contact = table.contacts.get(server_id)
    if contact is None:
        return table
    contact = msgspec.structs.replace(contact, missed=contact.missed + 1)
    return _replace(table, contacts={**table.contacts, server_id: contact})


def judge(table: Table, here: Here, now: float) -> Outcome:
    """Who has failed, and who is forgotten.

    In our region the leader decides who has failed; without a leader, each server for itself.
    """
    before = table
    table = _with_own_claim(table, here, now)
    decides = _decides(table, now)
    for known in before.known.values():
        record = known.record
        home = record.itself.region == table.me.itself.region
        if record.status not in GONE and (decides or not home) and _is_silent(table, record, now):
            status: Status = "failed" if record.status == ALIVE else "left"
            table = _put(table, _with_status(record, status), now)
        elif record.status in GONE and now - known.since >= REAPED_AFTER_S[record.status]:
            table = _without(table, [record.server_id])
    return Outcome(table, _changes(before, table))


def _with_own_claim(table: Table, here: Here, now: float) -> Table:
    me, leader = table.me.server_id, table.leader
    if here.leads:
        mine = Leader(server_id=me, epoch=here.epoch, term=here.raft.term, heard=now)
        beaten = leader is not None and leader.server_id != me
        if beaten and leader and (leader.epoch, leader.term) > (mine.epoch, mine.term):
            return table
        return _replace(table, leader=mine)
    if leader is not None and leader.server_id == me:
        return _replace(table, leader=None)
    return table


def _decides(table: Table, now: float) -> bool:
    leader = table.leader
    if leader is None or leader.server_id == table.me.server_id:
        return True
    return now - leader.heard >= FAILED_AFTER_S


def _is_silent(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts[record.server_id]
    patience_s = silence_s(table, record)
    return contact.missed >= MISSED_MIN and now - contact.answered >= patience_s


def silence_s(table: Table, record: Record) -> float:
    """How long a server may be silent before it has failed."""
    home = record.itself.region == table.me.itself.region
    return FAILED_AFTER_S if home else FAILED_AFTER_ABROAD_S


def next_verdict(table: Table, now: float) -> float:
    """Seconds until `judge` may find something that it does not find now."""
    waits = [60.0]
    for server_id, known in table.known.items():
        status = known.record.status
        if status in GONE:
            waits.append(known.since + REAPED_AFTER_S[status] - now)
        else:
            contact = table.contacts[server_id]
            left = contact.answered + silence_s(table, known.record) - now
            waits.append(left if left > 0 else 0.5)
    return max(0.001, min(waits))


# What an operator asks for


def force_leave(table: Table, member_name: str, now: float, *, prune: bool) -> Outcome:
    """A failed member becomes one that left; with `prune` it is forgotten. Others stay.

    Nomad: a live server is not put out this way, and a name nobody has is no error.
    """
    before = table
    for server_id, known in before.known.items():
        if known.record.itself.member_name != member_name or known.record.status not in GONE:
            continue
        if prune:
            table = _without(table, [server_id])
        elif known.record.status == FAILED:
            table = _put(table, _with_status(known.record, "left"), now)
    return Outcome(table, _changes(before, table))


def with_own_status(table: Table, status: Status) -> Table:
    """This server says that it leaves, or has left."""
    return _replace(table, me=_with_status(table.me, status))


def _with_status(record: Record, status: Status) -> Record:
    return _renewed(record, record.next_version, status)


def _renewed(record: Record, version: tuple[int, int], status: Status) -> Record:
    start_ns, status_seq = version
    return msgspec.structs.replace(record, start_ns=start_ns, status_seq=status_seq, status=status)


# What is told


def compose(table: Table, here: Here, now: float, *, abroad: bool, echo_ms: int = 0) -> Hello:
    """Our hello. Across regions it holds servers and leader, and nothing of the cluster.

    `echo_ms` is what the other one's clock showed when it last spoke to us.
    """
    since = since_leader(table, now)
    return Hello(
        region=table.me.itself.region,
        cluster=None if abroad else here.cluster,
        sender=table.me,
        others=tuple(known.record for known in table.known.values()),
        leader=leader_of_region(table, now),
        raft=None if abroad else here.raft,
        since_leader_ms=None if abroad or since is None else round(since * 1000),
        recovery=None if abroad else table.recovery,
        at_ms=int(now * 1_000),
        echo_ms=echo_ms,
    )


def leader_of_region(table: Table, now: float) -> str:
    """Who leads our region; "" when nobody has said so lately."""
    leader = table.leader
    if leader is None or (since_leader(table, now) or 0.0) >= FAILED_AFTER_S:
        return ""
    return leader.server_id


def since_leader(table: Table, now: float) -> float | None:
    """Seconds since the leader last spoke to us; 0 for the leader, None when there is none."""
    leader = table.leader
    if leader is None:
        return None
    return 0.0 if leader.server_id == table.me.server_id else max(0.0, now - leader.heard)


def conflicting_expectations(table: Table) -> tuple[Record, ...]:
    """Live servers of our region that expect another number of servers than we do."""
    mine = table.me.itself
    if not mine.bootstrap_expect:
        return ()
    return tuple(
        known.record
        for known in table.known.values()
        if known.record.status == ALIVE
        and known.record.itself.region == mine.region
        and known.record.itself.bootstrap_expect not in {0, mine.bootstrap_expect}
    )


def _disagreements(table: Table, sender: Record, here: Here) -> tuple[Note, ...]:
    """What is wrong with the sender for as long as it lasts."""
    itself, notes = sender.itself, []
    fields: dict[str, object] = {"name": itself.member_name, "server": sender.server_id}
    twins = _namesakes(table, itself)
    if twins and sender.status == ALIVE:
        notes.append(Note("name_taken", {**_named(itself), **_by(twins[0])}, lasting=True))
    if here.cluster is None and sender in conflicting_expectations(table):
        mine = table.me.itself.bootstrap_expect
        expected = {**fields, "theirs": itself.bootstrap_expect, "ours": mine}
        notes.append(Note("expect_differs", expected, lasting=True))
    return tuple(notes)


def _by(twin: Itself) -> dict[str, object]:
    hint = "give one of them another name, by -node or in its file, and restart it"
    return {"by": twin.server_id, "by_address": _named(twin)["address"], "hint": hint}


def _namesakes(table: Table, itself: Itself) -> list[Itself]:
    """Other live servers of the same name."""
    records = [table.me, *(known.record for known in table.known.values())]
    return [
        record.itself
        for record in records
        if record.itself.name == itself.name
        and record.itself.region == itself.region
        and record.server_id != itself.server_id
        and record.status not in GONE
    ]


def _changes(before: Table, after: Table) -> tuple[Note, ...]:
    """What has become of whom."""
    notes = []
    if before.ahead != after.ahead and after.ahead is not None:
        ahead = {"cluster": after.ahead.id, "epoch": after.ahead.epoch}
        notes.append(Note("cluster_ahead", ahead))
    if before.known is after.known:
        return tuple(notes)
    for server_id, known in after.known.items():
        old = before.known.get(server_id)
        notes.extend(_change(old.record if old else None, known.record))
    forgotten = (known for key, known in before.known.items() if key not in after.known)
    notes.extend(Note("member_forgotten", _named(known.record.itself)) for known in forgotten)
    return tuple(notes)


_EVENT_OF = {
    ALIVE: "member_alive",
    FAILED: "member_failed",
    LEAVING: "member_leaving",
    LEFT: "member_left",
}


def _change(old: Record | None, new: Record) -> list[Note]:
    fields, notes = _named(new.itself), []
    if old is None:
        return [Note("member_alive", fields)] if new.status == ALIVE else []
    if old.status != new.status:
        notes.append(Note(_EVENT_OF[new.status], fields))
    if _moved(old.itself, new.itself):
        moved = {"name": new.itself.member_name, "address": new.itself.rpc_address}
        notes.append(Note("address_changed", moved))
    return notes


def _named(itself: Itself) -> dict[str, object]:
    host, port = itself.serf
    return {"name": itself.member_name, "server": itself.server_id, "address": f"{host}:{port}"}


def _replace(table: Table, **fields: object) -> Table:
    return msgspec.structs.replace(table, **fields)
