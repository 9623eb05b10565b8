"""The recorded exchanges with three servers and a second region, replayed in order against ours.

What differs on purpose stands in `DIFFERENT`, with the documented row that says so and with what
ours answers instead. Everything else must be as recorded.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.cluster_replay import RECORDED, SOME, Replay
from tests.contract.http_differences import JSON, TEXT, Instead, changed, refused
from tests.contract.http_replay import Expected, expected_of
from tests.several import Several
from tests.support.etcd import needs_etcd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = [pytest.mark.slow, needs_etcd]

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"

# The rows of docs/compatibility.md that say so, by what stands in their first column.
TRUE_INDEX = "`Index` of the raft configuration"
BY_ADDRESS = "DELETE of a peer by `address`"
LEFT_OUT = "PUT of an autopilot or scheduler configuration with keys left out"
JSON_429 = "429 of an unhealthy cluster"
OTHERS = "one server that does not answer"
REMOVED = "a removed server that still runs"
LAG = "health right after a change of the servers"
LICENSE = "GET and PUT of the license"
NO_QUORUM = "a default read when the quorum has just been lost"
STALE_SAVE = "a save with `stale` without a leader"
NON_VOTING = "`non_voting_server`"
NOT_LOST = "what an archive holds"
FLOOR = "`X-Nomad-Index`, and `Index` in a body, after a restore"
STALE_HEALTH = "health with `stale`"
TWO_KEYS = "health of a non-voter; after the removal of a server"
AT_ONCE = "health right after a server begins to lead, or restores"
# How far behind a follower was when it was asked; no client can count on it.
BEHIND = "a stale read of a follower that had not heard of a write yet"


def where(path: str, status: int) -> list[int]:
    return [
        number
        for number, each in enumerate(RECORDED)
        if each.path.startswith(path) and each.status == status
    ]


def at(numbers: Iterable[int], instead: Instead) -> dict[int, Instead]:
    return dict.fromkeys(numbers, instead)


HEALTH = "/v1/operator/autopilot/health"
UNHEALTHY = where(HEALTH, 429)
# A real leader, while it waited for the dead one, took itself or others for dead in turn.
AFTER_C4 = [n for n in UNHEALTHY if 118 < n < 145]
AFTER_C3 = [n for n in UNHEALTHY if 178 < n < 183]
DIFFERENT: dict[int, Instead] = {
    **at(
        where("/v1/operator/raft/configuration", 200),
        Instead(why=TRUE_INDEX, patch={"Index": SOME}),
    ),
    42: Instead(
        why=STALE_HEALTH,
        patch={"Servers": [{"LastContact": SOME}, {}, {"LastContact": "0s"}]},
    ),
    50: Instead(why=BEHIND, like=156),
    55: Instead(why=BY_ADDRESS, status=200, text="", headers={"Content-Type": None}),
    92: Instead(why=LAG, value=expected_of(RECORDED[94]).value),  # c4 without a vote, as seen later
    **at((94, 95), Instead(why=LAG, like=115)),
    **at(
        (107, 242),
        Instead(
            why=LEFT_OUT,
            patch={"SchedulerConfig": {"PreemptionConfig": {"SystemSchedulerEnabled": True}}},
        ),
    ),
    **at((118, 120, 178, 183), Instead(why=JSON_429, headers={"Content-Type": JSON})),
    **at(AFTER_C4, Instead(why=OTHERS, like=118)),
    **at(AFTER_C3, Instead(why=OTHERS, like=178)),
    **at((145, 147), Instead(why=LAG, like=148)),
    154: Instead(why=LAG, like=159),
    161: Instead(
        why=REMOVED,
        status=200,
        value=expected_of(RECORDED[163]).value,
        headers={"Content-Type": JSON},
    ),
    163: Instead(why=LAG, like=148),
    192: Instead(
        why=NO_QUORUM,
        status=500,
        text="No cluster leader",
        index=-1,
        headers={
            "Content-Type": TEXT,
            "X-Nomad-KnownLeader": None,
            "X-Nomad-LastContact": None,
        },
    ),
    **at(
        (204, 208),
        Instead(
            why=TWO_KEYS,
            patch={"Servers": [{}, {"NoVote": "its own settings say non_voting_server"}]},
        ),
    ),
    **at(
        (206, 244),
        Instead(
            why=STALE_HEALTH,
            status=429,
            begins='{"FailureTolerance": 0, "Healthy": false, "Leader": "", "Servers": [{',
            headers={"Content-Type": JSON},
        ),
    ),
    207: Instead(why=NON_VOTING, patch={"Index": SOME, "Servers": [{}, {"Voter": False}]}),
    214: refused(LICENSE, "No cluster leader", 500),
    216: Instead(why=STALE_SAVE, like=241),
    **at((230, 232), Instead(why=FLOOR, patch={"SchedulerConfig": {"ModifyIndex": 46}})),
    231: Instead(why=NOT_LOST, patch={"CreateIndex": 4, "ModifyIndex": 4}),
    **at((233, 235), Instead(why=NOT_LOST, like=231)),
    234: Instead(why=BEHIND, like=232),
    236: Instead(why=AT_ONCE, like=237),
}


def expected(number: int) -> Expected:
    """What ours must answer to an exchange."""
    was = expected_of(RECORDED[number])
    instead = DIFFERENT.get(number)
    if instead is None:
        return was
    return changed(was if instead.like is None else expected(instead.like), instead)


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    with Several("c1", "c2", "c3") as site:
        made = Replay(site, expected)
        made.run()
        yield made


CASES = [
    pytest.param(number, id=f"{number:03}-{each.method}-{each.path[:60]}")
    for number, each in enumerate(RECORDED)
]


@pytest.mark.parametrize("number", CASES)
def test_answer_is_as_recorded_or_differs_as_decided(replay: Replay, number: int) -> None:
    assert number in replay.wrong, "the replay ended early"
    assert not replay.wrong[number], json.dumps(replay.wrong[number], indent=1)


def test_every_recorded_exchange_is_a_case() -> None:
    assert len(CASES) == 246


def test_no_difference_is_listed_that_is_none(replay: Replay) -> None:
    assert not DIFFERENT.keys() & replay.as_recorded


def test_every_difference_is_documented() -> None:
    page = PAGE.read_text("utf-8")
    reasons = {instead.why for instead in DIFFERENT.values()} - {BEHIND}
    assert [why for why in sorted(reasons) if f"\n| {why} | " not in page] == []


def test_the_differences_are_counted() -> None:
    assert dict(Counter(instead.why for instead in DIFFERENT.values())) == {
        AT_ONCE: 1,
        BEHIND: 2,
        BY_ADDRESS: 1,
        FLOOR: 2,
        JSON_429: 3,
        LAG: 7,
        LEFT_OUT: 2,
        LICENSE: 1,
        NON_VOTING: 1,
        NOT_LOST: 3,
        NO_QUORUM: 1,
        OTHERS: 21,
        REMOVED: 1,
        STALE_HEALTH: 3,
        STALE_SAVE: 1,
        TRUE_INDEX: 33,
        TWO_KEYS: 2,
    }
    assert len(DIFFERENT) == 85
