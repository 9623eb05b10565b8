"""Requests about membership: their answers, and what ends their waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.sim.herd import CLUSTER_ID, refusal, run
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


def test_server_that_does_not_lead_refuses_every_request():
    async def story(herd):
        asked = herd.servers["b"].membership
        return [
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

    assert set(run(story)) == {Code.NO_LEADER}


def test_admission_and_order_carry_the_founding():
    async def story(herd):
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
        return standing, told[0]

    assert [each.founding for each in run(story)] == ["the second"] * 2


def test_standing_has_entry_member_and_the_other_addresses():
    async def story(herd):
        asked = herd.servers["a"].membership
        herd.start("d")
        await herd.ask_to_join("d")
        return [
            await asked.standing(StandingRequest(server_id=name, member_id=number))
            for name, number in (("b", 2), ("b", 99), ("d", 0), ("x", 0))
        ]

    well, strange, without, stranger = run(story)
    assert (well.cluster_id, well.epoch) == (CLUSTER_ID, 0)
    assert dict(well.servers)["b"] == "b:4648"
    assert [(s.configured, s.voter, s.is_member) for s in (well, strange, without, stranger)] == [
        (True, True, True),
        (True, True, False),
        (True, False, False),
        (False, False, False),
    ]


def test_promotion_on_the_embedded_store_is_refused_with_the_way_out():
    async def story(herd):
        membership = herd.servers["a"].membership
        membership._grows = lambda: False
        herd.start("d")
        await herd.ask_to_join("d")
        error = await refusal(membership.promote("d"))
        await asyncio.sleep(60)
        return error, herd.servers["a"].saw("promotion_impossible"), herd.stored()

    error, said, stored = run(story)
    assert error.code is Code.UNSUPPORTED
    assert error.message.startswith("a.global keeps its state in the embedded store")
    assert "engine" in error.message
    assert said == 1
    assert [server.voter for server in stored.servers] == [True, True, True, False]


def test_removal_that_cannot_be_made_is_answered_in_time():
    async def story(herd):
        herd.votes.fault = lambda change: Fault.UNKNOWN_NOT_DONE if change == "remove" else None
        began = herd.clock.monotonic()
        error = await refusal(herd.servers["a"].membership.remove("c"))
        took = herd.clock.monotonic() - began
        second = await refusal(herd.servers["a"].membership.remove("b"))
        herd.votes.fault = lambda change: None
        await herd.settle()
        return error, took, second, herd.votes.voters()

    error, took, second, voters = run(story)
    assert error.code is Code.UNKNOWN_OUTCOME
    assert took == pytest.approx(ANSWER_S, abs=0.1)
    assert second.code is Code.UNAVAILABLE
    assert voters == ["a", "b"]


def test_removed_leader_learns_of_its_removal_from_the_next_leader():
    """Its own memory gets no more commits, for its member was removed."""

    async def story(herd):
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
        return herd.leader().name, herd.votes.voters()

    leader, voters = run(story)
    assert leader in "bc"
    assert voters == ["b", "c"]


def test_successor_is_asked_for_a_hello_before_it_is_refused():
    async def story(herd):
        asked = herd.servers["a"].membership
        look, greeted = asked._state.look, []

        def stale() -> ClusterView:
            return look() if greeted else msgspec.structs.replace(look(), idle=frozenset("b"))

        async def join(address):
            greeted.append(address)

        asked._state.look, herd.join = stale, join
        await asked.transfer("b")
        return len(greeted), (await herd.leading()).name

    assert run(story) == (1, "b")


def test_removal_waits_for_voters_that_were_just_promoted():
    async def story(herd):
        asked = herd.servers["a"].membership
        look, began = asked._state.look, herd.clock.monotonic()

        def late() -> ClusterView:
            starts = herd.clock.monotonic() - began < 0.5
            return msgspec.structs.replace(look(), idle=frozenset("c")) if starts else look()

        asked._state.look = late
        await asked.remove("b")
        return herd.votes.voters()

    assert run(story) == ["a", "c"]


def test_removal_that_would_cost_the_quorum_is_refused_within_two_seconds():
    async def story(herd):
        asked = herd.servers["a"].membership
        look, began = asked._state.look, herd.clock.monotonic()
        asked._state.look = lambda: msgspec.structs.replace(look(), idle=frozenset("c"))
        error = await refusal(asked.remove("b"))
        return error.code, herd.clock.monotonic() - began < 2

    assert run(story) == (Code.CONFLICT, True)


@pytest.mark.parametrize("failure", [Unknown("lost"), None])
def test_failed_transfer_is_an_error_in_time(failure):
    async def story(herd):
        async def hand_over(member_id):
            if failure is not None:
                raise failure
            await asyncio.sleep(3_600)

        server = herd.servers["a"]
        server.leadership.hand_over = hand_over
        began = herd.clock.monotonic()
        error = await refusal(server.membership.transfer("b"))
        return error.code, herd.clock.monotonic() - began

    code, took = run(story)
    assert code is (Code.UNAVAILABLE if failure else Code.UNKNOWN_OUTCOME)
    assert took <= ANSWER_S + 0.1


def test_stopping_leader_transfers_to_a_voter_that_takes_part():
    async def story(herd):
        await herd.stop("b")
        await herd.servers["a"].membership.hand_on()
        leader = await herd.leading()
        await herd.stop("a")
        return leader.name

    assert run(story) == "c"


def test_dead_servers_are_removed_before_an_admission():
    async def story(herd):
        await asyncio.sleep(4)
        await herd.stop("e")
        await asyncio.sleep(15.2)  # failed for ten seconds, and before autopilot's next round
        herd.start("f")
        await herd.ask_to_join("f")
        return [server.id for server in herd.stored().servers]

    assert run(story, "a", "b", "c", "d", "e") == ["a", "b", "c", "d", "f"]


def test_leave_and_standing_are_served_on_the_port_between_servers():
    async def story(herd):
        leader = herd.view("b").targets["a"]
        herd.going.add("c")
        answers = [
            await herd.post(leader, LEAVE_PATH, encode(LeaveRequest(server_id="c"))),
            await herd.post(
                leader, STANDING_PATH, encode(StandingRequest(server_id="c", member_id=3))
            ),
        ]
        return [decode(answer, Standing) for answer in answers]

    left, standing = run(story)
    assert not left.configured
    assert msgspec.structs.replace(standing, servers=()) == msgspec.structs.replace(
        left, servers=()
    )


@pytest.mark.parametrize("gone", [False, True])
def test_server_that_does_not_say_itself_that_it_leaves_is_not_removed(gone: bool):
    async def story(herd):
        if gone:
            await herd.stop("c")
        leader = herd.view("b").targets["a"]
        asked = herd.post(leader, LEAVE_PATH, encode(LeaveRequest(server_id="c")))
        return await refusal(asked), herd.votes.voters()

    error, voters = run(story)
    assert error.code is Code.CONFLICT
    assert "c does not say itself that it leaves" in error.message
    assert voters == ["a", "b", "c"]


def test_server_that_does_not_answer_is_not_admitted():
    async def story(herd):
        herd.start("d")
        asked = herd.request("d")
        await herd.stop("d")
        return await refusal(herd.servers["a"].membership.admit(asked))

    error = run(story)
    assert (error.code, "does not answer the leader" in error.message) == (
        Code.UNAVAILABLE,
        True,
    )


def test_force_leave_shows_a_failed_server_as_left_and_prune_forgets_it():
    async def story(herd):
        membership = herd.servers["a"].membership
        await herd.stop("c")
        await asyncio.sleep(6)
        await membership.force_leave("c.global")
        left = herd.status("c")
        await membership.force_leave("c.global", prune=True)
        return left, herd.status("c"), herd.votes.voters()

    assert run(story) == ("left", "none", ["a", "b"])


def test_force_leave_of_the_last_voter_is_refused():
    async def story(herd):
        return await refusal(herd.servers["a"].membership.force_leave("a.global", force=True))

    error = run(story, "a")
    assert error.code is Code.CONFLICT
    assert "last voter" in error.message


def test_live_server_is_removed_only_by_force():
    async def story(herd):
        membership = herd.servers["a"].membership
        await membership.force_leave("c.global")
        kept = herd.votes.voters()
        await membership.force_leave("c.global", force=True)
        return kept, herd.votes.voters()

    assert run(story) == (["a", "b", "c"], ["a", "b"])


def test_server_stopped_after_its_removal_counts_as_left():
    async def story(herd):
        asked = herd.servers["a"].membership
        await asked.remove("c")
        before = herd.status("c")
        await herd.stop("c")
        await asyncio.sleep(4.0)
        at_once = herd.status("c")
        await asyncio.sleep(8.0)
        return before, at_once, herd.status("c")

    assert run(story) == (ALIVE, ALIVE, LEFT)
