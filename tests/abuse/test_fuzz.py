"""Each fuzz target runs for some seconds; by hand they may run for hours."""

from __future__ import annotations

import os
import random

import pytest
from tests.fuzz import fuzz_archive, fuzz_decode, fuzz_duration, fuzz_hcl, fuzz_license, mutation

SECONDS = float(os.environ.get("BELLCOW_FUZZ_SECONDS", "5"))
TARGETS = {
    "decode": fuzz_decode.TARGET,
    "duration": fuzz_duration.TARGET,
    "hcl": fuzz_hcl.TARGET,
    "license": fuzz_license.TARGET,
}

pytestmark = pytest.mark.slow


def new_seed() -> int:
    """Another one each time; a finding prints it."""
    return random.SystemRandom().randrange(1 << 32)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_refused_and_breaks_nothing(name: str) -> None:
    assert mutation.run(TARGETS[name], SECONDS, new_seed()) > 100


def test_damaged_archives_are_refused_and_break_nothing() -> None:
    assert fuzz_archive.run(SECONDS, new_seed()) > 10


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_taken_as_they_are(name: str) -> None:
    for sample in TARGETS[name].samples:
        TARGETS[name].check(sample)


def test_a_finding_is_raised() -> None:
    def check(data: bytes) -> None:
        assert b"x" not in data

    with pytest.raises(AssertionError):
        mutation.run(mutation.Target(check, (b"ab",), (b"x",)), 5, 1)
