"""Which server answers, case by case."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from bellcow.acl.rights import Need
from bellcow.api.call import Call
from bellcow.api.message import Blocking, Confirming, Request
from bellcow.api.pipeline.consistency import (
    CONFIRM,
    PLAIN,
    SERVE,
    WAIT_FOR_LOAD,
    Asked,
    Decision,
    Forward,
    Here,
    Progress,
    Refuse,
    as_error,
    decide,
    gather,
)
from bellcow.api.route import Route, Serve
from bellcow.errors import Code
from bellcow.model.forwarded import FIRST_HOP, LAST_HOP

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH, WAITING, UNCONFIRMED, CONFIRMED, BLOCKED = Progress
STALE = Asked(stale=True)


def route(serve: Serve, method: str = "GET", *, token: bool = True) -> Route:
    return Route(
        method=method,
        path="/v1/x",
        need=Need.ANONYMOUS,
        serve=serve,
        handler=print,
        summary="",
        token=token,
    )


READ, STALE_READ = route(Serve.LEADER), route(Serve.LEADER_OR_STALE)
VOTER_READ = route(Serve.VOTER_OR_STALE)
WRITE, LOCAL, NAMED = route(Serve.LEADER, "PUT"), route(Serve.LOCAL), route(Serve.NAMED)


def decided(
    declared: Route,
    asked: Asked = PLAIN,
    *,
    leads: bool = True,
    follows: bool = False,
    immediate: bool = False,
    loaded: bool = True,
) -> Decision:
    return decide(declared, asked, leads, follows, immediate, loaded)


def at(progress: Progress) -> Asked:
    return Asked(progress=progress)


# --- the server that leads


@pytest.mark.parametrize(
    ("case", "decision", "expected"),
    [
        ("fresh read is confirmed first", decided(READ), CONFIRM),
        ("confirmed read is served", decided(READ, at(CONFIRMED)), SERVE),
        ("unconfirmed read is refused", decided(READ, at(UNCONFIRMED)), Refuse.NO_LEADER),
        ("read woken too early is confirmed", decided(READ, at(WAITING)), CONFIRM),
        ("blocking query was confirmed before", decided(READ, at(BLOCKED)), SERVE),
        ("memory is always current", decided(READ, immediate=True), SERVE),
        ("write is confirmed by its commit", decided(WRITE), SERVE),
        ("stale read needs no confirm", decided(STALE_READ, STALE), SERVE),
        ("read without stale is confirmed", decided(STALE_READ), CONFIRM),
        ("stale counts only where declared", decided(READ, STALE), CONFIRM),
    ],
)
def test_leader(case: str, decision: Decision, expected: Decision):
    assert decision is expected, case


# --- a server that does not lead


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize(
    ("case", "declared", "asked", "expected"),
    [
        ("fresh read goes to the leader", READ, PLAIN, Forward.LEADER),
        ("fresh write goes to the leader", WRITE, PLAIN, Forward.LEADER),
        ("stale read is served", STALE_READ, STALE, SERVE),
        ("read confirmed while it led is served", READ, at(CONFIRMED), SERVE),
        ("read that waits is not forwarded", READ, at(WAITING), Refuse.NO_LEADER),
        ("read that waited in vain is refused", READ, at(UNCONFIRMED), Refuse.NO_LEADER),
        ("blocking query ends with the leadership", READ, at(BLOCKED), Refuse.NO_LEADER),
        (
            "stale blocking query outlives the leadership",
            STALE_READ,
            Asked(stale=True, progress=BLOCKED),
            SERVE,
        ),
    ],
)
def test_follower(case: str, declared: Route, asked: Asked, expected: Decision, immediate: bool):
    assert decided(declared, asked, leads=False, immediate=immediate) is expected, case


@pytest.mark.parametrize(
    ("case", "declared", "asked", "expected"),
    [
        ("fresh read is confirmed first", VOTER_READ, PLAIN, CONFIRM),
        ("read woken too early is confirmed", VOTER_READ, at(WAITING), CONFIRM),
        ("confirmed read is served", VOTER_READ, at(CONFIRMED), SERVE),
        ("unconfirmed read is refused", VOTER_READ, at(UNCONFIRMED), Refuse.NO_LEADER),
        ("blocking query was confirmed before", VOTER_READ, at(BLOCKED), SERVE),
        ("stale read needs no confirm", VOTER_READ, STALE, SERVE),
        ("what only the leader knows is asked there", STALE_READ, PLAIN, Forward.LEADER),
        ("write goes to the leader", WRITE, PLAIN, Forward.LEADER),
        ("forwarded read is answered here", VOTER_READ, Asked(hops=LAST_HOP), CONFIRM),
    ],
)
def test_follower_confirms_reads_by_a_majority(
    case: str, declared: Route, asked: Asked, expected: Decision
):
    assert decided(declared, asked, leads=False, follows=True) is expected, case


def test_server_without_a_leader_or_a_vote_forwards_reads():
    assert decided(VOTER_READ, leads=False, follows=False) is Forward.LEADER
    assert decided(VOTER_READ, STALE, leads=False, follows=False) is SERVE


def test_follower_whose_memory_is_empty_waits_for_it():
    asked = at(CONFIRMED)
    assert decided(VOTER_READ, asked, leads=False, follows=True, loaded=False) is WAIT_FOR_LOAD


# --- another region, another server


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("progress", Progress)
@pytest.mark.parametrize("declared", [READ, WRITE, STALE_READ, NAMED])
def test_request_for_another_region_goes_there(declared: Route, progress: Progress, leads: bool):
    asked = Asked(Forward.REGION, stale=True, progress=progress)
    assert decided(declared, asked, leads=leads) is Forward.REGION


@pytest.mark.parametrize("leads", [True, False])
def test_named_server_answers_for_itself(leads: bool):
    assert decided(NAMED, leads=leads) is SERVE
    assert decided(NAMED, Asked(Forward.SERVER), leads=leads) is Forward.SERVER


def test_local_route_is_served_whatever_the_request_says():
    for leads, immediate, progress in itertools.product((True, False), (True, False), Progress):
        asked = Asked(Forward.REGION, stale=True, hops=LAST_HOP, progress=progress)
        assert decided(LOCAL, asked, leads=leads, immediate=immediate) is SERVE


@pytest.mark.parametrize(
    ("hops", "elsewhere", "expected"),
    [
        (FIRST_HOP, None, Forward.LEADER),
        (FIRST_HOP, Forward.REGION, Refuse.NO_PATH),
        (LAST_HOP, None, Refuse.NO_LEADER),
        (LAST_HOP, Forward.REGION, Refuse.NO_LEADER),
    ],
)
def test_forwarded_request_is_forwarded_at_most_once_more(
    hops: int, elsewhere: Forward | None, expected: Decision
):
    assert decided(WRITE, Asked(elsewhere, hops=hops), leads=False) is expected


def test_forwarded_request_is_served_and_confirmed_by_the_leader():
    assert decided(WRITE, Asked(hops=LAST_HOP)) is SERVE
    assert decided(READ, Asked(hops=LAST_HOP)) is CONFIRM


# --- before memory is loaded


def test_nothing_that_needs_tokens_is_served_before_they_are_loaded():
    for declared in (LOCAL, NAMED, WRITE):
        assert decided(declared, loaded=False) is WAIT_FOR_LOAD
        without = route(declared.serve, declared.method, token=False)
        assert decided(without, loaded=False) is SERVE


def test_stale_read_waits_for_the_load_even_without_a_token():
    declared = route(Serve.LEADER_OR_STALE, token=False)
    assert decided(declared, STALE, leads=False, loaded=False) is WAIT_FOR_LOAD


def test_request_is_forwarded_before_memory_is_loaded():
    assert decided(WRITE, leads=False, loaded=False) is Forward.LEADER


def test_every_combination_is_decided():
    routes = [route(serve, method) for serve in Serve for method in ("GET", "PUT")]
    elsewhere = (None, Forward.REGION, Forward.SERVER)
    asks = itertools.product(elsewhere, (False, True), (0, 1, 2), Progress)
    servers = itertools.product(*[(False, True)] * 4)
    for declared, (there, stale, hops, progress), server in itertools.product(
        routes, asks, servers
    ):
        leads, follows, immediate, loaded = server
        asked = Asked(there, stale, hops, progress)
        decision = decide(declared, asked, leads, follows, immediate, loaded)
        assert isinstance(decision, (Here, Forward, Refuse))
        if hops == LAST_HOP:
            assert not isinstance(decision, Forward)
        if decision is CONFIRM:
            assert leads or (follows and declared.serve is Serve.VOTER_OR_STALE)
            assert progress in {FRESH, WAITING}


# --- what is gathered


class Site:
    """The parts of a server that `gather` looks at."""

    def __init__(self, *, confirmed: int = 0, others: tuple[str, ...] = ()) -> None:
        self.settings = self.reads = self.forwarder = self.clock = self
        self.region = "here"
        self._confirmed = confirmed
        self.finds: Callable[[str], bool] = others.__contains__

    def is_confirmed(self, number: int) -> bool:
        return number <= self._confirmed

    def monotonic(self) -> float:
        return 5.0


def gathered(declared: Route, query: bytes = b"", hops: int = 0, **site: Any) -> Asked:
    request = Request("GET", "/v1/x", b"/v1/x", query, [], hops=hops)
    return gather(declared, Call(Site(**site), request, ""))  # type: ignore[arg-type]


def test_own_region_is_not_elsewhere():
    assert gathered(READ, b"region=here") == PLAIN
    assert gathered(READ, b"region=") == PLAIN
    assert gathered(READ, b"region=there").elsewhere is Forward.REGION


def test_named_server_counts_on_routes_that_take_a_name_and_only_once():
    others = ("other",)
    assert gathered(NAMED, b"server_id=other", others=others).elsewhere is Forward.SERVER
    assert gathered(NAMED, b"server_id=unknown", others=others).elsewhere is None
    assert gathered(NAMED, b"server_id=other", hops=1, others=others).elsewhere is None
    assert gathered(READ, b"server_id=other", others=others).elsewhere is None


@pytest.mark.parametrize(
    ("waits", "confirmed", "expected"),
    [
        (None, 0, FRESH),
        (Confirming(2, 10.0), 1, WAITING),
        (Confirming(2, 5.0), 1, UNCONFIRMED),
        (Confirming(2, 5.0), 2, CONFIRMED),
        (Blocking(9.0, 7), 0, BLOCKED),
    ],
)
def test_progress_follows_from_the_last_wait_of_the_request(
    waits: Confirming | Blocking | None, confirmed: int, expected: Progress
):
    request = Request("GET", "/v1/x", b"/v1/x", b"", [])
    request.progress = waits
    call = Call(Site(confirmed=confirmed), request, "")  # type: ignore[arg-type]
    assert gather(READ, call).progress is expected


def test_refusals_are_in_the_words_of_nomad():
    errors = [as_error(refusal) for refusal in (Refuse.NO_LEADER, Refuse.NO_PATH)]
    assert [(error.code, error.message) for error in errors] == [
        (Code.NO_LEADER, "No cluster leader"),
        (Code.REFUSED, "No path to region"),
    ]
