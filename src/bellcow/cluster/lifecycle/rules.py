"""The decisions of a server's lifecycle: its steps, and when one of them ends.

Pure: each function takes what was gathered and returns a step, a move or a verdict.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow.cluster.engine.protocol import Start, Status
from bellcow.cluster.formation.rules import GIVEN_UP_S
from bellcow.model.hello import Cluster

if TYPE_CHECKING:
    from bellcow.cluster.datadir import Promise
    from bellcow.model.membership_calls import Standing
    from bellcow.model.raft import RaftConfiguration

RECALL_S = 2.0  # without a leader, before the member's files answer stale reads


# Steps


class Discover(msgspec.Struct, frozen=True):
    """In no cluster: find one, or form one with others."""


class Join(msgspec.Struct, frozen=True):
    """Ask the leader for admission as a non-voter."""


class Replicate(msgspec.Struct, frozen=True):
    """Be a non-voter: copy the commits of the voters."""


class Vote(msgspec.Struct, frozen=True):
    """Run etcd beside this server. `start` is for the first start only."""

    start: Start | None = None


Step: TypeAlias = Discover | Join | Replicate | Vote


def founding_start(promise: Promise) -> Start:
    """The first start of a server that forms a cluster with others."""
    return Start(existing=False, members=promise.members, token=f"{promise.cluster_id}.0")


# Admission


def cluster_of(standing: Standing) -> Cluster:
    """The cluster of the leader that gave this answer."""
    return Cluster(standing.cluster_id, standing.epoch, standing.founding)


def is_admitted(standing: Standing | None, ours: Cluster | None) -> bool:
    """Whether the leader's answer admits this server as a non-voter.

    False while it is still listed as a voter: the entry of its lost member is not removed yet.
    False also when the leader is of an earlier epoch of our cluster than we are.
    """
    if standing is None or standing.voter:
        return False
    return ours is None or ours.id != standing.cluster_id or standing.epoch >= ours.epoch


# Rounds of a server with a member


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of a server with a member decides on."""

    ended: bool = False  # the member was removed, or its process failed
    serving: bool = False  # the member's store is the store of this server
    status: Status | None = None  # None when serving, or when the member does not answer
    led_ahead: bool = False  # a leader of a later epoch of our cluster can be asked
    waited_s: float = 0.0  # since this server served, or asked for its standing
    has_state: bool = False  # some state is in memory, or the member's files were read for it
    abandoned: bool = False  # none of the other founders will form this cluster any more
    has_moved: bool = False  # the configuration lists another address, and a leader can be asked


class Move(Enum):
    """What a server with a member does next."""

    END = auto()
    SERVE = auto()  # make the member's store the store of this server
    GIVE_UP_FOUNDING = auto()
    ASK_STANDING = auto()  # ask the leader whether our member was removed
    RECALL = auto()  # answer stale reads from the member's files
    REQUEST_ADMISSION = auto()  # by the leader of a later epoch
    CORRECT_ADDRESS = auto()  # in the configuration
    REST = auto()


def next_move(inputs: Inputs) -> Move:
    """The first move that is due. The moves that wait for a time come before those that may fail
    each round, so that a leader that refuses cannot delay them.
    """
    if inputs.ended:
        return Move.END
    if _can_serve(inputs):
        return Move.SERVE
    if not inputs.serving and inputs.waited_s >= GIVEN_UP_S:
        return Move.GIVE_UP_FOUNDING if inputs.abandoned else Move.ASK_STANDING
    if not inputs.serving and inputs.waited_s >= RECALL_S and not inputs.has_state:
        return Move.RECALL
    if inputs.led_ahead:
        return Move.REQUEST_ADMISSION
    return Move.CORRECT_ADDRESS if inputs.has_moved else Move.REST


def _can_serve(inputs: Inputs) -> bool:
    """Whether the member votes and a leader exists, so that its store can be read."""
    status = inputs.status
    if inputs.serving or status is None:
        return False
    return not status.is_learner and bool(status.leader_id)


def has_moved(configuration: RaftConfiguration | None, server_id: str, address: str) -> bool:
    """Whether the configuration lists this server at another address than `address`."""
    servers = configuration.servers if configuration else ()
    return any(each.id == server_id and each.address != address for each in servers)


# After the member ended


class Verdict(Enum):
    """What the leader's answer means for a server whose member does not run."""

    UNKNOWN = auto()  # no answer
    REMOVED = auto()
    RESTART = auto()
    DOWN = auto()  # still a member, but it cannot run


def after_end(standing: Standing | None, ours: Cluster | None, *, failed: bool) -> Verdict:
    """Only the leader decides whether this server's member was removed.

    `failed` says that the member's process failed, so that it cannot simply start again.
    """
    if standing is None:
        return Verdict.UNKNOWN
    if not standing.is_member or cluster_of(standing) != ours:
        return Verdict.REMOVED
    return Verdict.DOWN if failed else Verdict.RESTART
