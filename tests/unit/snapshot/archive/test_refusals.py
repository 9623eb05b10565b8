"""The words of refusals that quote what an archive holds."""

from __future__ import annotations

from tests.support.archive_parts import refusal, written

from bellcow.errors import Code


def test_very_many_unknown_types_are_a_short_message():
    packed = written([("t" * 300 + str(n), "a", b"1") for n in range(500)])
    code, text = refusal(packed, known=[])
    assert code is Code.INVALID
    assert text.endswith("and 480 more")
    assert len(text) < 2_000
