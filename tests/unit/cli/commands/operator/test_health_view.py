"""Health as a person at a terminal sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.server_answers import CONFIG, LEADER, OTHERS, server_health

from bellcow.cli.commands.operator.health_view import leaderless, reason, summary, view

NOW_NS = int(datetime(2026, 11, 23, 14, 2, 31, tzinfo=UTC).timestamp()) * 1_000_000_000
DEAD = server_health(
    "c3",
    Healthy=False,
    SerfStatus="failed",
    LastContact="-1ns",
    LastIndex=0,
    StableSince="2026-11-23T14:02:19Z",
)


def answer(*servers: dict[str, Any], tolerance: int = 0) -> dict[str, Any]:
    healthy = all(one["Healthy"] for one in servers)
    return {"Healthy": healthy, "FailureTolerance": tolerance, "Servers": list(servers)}


def test_sentences_come_first_and_the_table_fits_eighty_columns() -> None:
    text = view(answer(LEADER, OTHERS[0], DEAD), CONFIG, NOW_NS, verbose=False)
    assert text.splitlines() == [
        "Unhealthy: 2 of 3 voters are healthy; none may fail: the next failure stops writes.",
        "Unhealthy: c3: the other servers see it as failed",
        "",
        "Name  State   Voter  Healthy  Contact  Behind  So for",
        "c1    leader  yes    yes      -        0       2m12s",
        "c2    alive   yes    yes      10ms     0       2m12s",
        "c3    failed  yes    no       none     ?       12s",
    ]
    long = view(answer(server_health("a-server-with-a-long-name.global")), CONFIG, 0, verbose=False)
    assert max(map(len, long.splitlines())) <= 80


REMOVED = {
    "Name": "c3",
    "Missed": True,
    "VotersBefore": 3,
    "SilentSince": "2026-11-23T14:02:04Z",
    "Removed": "2026-11-23T14:02:19Z",
}


def test_voter_that_was_removed_as_dead_is_missing_until_it_is_replaced() -> None:
    after = {**answer(LEADER, OTHERS[0]), "Removed": [REMOVED]}
    assert view(after, CONFIG, NOW_NS, verbose=False).splitlines()[:2] == [
        "Degraded: 2 of 3 voters, none may fail.",
        (
            "Missing: c3 stopped answering at 2026-11-23 14:02:04 UTC and was removed at "
            "2026-11-23 14:02:19 UTC; start it, or a replacement"
        ),
    ]
    replaced = {**answer(LEADER, *OTHERS, tolerance=1), "Removed": [{**REMOVED, "Missed": False}]}
    assert summary(replaced).startswith("Healthy: 3 of 3 voters")


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        (
            (DEAD, {**DEAD, "Name": "c1"}, OTHERS[0]),
            (
                "1 of 3 voters answers, 2 are needed: start c3 (failed since 2026-11-23 14:02:19 "
                "UTC) or c1 (failed since 2026-11-23 14:02:19 UTC). If they are lost for good: "
                "bellcow operator raft recover -h"
            ),
        ),
        (
            ({**DEAD, "StableSince": "0001-01-01T00:00:00Z"}, *OTHERS),
            "2 of 3 voters answer, enough to elect one within seconds.",
        ),
    ],
    ids=["too few", "enough"],
)
def test_without_a_leader_the_voters_that_answer_and_those_to_start_are_named(
    servers: tuple[dict[str, Any], ...], text: str
) -> None:
    assert leaderless(answer(*servers)) == summary(answer(*servers)) == f"No server leads. {text}"


def test_id_is_shown_when_more_is_asked_for() -> None:
    assert "id-c1" not in view(answer(LEADER), CONFIG, NOW_NS, verbose=False)
    assert "id-c1" in view(answer(LEADER), CONFIG, NOW_NS, verbose=True)


@pytest.mark.parametrize(
    ("servers", "tolerance", "text"),
    [
        ((LEADER, *OTHERS), 1, "Healthy: 3 of 3 voters are healthy; 1 may fail."),
        ((LEADER,), 0, "Healthy: one voter, and nothing works without it."),
        (
            (),
            0,
            (
                "Health is not known: the leader is new and has not looked at the servers yet; "
                "ask again in 2 s."
            ),
        ),
    ],
)
def test_the_first_sentence_is_the_failure_tolerance(
    servers: tuple[dict[str, Any], ...], tolerance: int, text: str
) -> None:
    assert summary(answer(*servers, tolerance=tolerance)) == text


def test_server_that_was_never_judged_has_no_duration() -> None:
    unknown = server_health("c2", StableSince="0001-01-01T00:00:00Z")
    assert view(answer(unknown), CONFIG, NOW_NS, verbose=False).endswith("?")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"SerfStatus": "failed"}, "the other servers see it as failed"),
        ({"LastContact": "-1ns"}, "it does not answer the leader"),
        ({"LastContact": "1s"}, "no contact with the leader for 1s, allowed are 200ms"),
        ({"LastTerm": 1}, "its last entry is of term 1, the leader's of 2"),
        ({"LastIndex": 700}, "it trails by 300 entries, allowed are 250"),
        ({}, "it was unhealthy when the leader last looked"),
    ],
)
def test_why_a_server_is_unhealthy(state: dict[str, Any], text: str) -> None:
    assert reason(server_health("c2", **state), LEADER, CONFIG) == text
