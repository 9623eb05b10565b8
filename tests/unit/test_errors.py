"""Errors and their codes."""

from __future__ import annotations

import pytest

from bellcow.api.errors import STATUS
from bellcow.errors import Code, Error, denied, invalid, no_leader, not_found, refused


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (invalid("x"), Code.INVALID, "x"),
        (denied(), Code.DENIED, "Permission denied"),
        (denied("why"), Code.DENIED, "why"),
        (not_found("x"), Code.NOT_FOUND, "x"),
        (refused("x"), Code.REFUSED, "x"),
        (no_leader(), Code.NO_LEADER, "No cluster leader"),
    ],
)
def test_error_has_its_code_and_its_message(error, code, message):
    assert (error.code, error.message, str(error)) == (code, message, message)


def test_every_code_has_a_status():
    assert set(STATUS) == set(Code)


def test_error_is_raised_and_caught_as_one_type():
    with pytest.raises(Error, match="x"):
        raise invalid("x")
