"""What an answer means for the one who asked."""

from __future__ import annotations

import pytest
from tests.cluster.chaos.clients import is_known, judge


@pytest.mark.parametrize(
    ("status", "text", "outcome", "known"),
    [
        (500, "No cluster leader", "not done", True),
        (500, "rpc error: No cluster leader", "not done", True),
        (500, "not done: leadership changed while committing", "not done", True),
        (500, "snapshot restore in progress", "not done", True),
        (500, "not done: the consensus does not answer now", "not done", True),
        (500, "not done: for some reason", "unknown", False),
        (500, "not restored, nothing changed: No space left on device", "not done", True),
        (500, "not restored, nothing changed: no room", "unknown", False),
        (500, "outcome unknown: the write may or may not be done", "unknown", True),
        (
            500,
            "outcome unknown: the write may or may not be done (it did not answer)",
            "unknown",
            True,
        ),
        (500, "outcome unknown: the write may or may not be done (no idea)", "unknown", False),
        (500, "outcome unknown: KeyError()", "unknown", False),
        (500, "internal error; the server's log has more", "unknown", False),
        (500, "No cluster leader, says somebody", "unknown", False),
        (502, "", "unknown", False),
        (409, "another snapshot restore is in progress", "not done", True),
        (429, "too many writes are waiting; try again in a moment", "not done", True),
    ],
)
def test_failure_is_judged_by_its_reason(status, text, outcome, known):
    assert judge(status, text) == outcome
    assert is_known(status, text) is known
