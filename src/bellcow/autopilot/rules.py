"""Autopilot's rules: the health of the servers, promotions, and the removal of dead servers.

Pure: the loop gathers `Inputs`, time included, and acts on the results. The rules are those of
hashicorp/raft-autopilot, which names its files in the docstrings below, and of Nomad's page
"Autopilot"; where a rule differs, its docstring says so.
"""

from __future__ import annotations

import msgspec

from bellcow.gocompat.duration import NS_PER_S, Duration
from bellcow.gocompat.time import rfc3339_seconds
from bellcow.model.agent import ALIVE, FAILED, LEFT
from bellcow.model.autopilot import (
    AutopilotConfiguration,
    ClusterHealth,
    RemovedReply,
    ServerHealth,
)
from bellcow.model.raft import AUTOPILOT, RaftServer, RemovedServer

UNKNOWN_CONTACT = Duration(-1)
UNKNOWN_STATUS = "none"
# Chosen; raft-autopilot (reconcile.go, `pruneDeadServers`) waits for neither. A new leader hears of
# the others one by one, so an unknown server gets as long as a failed one: 5 s to fail, 10 s more.
UNKNOWN_IS_DEAD_AFTER_S = 15.0
REMOVED_AFTER_S = 10.0  # after it has failed, so that a slow restart costs no vote
REMEMBERED_S = 24 * 3_600.0  # chosen: as long as a server that left stays in the member list


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A server's last answer: how long ago its last contact was, and its last term and index.

    `is_earlier` is set when the answer, and so its term, is older than this leadership.
    """

    last_contact: Duration
    last_term: int
    last_index: int
    is_earlier: bool = False


class Silence(msgspec.Struct, frozen=True):
    """Seconds since a server was marked as failed, and since its last answer."""

    failed_s: float
    silent_s: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs about one server.

    `contact` is None for a server that did not answer, `silence` for one that has not failed.
    """

    server: RaftServer
    serf_status: str = UNKNOWN_STATUS
    version: str = ""
    non_voting: bool = False  # by its own settings
    contact: Contact | None = None
    silence: Silence | None = None


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a round. `leader_index` was read before the servers were asked.

    `recent_removals` counts the dead voters that were removed within the last stabilization time
    and are not back. `removed` lists the removed servers that the raft configuration records.
    `no_votes` says why no other server can ever vote, "" when one can.
    """

    now_ns: int
    leader_id: str
    leader_term: int
    leader_index: int
    configuration: AutopilotConfiguration
    servers: tuple[Facts, ...]
    recent_removals: int = 0
    removed: tuple[RemovedServer, ...] = ()
    no_votes: str = ""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One server's health, and since when it has that health (ns, wall time)."""

    healthy: bool
    since_ns: int


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a round: the health for clients, and the input `before` of the next round."""

    health: ClusterHealth
    found: dict[str, Judged]


def is_healthy(facts: Facts, inputs: Inputs) -> bool:
    """Whether one server is alive, in contact, in the leader's term and not too far behind.

    An answer from before this leadership proves nothing about contact and term, so those two are
    not judged by it. Source: raft-autopilot, types.go, `ServerState.isHealthy`.
    """
    contact = facts.contact
    if facts.serf_status != ALIVE or contact is None:
        return False
    if not contact.is_earlier and not _is_in_contact(contact, inputs):
        return False
    # A log shorter than the limit cannot trail by more than the limit.
    return contact.last_index >= inputs.leader_index - inputs.configuration.max_trailing_logs


def _is_in_contact(contact: Contact, inputs: Inputs) -> bool:
    threshold_ns = inputs.configuration.last_contact_threshold.ns
    return 0 <= contact.last_contact.ns <= threshold_ns and contact.last_term == inputs.leader_term


def failure_tolerance(voters: int, healthy: int) -> int:
    """How many healthy voters may fail before the quorum is lost.

    Source: raft-autopilot, state.go: healthy voters less the quorum, which is half of the voters,
    rounded down, plus one; at least 0.
    """
    return max(0, healthy - (voters // 2 + 1))


def observe(inputs: Inputs, before: dict[str, Judged]) -> Round:
    """Judge each server of the raft configuration, in its order. `before` is the last outcome.

    Source: raft-autopilot, state.go, `nextStateWithInputs`; `removed` is bellcow's own.
    """
    found: dict[str, Judged] = {}
    servers = []
    for facts in inputs.servers:
        healthy = is_healthy(facts, inputs)
        old = before.get(facts.server.id)
        since = old.since_ns if old is not None and old.healthy == healthy else inputs.now_ns
        found[facts.server.id] = Judged(healthy=healthy, since_ns=since)
        servers.append(_shown(facts, inputs, healthy=healthy, since_ns=since))
    voters = [server for server in servers if server.voter]
    health = ClusterHealth(
        failure_tolerance=failure_tolerance(len(voters), sum(server.healthy for server in voters)),
        healthy=all(server.healthy for server in servers),
        leader=inputs.leader_id,
        servers=tuple(servers),
        voters=tuple(server.id for server in voters),
        removed=lately_removed(inputs.removed, len(voters), inputs.now_ns) or msgspec.UNSET,
    )
    return Round(health=health, found=found)


def lately_removed(
    removed: tuple[RemovedServer, ...], voters: int, now_ns: int
) -> tuple[RemovedReply, ...]:
    """The servers that were removed within a day.

    A dead voter that autopilot removed is `missed` while there are fewer voters than before its
    removal. `voters` is their number now; `now_ns` is wall time.
    """
    return tuple(
        RemovedReply(
            address=server.address,
            by=server.by,
            id=server.id,
            missed=server.voter and server.by == AUTOPILOT and server.voters_before > voters,
            name=server.name,
            removed=rfc3339_seconds(server.removed_ns),
            silent_since=(
                rfc3339_seconds(server.silent_since_ns) if server.silent_since_ns else msgspec.UNSET
            ),
            voter=server.voter,
            voters_before=server.voters_before,
        )
        for server in removed
        if now_ns - server.removed_ns < REMEMBERED_S * NS_PER_S
    )


def _why_no_vote(facts: Facts, inputs: Inputs) -> str:
    if facts.server.voter:
        return ""
    if facts.non_voting:
        return "its own settings say non_voting_server"
    return inputs.no_votes


def _shown(facts: Facts, inputs: Inputs, *, healthy: bool, since_ns: int) -> ServerHealth:
    contact = facts.contact
    known = facts.serf_status not in {UNKNOWN_STATUS, LEFT}  # Nomad: a server that left is unknown
    return ServerHealth(
        last_contact=contact.last_contact if contact else UNKNOWN_CONTACT,
        id=facts.server.id,
        name=facts.server.name if known else "",
        address=facts.server.address,
        serf_status=facts.serf_status if known else UNKNOWN_STATUS,
        version=facts.version if known else "",
        leader=facts.server.id == inputs.leader_id,
        last_term=contact.last_term if contact else 0,
        last_index=contact.last_index if contact else 0,
        healthy=healthy,
        voter=facts.server.voter,
        stable_since=rfc3339_seconds(since_ns),
        no_vote=_why_no_vote(facts, inputs) or msgspec.UNSET,
    )


# Decisions


class Dead(msgspec.Struct, frozen=True):
    """The servers to remove, in this order; the dead that must stay, and the reason for those."""

    out: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    reason: str = ""


def promotions(inputs: Inputs, found: dict[str, Judged]) -> tuple[str, ...]:
    """Non-voters that have been healthy for the stabilization time.

    Source: raft-autopilot, stable_promoter.go, `CalculatePromotionsAndDemotions`. It ignores that
    time while it has run for less itself (types.go, `ServerStabilizationTime`); here it counts.
    Nomad: the number of voters may become even.
    """
    stable_ns = inputs.configuration.server_stabilization_time.ns
    return tuple(
        facts.server.id
        for facts in inputs.servers
        if not facts.server.voter
        and not facts.non_voting
        and (state := found.get(facts.server.id)) is not None
        and state.healthy
        and inputs.now_ns - state.since_ns >= stable_ns
    )


def dead_servers(inputs: Inputs, found: dict[str, Judged]) -> Dead:
    """Which servers to remove from the raft configuration.

    Remove servers that left at once. With clean-up on also remove failed servers after
    REMOVED_AFTER_S, and unhealthy ones that are not in the member list after
    UNKNOWN_IS_DEAD_AFTER_S. Remove dead voters only if all of them, plus those removed within the
    stabilization time, are a minority: otherwise several rounds could remove a majority.

    Source: raft-autopilot, reconcile.go, `adjudicateRemoval`: at most (voters - 1) / 2, never below
    MinQuorum. It removes dead voters up to that limit, without counting earlier rounds.
    """
    left = tuple(f.server.id for f in inputs.servers if f.serf_status == LEFT)
    if not inputs.configuration.cleanup_dead_servers:
        return Dead(out=left)
    dead = [facts for facts in inputs.servers if _is_dead(facts, inputs, found)]
    with_vote = tuple(facts.server.id for facts in dead if facts.server.voter)
    due = [facts for facts in dead if _is_due(facts)]
    out = left + tuple(facts.server.id for facts in due if not facts.server.voter)
    voters = sum(f.server.voter and f.serf_status != LEFT for f in inputs.servers)
    minimum = inputs.configuration.min_quorum
    reason = _why_kept(len(with_vote), voters, inputs.recent_removals, minimum)
    voters_due = tuple(facts.server.id for facts in due if facts.server.voter)
    if reason and voters_due:
        return Dead(out=out, kept=with_vote, reason=reason)
    return Dead(out=out + voters_due)


def _is_due(facts: Facts) -> bool:
    """Whether a dead server has been dead for long enough to remove it."""
    return facts.silence is None or facts.silence.failed_s >= REMOVED_AFTER_S


def _is_dead(facts: Facts, inputs: Inputs, found: dict[str, Judged]) -> bool:
    if facts.serf_status == FAILED:
        return True
    state = found.get(facts.server.id)
    if facts.serf_status != UNKNOWN_STATUS or state is None or state.healthy:
        return False
    return inputs.now_ns - state.since_ns >= UNKNOWN_IS_DEAD_AFTER_S * NS_PER_S


def _why_kept(dead: int, voters: int, recent_removals: int, min_quorum: int) -> str:
    """Why that many dead voters must not be removed; "" when they may be, or there are none."""
    if not dead:
        return ""
    if voters - dead < min_quorum:
        return f"{voters - dead} voters would be left and MinQuorum is {min_quorum}"
    before, lost = voters + recent_removals, dead + recent_removals
    if lost <= (before - 1) // 2:
        return ""
    if recent_removals:
        return (
            f"{recent_removals} of {before} voters were removed recently and {dead} more are dead; "
            "autopilot removes only a minority"
        )
    return f"{dead} of {voters} voters are dead; autopilot removes only a minority"
