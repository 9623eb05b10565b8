"""The routes of membership on the port between servers."""

from __future__ import annotations

import pytest
from tests.sim.herd import Herd

from bellcow.api.internal.peers import routes
from bellcow.errors import Code, Error
from bellcow.model.membership_calls import (
    JOIN_PATH,
    LEAVE_PATH,
    STANDING_PATH,
    LeaveRequest,
    Standing,
    StandingRequest,
    decode,
    encode,
)

pytestmark = pytest.mark.virtual_time


async def asked(herd: Herd, name: str, path: str, body: bytes) -> Standing:
    route = routes(herd.servers[name].membership)["POST", path]
    assert len(body) <= route.body_bytes
    assert not route.any_region
    return decode(await route.handle(None, body), Standing)


async def test_leader_admits_confirms_and_removes_a_server():
    async with Herd("a", "b", "c") as herd:
        await herd.begin()
        herd.start("d")
        standing = encode(StandingRequest(server_id="d", member_id=0))
        joined = await asked(herd, "a", JOIN_PATH, encode(herd.request("d")))
        stands = await asked(herd, "a", STANDING_PATH, standing)
        herd.going.add("d")  # it says itself that it leaves
        left = await asked(herd, "a", LEAVE_PATH, encode(LeaveRequest(server_id="d")))
        assert [each.configured for each in [joined, stands, left]] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("b", encode(LeaveRequest(server_id="c")), Code.NO_LEADER),
        ("a", b"\xc1", Code.INVALID),
        ("a", b"", Code.INVALID),
    ],
)
async def test_another_server_and_another_message_are_refused(name, body, code):
    async with Herd("a", "b", "c") as herd:
        await herd.begin()
        with pytest.raises(Error) as caught:
            await asked(herd, name, LEAVE_PATH, body)
        assert caught.value.code is code
