"""The steps at which a file that fills up is reported."""

from __future__ import annotations

import asyncio

import pytest

from bellcow.cluster.engine.protocol import Status
from bellcow.cluster.engine.quota import LOOK_S, Quota, level
from bellcow.store.protocol import Unavailable

pytestmark = pytest.mark.virtual_time


class Member:
    """A member whose store has another size, or no answer, at each look."""

    def __init__(self, *sizes: int | None) -> None:
        self.sizes = list(sizes)

    async def status(self) -> Status:
        size = self.sizes.pop(0)
        if size is None:
            raise Unavailable("it does not run")
        return Status(member_id=1, leader_id=1, term=1, db_bytes=size)


async def told_of(*sizes: int | None) -> list[str]:
    """What is told of a store with a quota of 1,000 bytes."""
    events: list[str] = []

    def report(event: str, /, **fields: object) -> None:
        events.append(f"{event} {fields.get('percent', '')}".strip())

    quota = Quota(Member(*sizes), 1_000, report)
    task = asyncio.get_running_loop().create_task(quota.run())
    await asyncio.sleep(LOOK_S * (len(sizes) - 0.5))
    task.cancel()
    return events


@pytest.mark.parametrize(
    ("used", "step"), [(0, 0), (799, 0), (800, 80), (849, 80), (850, 85), (1_000, 100)]
)
def test_levels_begin_at_four_fifths(used, step):
    assert level(used, 1_000) == step


async def test_each_step_is_reported_once_and_the_return_below_it():
    sizes = (500, 800, 820, 851, 849, 852, 999, 100, 100, 805)
    assert await told_of(*sizes) == [
        "store_usage_high 80",
        "store_usage_high 85",
        "store_usage_high 85",
        "store_usage_high 99",
        "store_usage_normal",
        "store_usage_high 80",
    ]


async def test_member_that_does_not_answer_changes_nothing():
    events = await told_of(900, None, 900, None, 100)
    assert events == ["store_usage_high 90", "store_usage_normal"]
