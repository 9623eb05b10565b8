"""Which server answers a request, and what must be true of memory before this one does.

`decide` is pure. `gather` collects what it needs, `pipeline` carries the decision out.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bellcow.api.message import Blocking, Confirming
from bellcow.api.route import Serve
from bellcow.errors import Error, no_leader, refused
from bellcow.model.forwarded import LAST_HOP

if TYPE_CHECKING:
    from bellcow.api.call import Call
    from bellcow.api.route import Route


class Here(enum.Enum):
    """This server answers."""

    SERVE = "from memory as it is"
    CONFIRM = "once the store has confirmed that memory is current"
    WAIT_FOR_LOAD = "once memory holds the cluster's state"


class Forward(enum.Enum):
    """Another server answers."""

    LEADER = "the leader of this region"
    REGION = "any server of the region that the request names"
    SERVER = "the server that the request names"


class Refuse(enum.Enum):
    """No server answers."""

    NO_LEADER = "no leader"
    NO_PATH = "no path to the region"


Decision: TypeAlias = Here | Forward | Refuse

EARLY_S = 0.001  # a timer of the loop may end that much too early

# A member of an enumeration is slow to look up in Python 3.11, and each request asks.
SERVE, CONFIRM, WAIT_FOR_LOAD = Here
LOCAL, NAMED = Serve.LOCAL, Serve.NAMED
LEADER_OR_STALE, VOTER_OR_STALE = Serve.LEADER_OR_STALE, Serve.VOTER_OR_STALE


class Progress(enum.Enum):
    """What a request has waited for at this server."""

    FRESH = "nothing"
    WAITING = "a confirm that may still come"
    UNCONFIRMED = "a confirm that has not arrived"
    CONFIRMED = "a confirm that has arrived"
    BLOCKED = "a change of a table: a blocking query"


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What a request says of the server that answers it, and how far it has come here.

    `elsewhere` is set when it names another region or another server. `hops` counts the servers
    that have forwarded it.
    """

    elsewhere: Forward | None = None
    stale: bool = False
    hops: int = 0
    progress: Progress = Progress.FRESH


PLAIN = Asked()  # no query, directly from a client, for the first time

# Where memory has to be current: by whether this server may answer, and by progress. A read that
# has waited here is never forwarded: the client would wait twice.
_BY_PROGRESS: dict[tuple[bool, Progress], Decision] = {
    (True, Progress.FRESH): CONFIRM,
    (True, Progress.WAITING): CONFIRM,
    (True, Progress.UNCONFIRMED): Refuse.NO_LEADER,
    (True, Progress.CONFIRMED): SERVE,
    (True, Progress.BLOCKED): SERVE,
    (False, Progress.FRESH): Forward.LEADER,
    (False, Progress.WAITING): Refuse.NO_LEADER,
    (False, Progress.UNCONFIRMED): Refuse.NO_LEADER,
    (False, Progress.CONFIRMED): SERVE,
    (False, Progress.BLOCKED): Refuse.NO_LEADER,
}


def decide(
    route: Route, asked: Asked, leads: bool, follows: bool, immediate: bool, loaded: bool
) -> Decision:
    """What to do with a request on `route`.

    `leads` is whether this server leads, `follows` whether it is a voter that knows another leader
    and can ask a majority, `immediate` whether memory is always current while it leads, `loaded`
    whether memory holds the cluster's state, tokens included.
    """
    serve = route.serve
    decision: Decision = SERVE
    if serve is LOCAL:
        pass
    elif asked.elsewhere is not None:
        decision = asked.elsewhere
    elif serve is NAMED:
        pass
    elif asked.stale and (serve is VOTER_OR_STALE or serve is LEADER_OR_STALE):
        return SERVE if loaded else WAIT_FOR_LOAD
    elif not leads or not (immediate or route.method != "GET"):
        answers = leads or (follows and serve is VOTER_OR_STALE)
        decision = _BY_PROGRESS[answers, asked.progress]
    if decision is SERVE:
        return SERVE if loaded or not route.token else WAIT_FOR_LOAD
    return _within_hops(decision, asked.hops) if asked.hops else decision


def _within_hops(decision: Decision, hops: int) -> Decision:
    """A request from another region may go on once, to the leader; any other not at all."""
    if not isinstance(decision, Forward):
        return decision
    if hops == LAST_HOP:
        return Refuse.NO_LEADER
    return Refuse.NO_PATH if decision is Forward.REGION else decision


def gather(route: Route, call: Call) -> Asked:
    """What the request asks for, and its progress by the rounds of confirmed reads."""
    return Asked(_elsewhere(route, call), call.stale, call.request.hops, _progress(call))


def _elsewhere(route: Route, call: Call) -> Forward | None:
    server, request = call.server, call.request
    region = request.param("region")
    if region and region != server.settings.region:
        return Forward.REGION
    if route.serve is NAMED and not request.hops:
        return Forward.SERVER if server.forwarder.finds(request.param("server_id")) else None
    return None


def _progress(call: Call) -> Progress:
    match call.request.progress:
        case Confirming(round=number, until=until):
            if call.server.reads.is_confirmed(number):
                return Progress.CONFIRMED
            waits = call.server.clock.monotonic() < until - EARLY_S
            return Progress.WAITING if waits else Progress.UNCONFIRMED
        case Blocking():
            return Progress.BLOCKED
    return Progress.FRESH


def as_error(refusal: Refuse) -> Error:
    """The refusal in the words that clients know from Nomad."""
    return no_leader() if refusal is Refuse.NO_LEADER else refused("No path to region")
