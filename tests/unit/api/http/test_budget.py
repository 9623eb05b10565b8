"""Bytes of unfinished requests, in all or by address."""

from __future__ import annotations

import pytest

from bellcow.api.http.budget import Budget, Share
from bellcow.errors import Code, Error


def test_each_holder_has_the_whole_limit_and_can_release():
    budget = Budget(10, "too many bytes")
    budget.take(10, "a")
    budget.take(10, "b")
    with pytest.raises(Error) as caught:
        budget.take(1, "a")
    assert caught.value.code is Code.TOO_MANY
    assert caught.value.message == "too many bytes"
    assert budget.held == 20
    budget.release(4, "a")
    budget.take(4, "a")
    budget.release(10, "a")
    budget.release(10, "b")
    assert budget._held == {}


async def pieces(count: int):
    for _ in range(count):
        yield bytes(5)


async def pairs(chunks):
    """Two chunks make one frame."""
    before = b""
    async for chunk in chunks:
        if before:
            yield before + chunk
            before = b""
        else:
            before = chunk


async def test_chunks_are_held_until_a_whole_frame_is_made_of_them():
    budget = Budget(10, "too many bytes")
    share = Share(budget, "a")
    assert [each async for each in share.released(pairs(share.counted(pieces(8))))] == (
        [bytes(10)] * 4
    )
    assert budget._held == {}


@pytest.mark.parametrize("count", [3, 5])
async def test_request_that_ends_early_releases_its_share(count: int):
    budget = Budget(10, "too many bytes")
    share = Share(budget, "a")

    async def never(chunks):
        async for _ in chunks:
            pass
        raise Error(Code.UNKNOWN_OUTCOME, "cut")
        yield b""

    with pytest.raises(Error):
        [each async for each in share.released(never(share.counted(pieces(count))))]
    assert budget._held == {}
