"""The rules of admission, case by case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.support.configuration import change, entry, inputs, request, shown

from bellcow.cluster.peers.admission import (
    SERVERS_MAX,
    Admission,
    Admitted,
    WaitFor,
    Write,
    admission,
)
from bellcow.cluster.peers.changes import REMOVE, UPDATE, Inputs, Removal, with_removal
from bellcow.errors import Code, Error
from bellcow.model.raft import OPERATOR, RaftConfiguration

if TYPE_CHECKING:
    from bellcow.model.membership_calls import JoinRequest

CLUSTER = "c1"


def outcome(given: Inputs, asked: JoinRequest) -> Admission:
    """What is done for a server that answers the leader."""
    view = given.view
    if asked.server_id not in view.answering:
        answering, addresses = view.answering | {asked.server_id}, dict(view.addresses)
        addresses[asked.server_id] = asked.address
        given = msgspec.structs.replace(
            given,
            view=msgspec.structs.replace(view, answering=answering, addresses=addresses),
        )
    return admission(given, asked, CLUSTER)


def written(given: Inputs, asked: JoinRequest) -> RaftConfiguration:
    result = outcome(given, asked)
    assert isinstance(result, Write)
    return result.configuration


def test_server_that_has_not_answered_is_not_admitted():
    with pytest.raises(Error, match="does not answer the leader") as caught:
        admission(inputs("abc"), request("d"), CLUSTER)
    assert caught.value.code is Code.UNAVAILABLE


def full(alive: str) -> Inputs:
    """A full configuration; servers not named in `alive` are dead."""
    given = inputs("abc", "d", alive=alive)
    extra = tuple(entry(f"s{n}", voter=False) for n in range(SERVERS_MAX - 4))
    servers = (*given.configuration.servers, *extra)
    living = given.view.alive | {each.id for each in extra}
    return msgspec.structs.replace(
        given,
        configuration=msgspec.structs.replace(given.configuration, servers=servers),
        view=msgspec.structs.replace(given.view, alive=living),
    )


def test_full_configuration_of_live_servers_admits_no_other():
    with pytest.raises(Error, match=f"has {SERVERS_MAX} servers, and all of them") as caught:
        outcome(full("abcd"), request("x"))
    assert caught.value.code is Code.TOO_MANY
    assert outcome(full("abcd"), request("d")) == Admitted()


def test_dead_non_voter_is_removed_from_a_full_configuration():
    after = written(full("ab"), request("x"))
    ids = [server.id for server in after.servers]
    assert (len(ids), "d" in ids, "c" in ids) == (SERVERS_MAX - 1, False, True)


def test_new_server_is_admitted_as_a_non_voter():
    after = written(inputs("abc"), request("d"))
    assert (shown(after), after.change) == ("ABCd", None)
    assert after.servers[3] == entry("d", voter=False)


def test_new_server_is_admitted_while_another_change_is_under_way():
    busy = inputs("abc", under_way=change(REMOVE, "c"))
    after = written(busy, request("d"))
    assert after.change == change(REMOVE, "c")


def test_server_listed_as_it_asks_is_admitted():
    assert outcome(inputs("abc", "d"), request("d", cluster_id=CLUSTER)) == Admitted()
    assert outcome(inputs("abc"), request("b", cluster_id=CLUSTER)) == Admitted()


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (request("d", cluster_id="c2"), "belongs to cluster c2, this is c1"),
        (request("d", address="b:4647"), "the server b is alive at b:4647"),
        (request("b", address="x:4647"), "the server b is alive at b:4647"),
    ],
)
def test_server_of_another_cluster_and_duplicates_are_refused(asked, text):
    with pytest.raises(Error, match=text) as caught:
        outcome(inputs("abc"), asked)
    assert caught.value.code is Code.CONFLICT


def test_dead_server_at_the_same_address_is_removed_first():
    given = inputs("abc", "d", alive="abc")
    after = written(given, request("x", address="d:4647"))
    assert shown(after) == "ABC"
    given = inputs("abc", alive="ab")
    after = written(given, request("x", address="c:4647"))
    assert after.change == change(REMOVE, "c")


def test_voter_that_lost_its_data_is_removed_first():
    after = written(inputs("abc", roles={"b": "none"}), request("b"))
    assert after.change == change(REMOVE, "b")


def test_voter_that_has_not_answered_yet_is_asked_to_wait():
    with pytest.raises(Error, match="has not answered a hello yet") as caught:
        outcome(inputs("abc", roles={}), request("b"))
    assert caught.value.code is Code.UNAVAILABLE


def test_voter_that_takes_part_at_another_address_is_updated():
    given = inputs("abc", addresses={"b": "b2:4647"})
    after = written(given, request("b", address="b2:4647", cluster_id=CLUSTER))
    assert after.change == change(UPDATE, "b", address="b2:4647")


def test_non_voter_gets_its_new_address_at_once():
    given = inputs("abc", "d", addresses={"d": "d2:4647"})
    after = written(given, request("d", address="d2:4647"))
    assert after.servers[3] == entry("d", voter=False, address="d2:4647")


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (inputs("abc", "d", alive="abc"), request("x", address="d:4647")),
        (inputs("abcd", roles={"d": "none"}), request("d")),
        (inputs("abcd", addresses={"d": "d2:4647"}), request("d", address="d2:4647")),
        (inputs("abc", "d", addresses={"d": "d2:4647"}), request("d", address="d2:4647")),
    ],
    ids=[
        "a dead server at its address must be removed",
        "the entry of its lost member must be removed",
        "its member's address must be updated",
        "its entry must be updated",
    ],
)
def test_admission_that_needs_a_change_waits_for_the_one_under_way(given, asked):
    under_way = change(REMOVE, "c")
    busy = msgspec.structs.replace(given.configuration, change=under_way)
    assert outcome(msgspec.structs.replace(given, configuration=busy), asked) == WaitFor(under_way)


def test_server_that_is_back_has_no_record_of_its_removal():
    given = inputs("ab")
    without_c = with_removal(inputs("ab", "c").configuration, "c", given.view, Removal(by=OPERATOR))
    assert [server.id for server in without_c.removed] == ["c"]
    again = msgspec.structs.replace(given, configuration=without_c)
    assert written(again, request("c")).removed == ()
