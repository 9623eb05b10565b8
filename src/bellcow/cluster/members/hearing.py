"""The rules for a hello: what a server believes of it, and how the table of members changes.

Pure. A caller may say anything, in anybody's name. An answer is worth more: it came from the
address that was called. So a new leader, and the end of a server that answers, are believed of an
answer alone; what a caller says of them only makes this server ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.cluster.members.notes import changes, disagreements
from bellcow.cluster.members.table import (
    FAILED_AFTER_S,
    GONE,
    MEMBERS_MAX,
    UNHEARD_MAX,
    Contact,
    Inputs,
    Known,
    Leader,
    Outcome,
    answers,
    is_full,
    never_answered,
    put,
    renewed,
    replace,
    speaks_elsewhere,
    with_doubt,
    without,
    without_doubt,
)
from bellcow.errors import Code, Error
from bellcow.model.agent import ALIVE, FAILED, LEAVING, LEFT
from bellcow.model.hello import Cluster, Hello, RaftView, Record
from bellcow.wire import NS_PER_S

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table

DAY_NS = 24 * 3600 * NS_PER_S  # further ahead of our clock nobody has started
SEQUENCE_AHEAD = 1_000_000  # changes of status that may have been missed
TERMS_AHEAD = 2**32  # elections that may have been missed: one a second for 136 years
INDEXES_AHEAD = 2**40  # commits that memory may lack: a million a second for twelve days
EPOCHS_AHEAD = 1_000  # recoveries that may have been missed; each is made by hand
COPY = "is its data directory a copy?"  # what two servers of one id are told
_RANK = {ALIVE: 0, LEAVING: 1, FAILED: 2, LEFT: 3}


def hear(table: Table, hello: Hello, inputs: Inputs, now: float, *, answer: bool) -> Outcome:
    """Take in a hello; `answer` when it came in reply to one of ours.

    Raises Error(CONFLICT) for a server that is not one of us: the table stays as it is.
    """
    sender = hello.sender
    if sender.server_id == table.me.server_id:
        return _hear_own_id(table, hello)
    home = hello.region == table.me.itself.region
    old = home and _is_behind(hello.cluster, inputs.cluster)
    if home:
        _check_cluster(hello.cluster, inputs.cluster)
    _check_address(table, sender, now)
    before = table
    if sender.server_id not in table.known:
        table = _with_place(table)
    table = _with_leader(table, hello, inputs, now, home=home and not old, answer=answer)
    table = _with_sender(table, hello, inputs, now, answer=answer)
    if not old:
        table = _with_others(table, hello, inputs, now, answer=answer)
    if home and _is_behind(inputs.cluster, hello.cluster):
        table = replace(table, ahead=hello.cluster)
    return Outcome(table, (*changes(before, table), *disagreements(table, sender, inputs)))


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
    unheard = never_answered(table)
    if len(unheard) < UNHEARD_MAX and not is_full(table):
        return table
    if not unheard:
        raise Error(Code.TOO_MANY, f"{MEMBERS_MAX} other servers are known here; no more are taken")
    return without(table, [min(unheard, key=lambda each: table.known[each].since)])


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
    if speaks_elsewhere(table, sender, now):
        raise Error(
            Code.CONFLICT,
            f"a server with the id {sender.server_id} answers at another address; {COPY}",
        )


def _with_leader(
    table: Table, hello: Hello, inputs: Inputs, now: float, *, home: bool, answer: bool
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
        return replace(table, leader=None) if deposed else table
    known = hello.raft.index - inputs.raft.index <= INDEXES_AHEAD  # else nothing follows from it
    claim = Leader(
        server_id=sender.server_id,
        epoch=hello.cluster.epoch if hello.cluster else 0,
        term=hello.raft.term,
        heard=now,
        index=hello.raft.index if known else 0,
        as_of=min(hello.echo_ms / 1_000, now) if hello.echo_ms and known else None,
    )
    if not _is_credible(claim, inputs) or not _beats(claim, old, inputs, now):
        return table
    if answer or (old is not None and _is_same_claim(claim, old)):
        return replace(table, leader=claim)
    return with_doubt(table, sender.server_id, None)


def _with_leader_abroad(table: Table, hello: Hello) -> Table:
    region = hello.region
    if hello.leader in {"", table.abroad.get(region)}:
        return table
    if region not in table.abroad and len(table.abroad) >= MEMBERS_MAX:
        return table
    return replace(table, abroad={**table.abroad, region: hello.leader})


def _is_credible(claim: Leader, inputs: Inputs) -> bool:
    """Whether a server may lead in that term, by what this one knows of its own cluster.

    The head in memory names the leader of its term. A member that has a leader hears of a later
    term from it; one that has none, and a server without a member, may be far behind.
    """
    if inputs.cluster is None or claim.epoch != inputs.epoch:
        return True
    term = inputs.raft.term
    if claim.term <= term:
        return claim.term == term and inputs.claimant in {"", claim.server_id}
    if inputs.member_term and inputs.raft.works:
        return claim.term <= inputs.member_term
    return claim.term - max(term, inputs.member_term) <= TERMS_AHEAD


def _beats(claim: Leader, old: Leader | None, inputs: Inputs, now: float) -> bool:
    """Whether this claim counts, and not our own or that of the leader before it."""
    term = (claim.epoch, claim.term)
    if inputs.leads and (inputs.epoch, inputs.raft.term) >= term:
        return False
    if old is None or old.server_id == claim.server_id or now - old.heard >= FAILED_AFTER_S:
        return True
    if claim.epoch == old.epoch and inputs.servers:
        configured, was = (each.server_id in inputs.servers for each in (claim, old))
        if configured != was:
            return configured
    return term > (old.epoch, old.term)


def _is_same_claim(one: Leader, other: Leader) -> bool:
    return (one.server_id, one.epoch, one.term) == (other.server_id, other.epoch, other.term)


def _with_sender(table: Table, hello: Hello, inputs: Inputs, now: float, *, answer: bool) -> Table:
    """The sender's word on itself counts, unless we have heard a later one."""
    sender = hello.sender
    mine = table.known.get(sender.server_id)
    if mine is None or _counts(sender, mine.record, inputs, answer=answer):
        if sender.status == LEFT and not answer and mine and _seems_to_stay(table, mine, now):
            table = with_doubt(table, sender.server_id, sender)
        else:
            table = put(table, sender, now)
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
    table = without_doubt(table, sender.server_id)
    return replace(table, contacts={**table.contacts, sender.server_id: contact})


def _counts(told: Record, mine: Record, inputs: Inputs, *, answer: bool) -> bool:
    """Whether a server's word on itself replaces what is known of it.

    What nobody could say anything later than does not stand against the server's own word.
    """
    if told == mine:
        return False
    if _is_far(mine, None, inputs.wall_ns):
        return True
    return _is_later(told, mine) and (answer or not _is_far(told, mine, inputs.wall_ns))


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


def _with_others(table: Table, hello: Hello, inputs: Inputs, now: float, *, answer: bool) -> Table:
    """What the sender says of third servers.

    The table in a leader's answer counts as it is; anybody else's adds to ours.
    """
    home = hello.region == table.me.itself.region
    trusted = home and answer and _leads(table, hello)
    # Who speaks has a clock as well, should ours be years behind.
    latest_ns = max(inputs.wall_ns, hello.sender.start_ns)
    for told in hello.others:
        if told.server_id == table.me.server_id:
            if not _is_far(told, table.me, latest_ns):
                table = replace(table, me=_refuted(table.me, told))
        elif home or told.itself.region != table.me.itself.region:
            table = _with_other(table, told, inputs, now, trusted=trusted)
    if trusted:
        listed = {told.server_id for told in hello.others} | {hello.sender.server_id}
        table = without(
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
    return renewed(me, told.next_version, me.status)


def _with_other(table: Table, told: Record, inputs: Inputs, now: float, *, trusted: bool) -> Table:
    known = table.known.get(told.server_id)
    if known is None:
        return _with_stranger(table, told, inputs, now, trusted=trusted)
    mine = known.record
    if told == mine or speaks_elsewhere(table, told, now) or _is_far(told, mine, inputs.wall_ns):
        return table
    if trusted and mine.status == FAILED:
        return put(table, told, now)
    if not _is_later(told, mine):
        return table
    if told.status == FAILED and not trusted and answers(table, told, now):
        return table
    if told.status == LEFT and _seems_to_stay(table, known, now):
        return with_doubt(table, told.server_id, told)
    return put(table, told, now)


def _with_stranger(
    table: Table, told: Record, inputs: Inputs, now: float, *, trusted: bool
) -> Table:
    """A server that we hear of for the first time, as long as not too many of them are silent.

    Hearsay of the dead is not believed: else nobody would ever be forgotten.
    """
    if told.status in GONE and (not trusted or _is_far(told, None, inputs.wall_ns)):
        return table
    if is_full(table) or len(never_answered(table)) >= UNHEARD_MAX:
        return table
    return put(table, told, now)


def _is_later(one: Record, other: Record) -> bool:
    if one.version != other.version:
        return one.version > other.version
    return _RANK[one.status] > _RANK[other.status]


def _seems_to_stay(table: Table, known: Known, now: float) -> bool:
    """Whether a server answers, and has not said in an answer that it leaves."""
    server_id = known.record.server_id
    return answers(table, known.record, now) and table.contacts[server_id].status == ALIVE
