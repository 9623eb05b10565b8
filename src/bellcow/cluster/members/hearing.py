"""Rules for a received hello: which claims are accepted, and how the table of members changes.

Pure. A caller may claim anything, in any server's name. An answer is more reliable, because it
came from the address that was called. So a new leader, or that a live server has left, is accepted
only from an answer; the claim of a caller only makes this server call the server in question.
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
from bellcow.gocompat.duration import NS_PER_S
from bellcow.model.agent import ALIVE, FAILED, LEAVING, LEFT
from bellcow.model.hello import Cluster, Hello, RaftView, Record

if TYPE_CHECKING:
    from bellcow.cluster.members.table import Table

# The most that a claim may be ahead of what this server knows. Beyond that it is a fault or a
# forgery, and to accept it would shut out all later claims.
DAY_NS = 24 * 3600 * NS_PER_S  # a start time ahead of our clock
SEQUENCE_AHEAD = 1_000_000  # missed changes of status
TERMS_AHEAD = 2**32  # missed elections: one a second for 136 years
INDEXES_AHEAD = 2**40  # missed commits: a million a second for twelve days
EPOCHS_AHEAD = 1_000  # missed recoveries; each is made by hand
COPY = "is its data directory a copy?"  # asked of two servers with one id
_RANK = {ALIVE: 0, LEAVING: 1, FAILED: 2, LEFT: 3}


def hear(table: Table, hello: Hello, inputs: Inputs, now: float, *, answer: bool) -> Outcome:
    """The table after a hello; `answer` is true if it replies to one of ours.

    After an error the table must not change.

    Raises:
        Error: CONFLICT, the sender has our id, another address, cluster or recovery; TOO_MANY, the
            table is full.
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
        table = _with_room(table)
    table = _with_leader(table, hello, inputs, now, home=home and not old, answer=answer)
    table = _with_sender(table, hello, inputs, now, answer=answer)
    if not old:
        table = _with_others(table, hello, inputs, now, answer=answer)
    if home and _is_behind(inputs.cluster, hello.cluster):
        table = replace(table, ahead=hello.cluster)
    return Outcome(table, (*changes(before, table), *disagreements(table, sender, inputs)))


# The beginnings of all texts that refuse a hello, here and in its decoder.
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
    """Whether a text is a server's refusal of a hello, and not the answer of another service."""
    return text.startswith(_REFUSALS)


def _hear_own_id(table: Table, hello: Hello) -> Outcome:
    """Ignore our own hello, sent to an address that leads back here; refuse another server.

    Raises:
        Error: CONFLICT, another server has our id.
    """
    if hello.sender.itself == table.me.itself:
        return Outcome(table)
    raise Error(
        Code.CONFLICT,
        f"another server has the id {table.me.server_id}; {COPY}",
    )


def _with_room(table: Table) -> Table:
    """The table with room for a server that has sent a hello itself.

    If it is full, the oldest server that never answered is removed.

    Raises:
        Error: TOO_MANY, all have answered.
    """
    unheard = never_answered(table)
    if len(unheard) < UNHEARD_MAX and not is_full(table):
        return table
    if not unheard:
        raise Error(
            Code.TOO_MANY, f"{MEMBERS_MAX} other servers are known here; no more are accepted"
        )
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
    """Check that no other server has the sender's id; a silent server may move.

    Raises:
        Error: CONFLICT, the id answers at another address.
    """
    if speaks_elsewhere(table, sender, now):
        raise Error(
            Code.CONFLICT,
            f"a server with the id {sender.server_id} answers at another address; {COPY}",
        )


def _with_leader(
    table: Table, hello: Hello, inputs: Inputs, now: float, *, home: bool, answer: bool
) -> Table:
    """The leader: of our region by the highest term, of another one as its servers report."""
    sender = hello.sender
    if hello.region != table.me.itself.region:
        return _with_leader_abroad(table, hello)
    if not home or hello.raft is None:
        return table
    old = table.leader
    if hello.raft.role != "leader":
        deposed = answer and old is not None and old.server_id == sender.server_id
        return replace(table, leader=None) if deposed else table
    plausible = hello.raft.index - inputs.raft.index <= INDEXES_AHEAD  # else the index is ignored
    claim = Leader(
        server_id=sender.server_id,
        epoch=hello.cluster.epoch if hello.cluster else 0,
        term=hello.raft.term,
        heard=now,
        index=hello.raft.index if plausible else 0,
        as_of=min(hello.echo_ms / 1_000, now) if hello.echo_ms and plausible else None,
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
    """Whether the claim agrees with what this server knows of its own cluster.

    The head in memory names the leader of its term. Our etcd member, while it has a leader, knows
    the latest term. Without one, or without a member, this server may be far behind.
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
    """Whether this claim replaces our own and that of the former leader."""
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
    """The table with the sender's record of itself, unless we have a later one."""
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


def _counts(claimed: Record, mine: Record, inputs: Inputs, *, answer: bool) -> bool:
    """Whether a server's record of itself replaces ours.

    It always does if ours has an impossible version: the server could never exceed it.
    """
    if claimed == mine:
        return False
    if _is_far(mine, None, inputs.wall_ns):
        return True
    return _is_later(claimed, mine) and (answer or not _is_far(claimed, mine, inputs.wall_ns))


def _is_far(claimed: Record, mine: Record | None, wall_ns: int) -> bool:
    """Whether a version is too far ahead of our clock and of the known record, if any.

    The clock alone does not decide: it may be years behind after a start.
    """
    start_ns, sequence = mine.version if mine is not None else (0, 0)
    if claimed.start_ns > max(wall_ns, start_ns) + DAY_NS:
        return True
    return claimed.status_seq - (sequence if claimed.start_ns == start_ns else 0) > SEQUENCE_AHEAD


def _leads(table: Table, hello: Hello) -> bool:
    if hello.raft is None or hello.raft.role != "leader" or table.leader is None:
        return False
    return table.leader.server_id == hello.sender.server_id


def _with_others(table: Table, hello: Hello, inputs: Inputs, now: float, *, answer: bool) -> Table:
    """The table with the sender's records of third servers.

    The table in a leader's answer is authoritative; another sender's only adds to ours.
    """
    home = hello.region == table.me.itself.region
    trusted = home and answer and _leads(table, hello)
    # The sender's clock counts too, in case ours is years behind.
    latest_ns = max(inputs.wall_ns, hello.sender.start_ns)
    for claimed in hello.others:
        if claimed.server_id == table.me.server_id:
            if not _is_far(claimed, table.me, latest_ns):
                table = replace(table, me=_refuted(table.me, claimed))
        elif home or claimed.itself.region != table.me.itself.region:
            table = _with_other(table, claimed, inputs, now, trusted=trusted)
    if trusted:
        listed = {claimed.server_id for claimed in hello.others} | {hello.sender.server_id}
        table = without(
            table,
            (
                server_id
                for server_id, known in table.known.items()
                if known.record.status in GONE and server_id not in listed
            ),
        )
    return table


def _refuted(me: Record, claimed: Record) -> Record:
    """Our own record; with a later version if another server has a different one.

    This also corrects the version after a start with a clock that was set back.
    """
    if claimed.version < me.version or (
        claimed.version == me.version and claimed.status == me.status
    ):
        return me
    return renewed(me, claimed.next_version, me.status)


def _with_other(
    table: Table, claimed: Record, inputs: Inputs, now: float, *, trusted: bool
) -> Table:
    known = table.known.get(claimed.server_id)
    if known is None:
        return _with_stranger(table, claimed, inputs, now, trusted=trusted)
    mine = known.record
    if (
        claimed == mine
        or speaks_elsewhere(table, claimed, now)
        or _is_far(claimed, mine, inputs.wall_ns)
    ):
        return table
    if trusted and mine.status == FAILED:
        return put(table, claimed, now)
    if not _is_later(claimed, mine):
        return table
    if claimed.status == FAILED and not trusted and answers(table, claimed, now):
        return table
    if claimed.status == LEFT and _seems_to_stay(table, known, now):
        return with_doubt(table, claimed.server_id, claimed)
    return put(table, claimed, now)


def _with_stranger(
    table: Table, claimed: Record, inputs: Inputs, now: float, *, trusted: bool
) -> Table:
    """The table with a server that was unknown, unless too many have never answered.

    Dead servers are accepted from the leader alone. Otherwise servers would name them to each
    other for ever.
    """
    if claimed.status in GONE and (not trusted or _is_far(claimed, None, inputs.wall_ns)):
        return table
    if is_full(table) or len(never_answered(table)) >= UNHEARD_MAX:
        return table
    return put(table, claimed, now)


def _is_later(one: Record, other: Record) -> bool:
    if one.version != other.version:
        return one.version > other.version
    return _RANK[one.status] > _RANK[other.status]


def _seems_to_stay(table: Table, known: Known, now: float) -> bool:
    """Whether a server answers, and its last answer does not say that it leaves."""
    server_id = known.record.server_id
    return answers(table, known.record, now) and table.contacts[server_id].status == ALIVE
