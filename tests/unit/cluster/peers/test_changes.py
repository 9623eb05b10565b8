"""What a request asks for, as it is written into the configuration."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.configuration import change, entry, inputs, shown

from bellcow.cluster.peers.changes import (
    DEMOTE,
    FORCED,
    PAUSE_MAX_S,
    PROMOTE,
    REMOVE,
    Removal,
    pause_s,
    with_demotion,
    with_promotion,
    with_removal,
)
from bellcow.errors import Code, Error
from bellcow.model.raft import OPERATOR, REMOVED_MAX


def test_one_change_at_a_time():
    busy = inputs("abc", "d", under_way=change(REMOVE, "c")).configuration
    view = inputs().view
    for ask in (
        lambda: with_promotion(busy, "d"),
        lambda: with_demotion(busy, "b", view),
        lambda: with_removal(busy, "b", view, Removal()),
        lambda: with_removal(busy, "d", view, Removal()),
    ):
        with pytest.raises(Error, match="remove c") as caught:
            ask()
        assert caught.value.code is Code.UNAVAILABLE


def test_request_is_written_as_a_change_under_way():
    given = inputs("abc", "d")
    stored, view = given.configuration, given.view
    assert with_promotion(stored, "d").change == change(PROMOTE, "d")
    assert with_demotion(stored, "c", view).change == change(DEMOTE, "c")
    assert with_removal(stored, "c", view, Removal()).change == change(REMOVE, "c")
    assert with_removal(stored, "c", view, Removal(force=True)).change == change(FORCED, "c")
    for each in (with_promotion(stored, "d"), with_removal(stored, "c", view, Removal())):
        assert each.servers == stored.servers


def test_non_voter_is_removed_at_once():
    given = inputs("abc", "d")
    outcome = with_removal(given.configuration, "d", given.view, Removal())
    assert (shown(outcome), outcome.change) == ("ABC", None)


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: with_promotion(s.configuration, "b"),
        lambda s: with_demotion(s.configuration, "d", s.view),
    ],
)
def test_promotion_of_a_voter_and_demotion_of_a_non_voter_are_refused(ask):
    with pytest.raises(Error) as caught:
        ask(inputs("abc", "d"))
    assert caught.value.code is Code.CONFLICT


def test_removal_that_would_cost_the_quorum_is_not_written():
    given = inputs("abc", alive="ab")
    with pytest.raises(Error, match="of 2 voters left 1 are alive and 2 are needed"):
        with_removal(given.configuration, "b", given.view, Removal())
    with pytest.raises(Error, match="cost the quorum"):
        with_demotion(given.configuration, "b", given.view)


def test_voter_without_a_working_member_does_not_count_for_the_quorum():
    given = inputs("abc", roles={"c": "none"})
    with pytest.raises(Error, match="cost the quorum"):
        with_removal(given.configuration, "b", given.view, Removal())


def test_only_the_latest_removals_are_recorded():
    stored = inputs("ab").configuration
    for number in range(REMOVED_MAX + 3):
        name = f"x{number}"
        servers = (*stored.servers, entry(name, voter=False))
        stored = msgspec.structs.replace(stored, servers=servers)
        stored = with_removal(stored, name, inputs("ab").view, Removal(by=OPERATOR))
    assert [server.id for server in stored.removed][-1] == name
    assert len(stored.removed) == REMOVED_MAX


def test_pause_after_failed_promotions_doubles_up_to_a_limit():
    pauses = [pause_s(failures) for failures in range(1, 40)]
    assert pauses[:3] == [10.0, 20.0, 40.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MAX_S
