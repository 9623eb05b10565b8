"""Requests about membership: their answers, and what ends their waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.herd import CLUSTER_ID, begun, refusal
from tests.sim.store import Fault

from bellcow.cluster.peers.requests import ANSWER_S
from bellcow.errors import Code
from bellcow.model.agent import ALIVE, LEFT
from bellcow.model.membership_calls import (
    LEAVE_PATH,
    MEMBER_PATH,
    STANDING_PATH,
    LeaveRequest,
    MemberOrder,
    Standing,
    StandingRequest,
    decode,
    encode,
)
from bellcow.store.protocol import Unknown

if TYPE_CHECKING:
    from bellcow.cluster.peers.inputs import ClusterView

pytestmark = pytest.mark.virtual_time


async def test_server_that_does_not_lead_refuses_every_request():
    async with begun() as herd:
        asked = herd.servers["b"].membership
        codes = [
            (await refusal(work)).code
            for work in (
                asked.admit(herd.request("c")),
                asked.standing(StandingRequest(server_id="c", member_id=3)),
                asked.remove("c"),
                asked.leave("c"),
                asked.promote("c"),
                asked.demote("c"),
                asked.transfer("c"),
                asked.force_leave("c.global"),
                asked.hand_on(),
            )
        ]
        assert set(codes) == {Code.NO_LEADER}


async def test_admission_and_order_carry_the_founding():
    async with begun() as herd:
        asked, told = herd.servers["a"].membership, []
        asked._state.founding = lambda: "the second"
        real = herd.post

        async def listen(target, path, body):
            if path == MEMBER_PATH:
                told.append(decode(body, MemberOrder))
            return await real(target, path, body)

        herd.post = listen
        herd.start("d")
        standing = await asked.admit(herd.request("d"))
        await asked.promote("d")
        await herd.settle()
        assert [each.founding for each in (standing, told[0])] == ["the second"] * 2


async def test_standing_has_entry_member_and_the_other_addresses():
    async with begun() as herd:
        asked = herd.servers["a"].membership
        herd.start("d")
        await herd.ask_to_join("d")
        well, strange, without, stranger = [
            await asked.standing(StandingRequest(server_id=name, member_id=number))
            for name, number in (("b", 2), ("b", 99), ("d", 0), ("x", 0))
        ]
        assert (well.cluster_id, well.epoch) == (CLUSTER_ID, 0)
        assert dict(well.servers)["b"] == "b:4648"
        seen = [(s.configured, s.voter, s.is_member) for s in (well, strange, without, stranger)]
        assert seen == [
            (True, True, True),
            (True, True, False),
            (True, False, False),
            (False, False, False),
        ]


async def test_promotion_on_the_embedded_store_is_refused_with_the_way_out():
    async with begun() as herd:
        membership = herd.servers["a"].membership
        membership._grows = lambda: False
        herd.start("d")
        await herd.ask_to_join("d")
        error = await refusal(membership.promote("d"))
        await asyncio.sleep(60)
        assert error.code is Code.UNSUPPORTED
        assert error.message.startswith("a.global keeps its state in the embedded store")
        assert "engine" in error.message
        assert herd.servers["a"].saw("promotion_impossible") == 1
        assert [server.voter for server in herd.stored().servers] == [True, True, True, False]


async def test_removal_that_cannot_be_made_is_answered_in_time():
    async with begun() as herd:
        herd.votes.fault = lambda change: Fault.UNKNOWN_NOT_DONE if change == "remove" else None
        began = herd.clock.monotonic()
        error = await refusal(herd.servers["a"].membership.remove("c"))
        took = herd.clock.monotonic() - began
        second = await refusal(herd.servers["a"].membership.remove("b"))
        herd.votes.fault = lambda change: None
        await herd.settle()
        assert error.code is Code.UNKNOWN_OUTCOME
        assert took == pytest.approx(ANSWER_S, abs=0.1)
        assert second.code is Code.UNAVAILABLE
        assert herd.votes.voters() == ["a", "b"]


async def test_removed_leader_learns_of_its_removal_from_the_next_leader():
    """Its own memory gets no more commits, for its member was removed."""

    async with begun() as herd:
        first = herd.servers["a"]

        async def nothing_more(after):
            await asyncio.sleep(3_600)
            yield after

        herd.votes.fault = lambda change: None
        work = asyncio.get_running_loop().create_task(first.membership.remove("a"))
        await asyncio.sleep(0.01)
        first.store.changes = nothing_more
        first.mirror._load_again()
        await work
        assert herd.leader().name in "bc"
        assert herd.votes.voters() == ["b", "c"]


async def test_successor_is_asked_for_a_hello_before_it_is_refused():
    async with begun() as herd:
        asked = herd.servers["a"].membership
        look, greeted = asked._state.look, []

        def stale() -> ClusterView:
            return look() if greeted else msgspec.structs.replace(look(), idle=frozenset("b"))

        async def join(address):
            greeted.append(address)

        asked._state.look, herd.join = stale, join
        await asked.transfer("b")
        assert len(greeted) == 1
        assert (await herd.leading()).name == "b"


async def test_removal_waits_for_voters_that_were_just_promoted():
    async with begun() as herd:
        asked = herd.servers["a"].membership
        look, began = asked._state.look, herd.clock.monotonic()

        def late() -> ClusterView:
            starts = herd.clock.monotonic() - began < 0.5
            return msgspec.structs.replace(look(), idle=frozenset("c")) if starts else look()

        asked._state.look = late
        await asked.remove("b")
        assert herd.votes.voters() == ["a", "c"]


async def test_removal_that_would_cost_the_quorum_is_refused_within_two_seconds():
    async with begun() as herd:
        asked = herd.servers["a"].membership
        look, began = asked._state.look, herd.clock.monotonic()
        asked._state.look = lambda: msgspec.structs.replace(look(), idle=frozenset("c"))
        error = await refusal(asked.remove("b"))
        assert error.code == Code.CONFLICT
        assert herd.clock.monotonic() - began < 2


@pytest.mark.parametrize("failure", [Unknown("lost"), None])
async def test_failed_transfer_is_an_error_in_time(failure):
    async with begun() as herd:

        async def hand_over(member_id):
            if failure is not None:
                raise failure
            await asyncio.sleep(3_600)

        server = herd.servers["a"]
        server.leadership.hand_over = hand_over
        began = herd.clock.monotonic()
        error = await refusal(server.membership.transfer("b"))
        assert error.code is (Code.UNAVAILABLE if failure else Code.UNKNOWN_OUTCOME)
        assert herd.clock.monotonic() - began <= ANSWER_S + 0.1


async def test_stopping_leader_transfers_to_a_voter_that_takes_part():
    async with begun() as herd:
        await herd.stop("b")
        await herd.servers["a"].membership.hand_on()
        leader = await herd.leading()
        await herd.stop("a")
        assert leader.name == "c"


async def test_dead_servers_are_removed_before_an_admission():
    async with begun("a", "b", "c", "d", "e") as herd:
        await asyncio.sleep(4)
        await herd.stop("e")
        await asyncio.sleep(15.2)  # failed for ten seconds, and before autopilot's next round
        herd.start("f")
        await herd.ask_to_join("f")
        assert [server.id for server in herd.stored().servers] == ["a", "b", "c", "d", "f"]


async def test_leave_and_standing_are_served_on_the_port_between_servers():
    async with begun() as herd:
        leader = herd.view("b").targets["a"]
        herd.going.add("c")
        answers = [
            await herd.post(leader, LEAVE_PATH, encode(LeaveRequest(server_id="c"))),
            await herd.post(
                leader, STANDING_PATH, encode(StandingRequest(server_id="c", member_id=3))
            ),
        ]
        left, standing = [decode(answer, Standing) for answer in answers]
        assert not left.configured
        assert msgspec.structs.replace(standing, servers=()) == msgspec.structs.replace(
            left, servers=()
        )


@pytest.mark.parametrize("gone", [False, True])
async def test_server_that_does_not_say_itself_that_it_leaves_is_not_removed(gone: bool):
    async with begun() as herd:
        if gone:
            await herd.stop("c")
        leader = herd.view("b").targets["a"]
        asked = herd.post(leader, LEAVE_PATH, encode(LeaveRequest(server_id="c")))
        error = await refusal(asked)
        assert error.code is Code.CONFLICT
        assert "c has not announced that it leaves" in error.message
        assert herd.votes.voters() == ["a", "b", "c"]


async def test_server_that_does_not_answer_is_not_admitted():
    async with begun() as herd:
        herd.start("d")
        asked = herd.request("d")
        await herd.stop("d")
        error = await refusal(herd.servers["a"].membership.admit(asked))
        assert error.code is Code.UNAVAILABLE
        assert "does not answer the leader" in error.message


async def test_force_leave_shows_a_failed_server_as_left_and_prune_forgets_it():
    async with begun() as herd:
        membership = herd.servers["a"].membership
        await herd.stop("c")
        await asyncio.sleep(6)
        await membership.force_leave("c.global")
        left = herd.status("c")
        await membership.force_leave("c.global", prune=True)
        assert left == "left"
        assert herd.status("c") == "none"
        assert herd.votes.voters() == ["a", "b"]


async def test_force_leave_of_the_last_voter_is_refused():
    async with begun("a") as herd:
        error = await refusal(herd.servers["a"].membership.force_leave("a.global", force=True))
        assert error.code is Code.CONFLICT
        assert "last voter" in error.message


async def test_live_server_is_removed_only_by_force():
    async with begun() as herd:
        membership = herd.servers["a"].membership
        await membership.force_leave("c.global")
        kept = herd.votes.voters()
        await membership.force_leave("c.global", force=True)
        assert kept == ["a", "b", "c"]
        assert herd.votes.voters() == ["a", "b"]


async def test_server_stopped_after_its_removal_counts_as_left():
    async with begun() as herd:
        asked = herd.servers["a"].membership
        await asked.remove("c")
        before = herd.status("c")
        await herd.stop("c")
        await asyncio.sleep(4.0)
        at_once = herd.status("c")
        await asyncio.sleep(8.0)
        assert before == ALIVE
        assert at_once == ALIVE
        assert herd.status("c") == LEFT
