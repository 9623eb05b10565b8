"""The rules of formation, one by one, then all of them under random events."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.sim.net import itself

from bellcow.cluster.datadir import Promise
from bellcow.cluster.formation.rules import (
    FRESH_S,
    GIVEN_UP_S,
    ROUND_S,
    binds,
    check_request,
    founders,
    is_abandoned,
    may_form,
    pairs,
    still_open,
    with_promise,
)
from bellcow.cluster.members.queries import clusters_here
from bellcow.cluster.members.table import FAILED_AFTER_S, Contact, Known, Table
from bellcow.errors import Code, Error
from bellcow.gocompat.duration import NS_PER_S
from bellcow.model.hello import Cluster, Itself, RaftView, Record
from bellcow.model.membership_calls import BootstrapRequest

NO_RAFT = RaftView(role="none", term=0, index=0, commit="")
OURS = Cluster("ours", 0)


def server(name: str, expect: int = 3, **fields: object) -> Itself:
    return itself(name, server_id=name, bootstrap_expect=expect, **fields)


def record(me: Itself, status: str = "alive") -> Record:
    return Record(itself=me, start_ns=1, status=status, status_seq=0)


def contact(answered: float = 0.0, cluster: Cluster | None = None) -> Contact:
    return Contact(answered=answered, raft=NO_RAFT, cluster=cluster)


def table(me: Itself, *others: Itself, **contacts: Contact) -> Table:
    """A server and others that answered it, as `contacts` says or at time 0."""
    return Table(
        me=record(me),
        known={each.server_id: Known(record(each), 0.0) for each in others},
        contacts={each.server_id: contacts.get(each.server_id, contact()) for each in others},
    )


A, B, C, D, E = (server(name) for name in "abcde")


def promise(proposer: str = "a", members: str = "abc", at_s: float = 0.0) -> Promise:
    return Promise(
        cluster_id=f"of {proposer}",
        proposer=proposer,
        members=listed(members),
        time_ns=round(at_s * NS_PER_S),
    )


def listed(names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{name}:4647") for name in names)


# Founders


def test_lowest_ids_in_no_cluster_are_the_founders():
    assert founders(table(D, C, B, A)) == (A, B, C)


@pytest.mark.parametrize(
    "other",
    [
        server("c", region="eu"),
        server("c", non_voting=True),
        server("c", expect=0),
    ],
    ids=["of another region", "that shall not vote", "that expects nothing"],
)
def test_server_does_not_count(other):
    assert founders(table(A, B, other)) == ()


def test_server_that_has_not_answered_yet_does_not_count():
    assert founders(table(A, B, C, c=Contact(answered=0.0))) == ()


def test_server_that_has_failed_does_not_count():
    seen = table(A, B, C)
    failed = {**seen.known, "c": Known(record(C, "failed"), 0.0)}
    assert founders(msgspec.structs.replace(seen, known=failed)) == ()


def test_different_expectations_of_live_servers_block():
    assert founders(table(A, B, C, server("d", expect=5))) == ()


def test_server_without_bootstrap_expect_forms_no_cluster():
    assert founders(table(server("a", expect=0), B, C)) == ()


def test_no_cluster_is_formed_beside_another_one():
    assert founders(table(A, B, C, D, d=contact(cluster=OURS))) == ()


def test_clusters_are_those_of_live_servers_of_the_region():
    abroad = server("f", region="eu")
    seen = table(
        A,
        B,
        C,
        abroad,
        b=contact(cluster=OURS),
        c=contact(cluster=Cluster("gone", 0)),
        f=contact(cluster=Cluster("abroad", 0)),
    )
    known = {**seen.known, "c": Known(record(C, "failed"), 0.0)}
    assert clusters_here(msgspec.structs.replace(seen, known=known)) == {OURS}


# Promises


def asked(proposer: str = "a", members: str = "abc") -> BootstrapRequest:
    return BootstrapRequest(cluster_id="new", proposer=proposer, members=listed(members))


def test_promise_is_given_to_the_lowest_id_for_the_list_seen_here():
    check_request(asked(), table(B, A, C), None, (), 0.0, 0)


@pytest.mark.parametrize(
    ("seen", "cluster", "request_", "reason"),
    [
        (table(B, A, C), OURS, asked(), "this server belongs to cluster ours"),
        (table(B, A, C, D, d=contact(cluster=OURS)), None, asked(), "there is a cluster"),
        (table(B, A), None, asked(), "does not see enough servers"),
        (table(B, A, C), None, asked(members="abd"), "other servers with lower ids"),
        (table(B, A, C), None, asked("b"), "other servers with lower ids"),
    ],
    ids=["has one", "sees one", "sees too few", "another list", "not the lowest"],
)
def test_promise_is_refused(seen, cluster, request_, reason):
    with pytest.raises(Error, match=reason) as refusal:
        check_request(request_, seen, cluster, (), 0.0, 0)
    assert refusal.value.code is Code.REFUSED


def test_promise_to_another_server_binds():
    with pytest.raises(Error, match="already promised to form the cluster of server e"):
        check_request(asked(), table(B, A, C), None, (promise("e", "ebc"),), 0.0, 0)


def test_proposer_that_asks_again_gets_a_new_promise():
    check_request(asked(), table(B, A, C), None, (promise("a", "abd"),), 0.0, 0)


def test_repeated_promise_replaces_the_earlier_one_and_comes_last():
    first, other, again = promise(), promise("d", "dbc"), promise(at_s=5)
    assert with_promise(with_promise((first,), other), again) == (other, again)


# How long a promise binds


@pytest.mark.parametrize(
    ("now", "answered", "cluster", "open_", "bound"),
    [
        (9, 9, None, True, True),
        (11, 11, None, False, None),
        (11, 11, OURS, True, True),
        (11, 0, None, True, True),
        (59, 0, None, True, True),
        (61, 0, None, True, False),
        (80, 11, OURS, True, False),
        (70, 11, OURS, True, True),
    ],
    ids=[
        "its time is not over",
        "proposer says later that it is in no cluster",
        "proposer shows a cluster",
        "proposer is silent",
        "proposer is silent for almost a minute",
        "proposer is silent for a minute",
        "proposer has shown a cluster and is silent for a minute",
        "proposer has shown a cluster and is silent for less",
    ],
)
def test_promise_holds(now, answered, cluster, open_, bound):
    held = promise()
    seen = table(B, A, C, a=contact(answered, cluster))
    assert still_open((held,), seen, now, now * NS_PER_S) == ((held,) if open_ else ())
    if open_:
        assert binds(held, listed("bcd"), seen, now, now * NS_PER_S) is bound


@pytest.mark.parametrize(
    ("earlier", "later", "bound"),
    [
        ("abc", "bcd", False),
        ("abc", "bde", True),
        ("ab", "bc", False),
        ("abcde", "bcdxy", False),
        ("abcde", "bcxyz", True),
        ("abcd", "bcxy", False),
        ("abcd", "bxyz", True),
    ],
)
def test_silent_proposer_is_given_up_only_if_too_few_are_left_to_form_its_cluster(
    earlier, later, bound
):
    held = promise("a", earlier)
    assert binds(held, listed(later), table(B), GIVEN_UP_S, round(GIVEN_UP_S * NS_PER_S)) is bound


def test_promise_holds_for_its_cluster_in_epoch_zero():
    held = msgspec.structs.replace(promise(), cluster_id="ours")
    assert may_form(held, OURS, 0, led=False)
    assert not may_form(held, Cluster("ours", 1), 0, led=False)
    assert not may_form(held, Cluster("theirs", 0), 0, led=False)


def test_old_promise_does_not_hold_once_the_cluster_has_a_leader():
    held = msgspec.structs.replace(promise(), cluster_id="ours")
    late = round(FRESH_S * NS_PER_S)
    assert may_form(held, OURS, late - 1, led=True)
    assert not may_form(held, OURS, late, led=True)
    assert may_form(held, OURS, late, led=False)


@pytest.mark.parametrize(
    ("answering", "forsaken"),
    [
        ({"b": None, "c": Cluster("theirs", 0)}, True),
        ({"b": None}, False),
        ({"b": None, "c": Cluster("of a", 0)}, False),
        ({"b": None, "c": Cluster("of a", 2)}, False),
    ],
    ids=["all are elsewhere", "one is silent", "one is with us", "one is ahead of us"],
)
def test_founder_is_abandoned_when_all_others_answer_and_are_elsewhere(answering, forsaken):
    assert is_abandoned(promise(), "a", answering) is forsaken


# All rules together


class Round(NamedTuple):
    """A round of requests of one proposer."""

    request: BootstrapRequest
    began: float
    yes: frozenset[str]


class Server:
    """The state of one server. Only promises and place survive a crash."""

    def __init__(self, me: Itself) -> None:
        self.me = me
        self.promises: tuple[Promise, ...] = ()
        self.place: str = ""
        self.since = 0.0  # when it entered that cluster
        self.up = True
        self.round: Round | None = None
        self.contacts: dict[str, Contact] = {}


NAMES = "abcde"
EXPECT = 3
names = st.sampled_from(NAMES)
sides = st.sampled_from(
    [frozenset(side) for count in (0, 1, 2) for side in itertools.combinations(NAMES, count)]
)


class Foundings(RuleBasedStateMachine):
    """Five servers, three of which form a cluster. Any two lists share a server."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.servers = {name: Server(server(name, EXPECT)) for name in NAMES}
        self.cut: frozenset[str] = frozenset()  # one side of the network
        self.questions: list[tuple[str, BootstrapRequest]] = []  # requests that were lost
        self.lists: dict[str, frozenset[str]] = {}
        self.founded: set[str] = set()
        self.count = 0
        self._say_hello()

    # Views

    @property
    def now_ns(self) -> int:
        return round(self.now * NS_PER_S)

    def reaches(self, one: str, other: str) -> bool:
        both = self.servers[one].up and self.servers[other].up
        return both and (one in self.cut) == (other in self.cut)

    def table(self, name: str) -> Table:
        mine = self.servers[name]
        known = {
            other: Known(
                record(
                    self.servers[other].me,
                    "alive" if self.now - seen.answered < FAILED_AFTER_S else "failed",
                ),
                0.0,
            )
            for other, seen in mine.contacts.items()
        }
        return Table(me=record(mine.me), known=known, contacts=mine.contacts)

    def open(self, name: str) -> tuple[Promise, ...]:
        mine = self.servers[name]
        return still_open(mine.promises, self.table(name), self.now, self.now_ns)

    def _say_hello(self) -> None:
        for name, mine in self.servers.items():
            for other, theirs in self.servers.items():
                if other != name and self.reaches(name, other):
                    cluster = Cluster(theirs.place, 0) if theirs.place else None
                    mine.contacts[other] = contact(self.now, cluster)

    # Events

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0, 61.0]), led=st.booleans())
    def wait(self, seconds: float, *, led: bool) -> None:
        self.now += seconds
        self._say_hello()
        self._found(led=led)
        for mine in self.servers.values():
            if mine.round is not None and self.now - mine.round.began > ROUND_S:
                self._fail(mine)

    @rule(side=sides)
    def split(self, side: frozenset[str]) -> None:
        self.cut = side

    @rule(name=names)
    def crash_or_start(self, name: str) -> None:
        mine = self.servers[name]
        mine.up, mine.round, mine.contacts = not mine.up, None, {}
        if not mine.place:
            kept = (each for each in mine.promises if each.proposer != name or each.given_up)
            mine.promises = tuple(kept)
        self._say_hello()

    @rule(lost=st.frozensets(names, max_size=1), side=sides)
    def ask(self, lost: frozenset[str], side: frozenset[str]) -> None:
        """Each server that sees itself as the lowest id asks. `lost` requests arrive later.

        It is then that it hurts most when the network falls apart.
        """
        for name in NAMES:
            for other, request in self._propose(name):
                if other in lost:
                    self.questions.append((other, request))
                else:
                    self._hear_question(other, request)
        self.cut = side

    def _propose(self, name: str) -> list[tuple[str, BootstrapRequest]]:
        mine, held = self.servers[name], self.open(name)
        chosen = founders(self.table(name))
        if mine.place or not mine.up or mine.round or not chosen or chosen[0] != mine.me:
            return []
        members = pairs(chosen)
        others = [each for each in held if each.proposer != name or each.given_up]
        if any(binds(each, members, self.table(name), self.now, self.now_ns) for each in others):
            return []
        self.count += 1
        request = BootstrapRequest(cluster_id=f"{self.count}", proposer=name, members=members)
        self.lists[request.cluster_id] = frozenset(dict(members))
        mine.promises = with_promise(held, self._promise(request))
        mine.round = Round(request, self.now, frozenset({name}))
        return [(each.server_id, request) for each in chosen[1:]]

    def _promise(self, request: BootstrapRequest) -> Promise:
        return Promise(
            cluster_id=request.cluster_id,
            proposer=request.proposer,
            members=request.members,
            time_ns=self.now_ns,
        )

    def _fail(self, mine: Server) -> None:
        assert mine.round is not None
        own = mine.round.request.cluster_id
        mine.promises = tuple(each for each in mine.promises if each.cluster_id != own)
        mine.round = None

    @rule()
    def deliver_late(self) -> None:
        """Lost requests arrive, the newest first."""
        while self.questions:
            self._hear_question(*self.questions.pop())

    def _hear_question(self, name: str, request: BootstrapRequest) -> None:
        mine, held = self.servers[name], self.open(name)
        if not self.reaches(name, request.proposer):
            return
        cluster = Cluster(mine.place, 0) if mine.place else None
        try:
            check_request(request, self.table(name), cluster, held, self.now, self.now_ns)
        except Error:
            return
        mine.promises = with_promise(held, self._promise(request))
        self._hear_answer(request, name)

    def _hear_answer(self, request: BootstrapRequest, name: str) -> None:
        mine = self.servers[request.proposer]
        if mine.round is None or mine.round.request != request:
            return
        yes = mine.round.yes | {name}
        mine.round = mine.round._replace(yes=yes)
        if yes == self.lists[request.cluster_id]:
            mine.round = None
            self._take_place(request.proposer, request.cluster_id)

    def _found(self, *, led: bool) -> None:
        """Servers that have promised hear of the cluster."""
        for name, mine in self.servers.items():
            here, held = clusters_here(self.table(name)), self.open(name)
            if mine.up and not mine.place and len(here) == 1 and held:
                (cluster,) = here
                if may_form(held[-1], cluster, self.now_ns, led=led):
                    self._take_place(name, cluster.id)

    def _take_place(self, name: str, cluster_id: str) -> None:
        mine = self.servers[name]
        assert cluster_id in {each.cluster_id for each in mine.promises}, "founds without a promise"
        mine.place, mine.since = cluster_id, self.now
        members = self.lists[cluster_id]
        here = sum(self.servers[each].place == cluster_id for each in members)
        if here > len(members) // 2:
            self.founded.add(cluster_id)

    @rule()
    def give_up(self) -> None:
        """Founders without a majority for a minute search again."""
        for name, mine in self.servers.items():
            if self.now - mine.since < GIVEN_UP_S:
                continue
            kept = [each for each in mine.promises if each.cluster_id == mine.place]
            answering = {
                other: seen.cluster
                for other, seen in mine.contacts.items()
                if self.now - seen.answered <= 1.0
            }
            if mine.up and kept and is_abandoned(kept[0], name, answering):
                mine.place = ""
                mine.promises = (msgspec.structs.replace(kept[0], given_up=True),)

    @invariant()
    def at_most_one_cluster_is_founded(self) -> None:
        assert len(self.founded) <= 1, {each: self.lists[each] for each in self.founded}


TestFoundings = Foundings.TestCase
TestFoundings.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.mark.parametrize("given_up", [True, False])
def test_founder_that_gave_up_is_still_bound_because_the_others_may_start(given_up):
    all_of_it = Foundings()
    all_of_it.ask(lost=frozenset(), side=frozenset("ade"))  # a starts it, b and c are cut off
    all_of_it.wait(seconds=61.0, led=False)
    all_of_it.split(side=frozenset())
    all_of_it.wait(seconds=1.0, led=False)  # b and c start after a has heard that they had not
    all_of_it.give_up()
    a = all_of_it.servers["a"]
    assert (a.place, all_of_it.servers["b"].place) == ("", "1")
    a.promises = tuple(each for each in a.promises if given_up)
    all_of_it.split(side=frozenset("ade"))
    all_of_it.wait(seconds=6.0, led=False)
    all_of_it.ask(lost=frozenset(), side=frozenset("ade"))
    all_of_it.wait(seconds=1.0, led=False)
    assert len(all_of_it.founded) == (1 if given_up else 2)
