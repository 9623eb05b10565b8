"""Time and randomness."""

from __future__ import annotations

import re
import time

import pytest
from tests.sim.clock import BEGIN_NS, FixedClock, VirtualClock

from bellcow.clock import SystemClock, new_uuid

pytestmark = pytest.mark.virtual_time

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_system_clock_reads_the_time_of_the_machine():
    clock = SystemClock()
    assert abs(clock.wall_ns() - time.time_ns()) < 10**9
    assert clock.monotonic() <= clock.monotonic()


def test_system_clock_gives_random_bytes_and_numbers():
    clock = SystemClock()
    assert clock.random_bytes(32) != clock.random_bytes(32)
    assert len(clock.random_bytes(7)) == 7
    assert all(1.0 <= clock.uniform(1.0, 2.0) <= 2.0 for _ in range(100))


def test_uuid_has_its_form_and_all_bits_random():
    made = {new_uuid(SystemClock()) for _ in range(100)}
    assert len(made) == 100
    assert all(UUID.fullmatch(each) for each in made)
    assert len({each[14] for each in made}) > 1  # no version digit


def test_uuid_of_a_seed_is_the_same_again():
    assert new_uuid(FixedClock(seed=1)) == new_uuid(FixedClock(seed=1))
    assert new_uuid(FixedClock(seed=1)) != new_uuid(FixedClock(seed=2))


async def test_virtual_clock_follows_its_loop():
    import asyncio

    clock = VirtualClock()
    await asyncio.sleep(3_600)
    clock.set_ahead(-10)
    assert (clock.monotonic(), clock.wall_ns()) == (3_600.0, BEGIN_NS + 3_590 * 10**9)
