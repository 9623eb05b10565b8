"""The rules of membership: what a server believes of the others, and what changes that.

Pure: every function takes the table, what was heard and the time, and returns a new table with what
is worth telling. Times are monotonic seconds of this process. Nothing here knows how a hello
travels.

A caller may say anything, in anybody's name. An answer is worth more: it came from the address that
was called. So a new leader, and the end of a server that answers, are believed of an answer alone;
what a caller says of them only makes this server ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from bellcow.errors import Code, Error
from bellcow.model.agent import ALIVE, FAILED, LEAVING, LEFT
from bellcow.model.hello import (
    COUNT_MAX,
    Cluster,
    Hello,
    Itself,
    RaftView,
    Record,
    Recovery,
    Status,
)
from bellcow.model.raft import RaftServer
from bellcow.wire import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

FAILED_AFTER_S = 5.0
FAILED_AFTER_ABROAD_S = 30.0
MISSED_MIN = 3  # a server is not failed because we ourselves stood still
MOVED_AFTER_S = 2.5  # of silence, before the same id may speak from another address
REAPED_AFTER_S = {FAILED: 72 * 3600.0, LEFT: 24 * 3600.0}
MEMBERS_MAX = 500  # so that nobody can make us remember, and call, without end
UNHEARD_MAX = 64  # of them, servers that were named here and have never answered
UNHEARD_REAPED_S = 60.0  # of failure, before one that never answered is forgotten
DAY_NS = 24 * 3600 * NS_PER_S  # further ahead of our clock nobody has started
SEQUENCE_AHEAD = 1_000_000  # changes of status that may have been missed
TERMS_AHEAD = 2**32  # elections that may have been missed: one a second for 136 years
INDEXES_AHEAD = 2**40  # commits that memory may lack: a million a second for twelve days
EPOCHS_AHEAD = 1_000  # recoveries that may have been missed; each is made by hand
ACL_HINT = "write acl { enabled = true } into the file of every server and restart it"
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


class Here(msgspec.Struct, frozen=True, kw_only=True):
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
    before = table
    if sender.server_id not in table.known:
        table = _with_place(table)
    table = _with_leader(table, hello, here, now, home=home and not old, answer=answer)
    table = _with_sender(table, hello, here, now, answer=answer)
    if not old:
        table = _with_others(table, hello, here, now, answer=answer)
    if home and _is_behind(here.cluster, hello.cluster):
        table = _replace(table, ahead=hello.cluster)
    return Outcome(table, (*_changes(before, table), *_disagreements(table, sender, here)))


# How the texts begin with which a server refuses a hello, here and in its decoder.
_REFUSALS = (
    "another server has the id",
    "a server with the id",
    "server of another cluster",
    "cluster ",
    "epoch ",
    f"{MEMBERS_MAX} other servers",
    "this is not a hello",
    "this hello",
)


def is_refusal(text: str) -> bool:
    """Whether a text is one with which a server refuses a hello, and not a stranger's answer."""
    return text.startswith(_REFUSALS)


def _hear_own_id(table: Table, hello: Hello) -> Outcome:
    """Our own hello come back by a roundabout address, or a stranger with our id."""
    if hello.sender.itself == table.me.itself:
        return Outcome(table)
    raise Error(
        Code.CONFLICT,
        f"another server has the id {table.me.server_id}; {COPY}",
    )


def _with_place(table: Table) -> Table:
    """The table with a place for a server that speaks for itself.

    One that was only ever named goes for it. Raises Error(TOO_MANY) when all are known to answer.
    """
    unheard = _unheard(table)
    if len(unheard) < UNHEARD_MAX and not _is_full(table):
        return table
    if not unheard:
        raise Error(Code.TOO_MANY, f"{MEMBERS_MAX} other servers are known here; no more are taken")
    return _without(table, [min(unheard, key=lambda each: table.known[each].since)])


def _is_full(table: Table) -> bool:
    return len(table.known) >= MEMBERS_MAX


def _unheard(table: Table) -> list[str]:
    """Servers that have never answered."""
    return [each for each, contact in table.contacts.items() if not contact.heard]


def _is_behind(one: Cluster | None, other: Cluster | None) -> bool:
    """Whether `one` is an earlier epoch of `other`."""
    return one is not None and other is not None and one.id == other.id and one.epoch < other.epoch


def _check_cluster(theirs: Cluster | None, ours: Cluster | None) -> None:
    if theirs is not None and ours is not None and theirs.id != ours.id:
        raise Error(
            Code.CONFLICT,
            f"server of another cluster: theirs is {theirs.id}, ours is {ours.id}; "
            "a server must leave one to join another: stop it, move its data_dir away, start it",
        )
    if theirs is not None and ours is not None and theirs.is_fork_of(ours):
        raise Error(
            Code.CONFLICT,
            f"cluster {ours.id} was recovered twice, and epoch {ours.epoch} is not the same here "
            "and there: keep the servers of one recovery, stop those of the other, remove their "
            "data directories, start them again",
        )
    if theirs is not None and ours is not None and theirs.epoch - ours.epoch > EPOCHS_AHEAD:
        raise Error(
            Code.CONFLICT,
            f"epoch {theirs.epoch} of cluster {ours.id} is too far ahead of ours, {ours.epoch}",
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


def _with_leader(
    table: Table, hello: Hello, here: Here, now: float, *, home: bool, answer: bool
) -> Table:
    """Who leads: at home the leader of the highest term, elsewhere whom its servers name."""
    sender = hello.sender
    if hello.region != table.me.itself.region:
        return _with_leader_abroad(table, hello)
    if not home or hello.raft is None:
        return table
    old = table.leader
    if hello.raft.role != "leader":
        deposed = answer and old is not None and old.server_id == sender.server_id
        return _replace(table, leader=None) if deposed else table
    known = hello.raft.index - here.raft.index <= INDEXES_AHEAD  # else nothing follows from it
    claim = Leader(
        server_id=sender.server_id,
        epoch=hello.cluster.epoch if hello.cluster else 0,
        term=hello.raft.term,
        heard=now,
        index=hello.raft.index if known else 0,
        as_of=min(hello.echo_ms / 1_000, now) if hello.echo_ms and known else None,
    )
    if not _is_credible(claim, here) or not _beats(claim, old, here, now):
        return table
    if answer or (old is not None and _is_same_claim(claim, old)):
        return _replace(table, leader=claim)
    return _with_doubt(table, sender.server_id, None)


def _with_leader_abroad(table: Table, hello: Hello) -> Table:
    region = hello.region
    if hello.leader in {"", table.abroad.get(region)}:
        return table
    if region not in table.abroad and len(table.abroad) >= MEMBERS_MAX:
        return table
    return _replace(table, abroad={**table.abroad, region: hello.leader})


def _is_credible(claim: Leader, here: Here) -> bool:
    """Whether a server may lead in that term, by what this one knows of its own cluster.

    The head in memory names the leader of its term. A member that has a leader hears of a later
    term from it; one that has none, and a server without a member, may be far behind.
    """
    if here.cluster is None or claim.epoch != here.epoch:
        return True
    term = here.raft.term
    if claim.term <= term:
        return claim.term == term and here.claimant in {"", claim.server_id}
    if here.member_term and here.raft.works:
        return claim.term <= here.member_term
    return claim.term - max(term, here.member_term) <= TERMS_AHEAD


def _beats(claim: Leader, old: Leader | None, here: Here, now: float) -> bool:
    """Whether this claim counts, and not our own or that of the leader before it."""
    term = (claim.epoch, claim.term)
    if here.leads and (here.epoch, here.raft.term) >= term:
        return False
    if old is None or old.server_id == claim.server_id or now - old.heard >= FAILED_AFTER_S:
        return True
    if claim.epoch == old.epoch and here.servers:
        configured, was = (each.server_id in here.servers for each in (claim, old))
        if configured != was:
            return configured
    return term > (old.epoch, old.term)


def _is_same_claim(one: Leader, other: Leader) -> bool:
    return (one.server_id, one.epoch, one.term) == (other.server_id, other.epoch, other.term)


def _with_doubt(table: Table, server_id: str, told: Record | None) -> Table:
    """The table with a question to a server. What may end it is not forgotten over another one."""
    contact, old = table.contacts.get(server_id), table.doubts.get(server_id)
    if contact is None or (old is not None and (told is None or old.told is not None)):
        return table
    return _replace(table, doubts={**table.doubts, server_id: Doubt(told, contact.missed)})


def _without_doubt(table: Table, server_id: str) -> Table:
    if server_id not in table.doubts:
        return table
    return _replace(table, doubts={k: d for k, d in table.doubts.items() if k != server_id})


def _with_sender(table: Table, hello: Hello, here: Here, now: float, *, answer: bool) -> Table:
    """The sender's word on itself counts, unless we have heard a later one."""
    sender = hello.sender
    mine = table.known.get(sender.server_id)
    if mine is None or _counts(sender, mine.record, here, answer=answer):
        if sender.status == LEFT and not answer and mine and _seems_to_stay(table, mine, now):
            table = _with_doubt(table, sender.server_id, sender)
        else:
            table = _put(table, sender, now)
    if not answer:
        return table
    no_raft = RaftView(role="none", term=0, index=0, commit="")
    contact = Contact(
        answered=now,
        raft=hello.raft or no_raft,
        cluster=hello.cluster,
        recovery=hello.recovery,
        status=sender.status,
        heard=True,
    )
    table = _without_doubt(table, sender.server_id)
    return _replace(table, contacts={**table.contacts, sender.server_id: contact})


def _counts(told: Record, mine: Record, here: Here, *, answer: bool) -> bool:
    """Whether a server's word on itself replaces what is known of it.

    What nobody could say anything later than does not stand against the server's own word.
    """
    if told == mine:
        return False
    if _is_far(mine, None, here.wall_ns):
        return True
    return _is_later(told, mine) and (answer or not _is_far(told, mine, here.wall_ns))


def _is_far(told: Record, mine: Record | None, wall_ns: int) -> bool:
    """Whether a version is far ahead of our clock and of the one that we know, if any.

    Our clock alone does not decide, for it may be years behind after a start.
    """
    start_ns, sequence = mine.version if mine is not None else (0, 0)
    if told.start_ns > max(wall_ns, start_ns) + DAY_NS:
        return True
    return told.status_seq - (sequence if told.start_ns == start_ns else 0) > SEQUENCE_AHEAD


def _leads(table: Table, hello: Hello) -> bool:
    if hello.raft is None or hello.raft.role != "leader" or table.leader is None:
        return False
    return table.leader.server_id == hello.sender.server_id


def _with_others(table: Table, hello: Hello, here: Here, now: float, *, answer: bool) -> Table:
    """What the sender says of third servers.

    The table in a leader's answer counts as it is; anybody else's adds to ours.
    """
    home = hello.region == table.me.itself.region
    trusted = home and answer and _leads(table, hello)
    # Who speaks has a clock as well, should ours be years behind.
    latest_ns = max(here.wall_ns, hello.sender.start_ns)
    for told in hello.others:
        if told.server_id == table.me.server_id:
            if not _is_far(told, table.me, latest_ns):
                table = _replace(table, me=_refuted(table.me, told))
        elif home or told.itself.region != table.me.itself.region:
            table = _with_other(table, told, here, now, trusted=trusted)
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


def _with_other(table: Table, told: Record, here: Here, now: float, *, trusted: bool) -> Table:
    known = table.known.get(told.server_id)
    if known is None:
        return _with_stranger(table, told, here, now, trusted=trusted)
    mine = known.record
    if told == mine or _speaks_elsewhere(table, told, now) or _is_far(told, mine, here.wall_ns):
        return table
    if trusted and mine.status == FAILED:
        return _put(table, told, now)
    if not _is_later(told, mine):
        return table
    if told.status == FAILED and not trusted and _answers(table, told, now):
        return table
    if told.status == LEFT and _seems_to_stay(table, known, now):
        return _with_doubt(table, told.server_id, told)
    return _put(table, told, now)


def _with_stranger(table: Table, told: Record, here: Here, now: float, *, trusted: bool) -> Table:
    """A server that we hear of for the first time, as long as not too many of them are silent.

    Hearsay of the dead is not believed: else nobody would ever be forgotten.
    """
    if told.status in GONE and (not trusted or _is_far(told, None, here.wall_ns)):
        return table
    if _is_full(table) or len(_unheard(table)) >= UNHEARD_MAX:
        return table
    return _put(table, told, now)


def _is_later(one: Record, other: Record) -> bool:
    if one.version != other.version:
        return one.version > other.version
    return _RANK[one.status] > _RANK[other.status]


def _answers(table: Table, record: Record, now: float) -> bool:
    contact = table.contacts.get(record.server_id)
    return contact is not None and contact.raft is not None and not _is_silent(table, record, now)


def _seems_to_stay(table: Table, known: Known, now: float) -> bool:
    """Whether a server answers, and has not said in an answer that it leaves."""
    server_id = known.record.server_id
    return _answers(table, known.record, now) and table.contacts[server_id].status == ALIVE


def _put(table: Table, record: Record, now: float) -> Table:
    """The table with this record. One that comes alive gets time to answer."""
    server_id, contacts = record.server_id, table.contacts
    mine = table.known.get(server_id)
    same = mine is not None and mine.record.status == record.status
    since = mine.since if mine is not None and same else now
    if mine is None or (mine.record.status in GONE and record.status not in GONE):
        heard = mine is not None and contacts[server_id].heard
        contacts = {**contacts, server_id: Contact(answered=now, heard=heard)}
    known = {**table.known, server_id: Known(record, since)}
    return _replace(table, known=known, contacts=contacts)


def _without(table: Table, server_ids: Iterable[str]) -> Table:
    gone = frozenset(server_ids)
    if not gone:
        return table
    known = {key: known for key, known in table.known.items() if key not in gone}
    contacts = {key: contact for key, contact in table.contacts.items() if key not in gone}
    doubts = {key: doubt for key, doubt in table.doubts.items() if key not in gone}
    return _replace(table, known=known, contacts=contacts, doubts=doubts)


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
    table = _with_doubts_settled(table, now)
    decides = _decides(table, now)
    for known in table.known.values():
        record = known.record
        ours = decides or record.itself.region != table.me.itself.region
        if record.status not in GONE and ours and _is_silent(table, record, now):
            status: Status = "failed" if record.status == ALIVE else "left"
            table = _put(table, _with_status(record, status), now)
        elif record.status in GONE and now - known.since >= _reaped_after_s(table, record, ours):
            table = _without(table, [record.server_id])
    return Outcome(table, _changes(before, table))


def _with_doubts_settled(table: Table, now: float) -> Table:
    """What was said of servers that did not answer when they were asked about it holds."""
    for server_id, doubt in table.doubts.items():
        if table.contacts[server_id].missed > doubt.missed:
            if doubt.told is not None:
                table = _put(table, doubt.told, now)
            table = _without_doubt(table, server_id)
    return table


def _reaped_after_s(table: Table, record: Record, ours: bool) -> float:
    """Seconds until a dead server is forgotten; `ours` when nobody else decides about it."""
    if ours and not table.contacts[record.server_id].heard:
        return UNHEARD_REAPED_S
    return REAPED_AFTER_S[record.status]


def _with_own_claim(table: Table, here: Here, now: float) -> Table:
    me, leader = table.me.server_id, table.leader
    if here.leads:
        mine = Leader(server_id=me, epoch=here.epoch, term=here.raft.term, heard=now)
        other = leader if leader is not None and leader.server_id != me else None
        speaks = other is not None and now - other.heard < FAILED_AFTER_S
        if other and speaks and (other.epoch, other.term) > (mine.epoch, mine.term):
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
    waits, decides = [60.0], _decides(table, now)
    for server_id, known in table.known.items():
        if known.record.status in GONE:
            ours = decides or known.record.itself.region != table.me.itself.region
            waits.append(known.since + _reaped_after_s(table, known.record, ours) - now)
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
    if _differ_in_acl(table.me.itself, itself) and sender.status == ALIVE:
        settings = {"theirs": itself.acl, "ours": table.me.itself.acl, "hint": ACL_HINT}
        notes.append(Note("acl_differs", {**fields, **settings}, lasting=True))
    return tuple(notes)


def _differ_in_acl(mine: Itself, theirs: Itself) -> bool:
    return mine.region == theirs.region and {mine.acl, theirs.acl} == {True, False}


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
