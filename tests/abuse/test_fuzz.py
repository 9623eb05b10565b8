"""Each fuzz target gets a number of damaged inputs; by hand it may get any number."""

from __future__ import annotations

import os
import random

import pytest
from tests.fuzz import fuzz_archive, fuzz_decode, fuzz_duration, fuzz_hcl, fuzz_license, mutation

RUNS = int(os.environ.get("BELLCOW_FUZZ_RUNS", "3000"))
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
    mutation.run(TARGETS[name], RUNS, new_seed())


def test_damaged_archives_are_refused_and_break_nothing() -> None:
    fuzz_archive.run(RUNS // 10, new_seed())


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_taken_as_they_are(name: str) -> None:
    for sample in TARGETS[name].samples:
        TARGETS[name].check(sample)


def test_a_finding_is_raised() -> None:
    def check(data: bytes) -> None:
        assert b"x" not in data

    with pytest.raises(AssertionError):
        mutation.run(mutation.Target(check, (b"ab",), (b"x",)), 1_000, 1)


def test_every_run_damages_an_input_of_its_own() -> None:
    seen: list[bytes] = []
    target = mutation.Target(seen.append, (b"a sample of some length",), (b"x", b"yy"))
    mutation.run(target, 200, 1)
    assert len(seen) == 200
    assert len(set(seen)) > 150
    assert sum(data in target.samples for data in seen) < 20
