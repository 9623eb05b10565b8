"""The line that says why no server leads."""

from __future__ import annotations

from bellcow.api.pipeline.no_leader import CAUSES, CHARS, SHOWN, in_words
from bellcow.events import EVENTS

UNANSWERED = {"address": "10.0.0.2:4648", "reason": "connection refused"}


def test_causes_have_their_hints_and_the_most_specific_is_first():
    troubles = {"join_unanswered": UNANSWERED, "no_leader": {"needed": 2, "hint": "start s2"}}
    assert in_words(troubles) == (
        f"{EVENTS['no_leader'].message} (needed: 2): start s2; {EVENTS['join_unanswered'].message} "
        "(address: 10.0.0.2:4648, reason: connection refused)"
    )


def test_unrelated_event_is_no_cause():
    assert in_words({}) == ""
    assert in_words({"name_conflict": {"name": "s2"}}) == ""


def test_line_fits_into_a_header_whatever_others_have_said():
    troubles = {event: {"reason": "zwölf\r\nX: y " + "x" * 400} for event in CAUSES}
    line = in_words(troubles)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= CHARS
    assert sum(EVENTS[event].message in line for event in CAUSES) <= SHOWN
