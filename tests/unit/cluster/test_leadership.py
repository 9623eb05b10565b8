"""Leadership: when it is claimed, what ends it, and the wait for a leader."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.sim.peers import flapping
from tests.sim.store import Fault, script
from tests.sim.world import SimServer, World

from bellcow.errors import Code, Error
from bellcow.model.namespace import Namespace
from bellcow.state.commands import put_namespace
from bellcow.state.tables import RAFT
from bellcow.store.protocol import Busy, Corrupt

pytestmark = pytest.mark.virtual_time


def put(name: str):
    return put_namespace(Namespace(name=name))


async def test_server_whose_member_leads_claims_with_its_term():
    async with World() as world:
        world.start("a")
        world.elect("a")
        world.elect("a")
        await asyncio.sleep(0.2)
        head = world.disk.head
        assert (head.leader, head.term, head.index) == ("a", 2, 6)


async def test_server_whose_member_does_not_lead_waits():
    async with World("a", "b") as world:
        server = world.start("a")
        world.elect("b")
        await asyncio.sleep(60)
        assert not server.leadership.is_leader
        assert world.disk.head.index == 0
        assert server.leadership.leader_id == ""


async def test_claim_of_an_existing_cluster_takes_the_next_index():
    async with World("a", "b") as world:
        await world.begin()
        before = world.disk.head
        world.elect("b")
        await asyncio.sleep(0.3)
        after = world.disk.head
        assert after.index == before.index + 1
        assert (after.leader, after.term) == ("b", 2)


async def test_claim_is_not_made_with_a_term_below_that_of_the_store():
    async with World("a", "b") as world:
        first = await world.begin()
        world.elect("b")
        await asyncio.sleep(0.3)
        world.votes.term = 1
        world.elect(None)
        world.votes.leader = 1
        await asyncio.sleep(5)
        assert not first.leadership.is_leader
        assert world.disk.head.leader == "b"


@pytest.mark.parametrize(
    "fault", [Fault.FENCED, Fault.UNKNOWN_NOT_DONE, Fault.UNAVAILABLE, Fault.NO_SPACE]
)
async def test_failed_claim_is_tried_again_and_its_reason_is_logged_once(fault):
    async with World() as world:
        server = world.start("a", script("commit", fault, fault, fault))
        world.votes.term = 10
        world.votes.leader = 1
        await asyncio.sleep(2)
        assert server.leadership.is_leader
        assert server.saw("claim_failed") == 1


@pytest.mark.parametrize("call", ["confirm", "commit"])
async def test_store_that_fails_now_and_then_only_delays_the_claim(call):
    async with World() as world:
        server = world.start("a")
        server.store.fault = script(call, *[Fault.UNAVAILABLE] * 20)
        world.elect("a")
        await asyncio.sleep(5)
        assert server.leadership.is_leader


async def test_leadership_ends_within_two_looks_of_its_loss():
    async with World("a", "b") as world:
        first = await world.begin()
        world.elect("b")
        await asyncio.sleep(0.2)
        assert not first.leadership.is_leader
        assert world.servers["b"].leadership.is_leader


async def test_leader_that_lost_and_regained_the_lead_claims_again():
    async with World("a", "b") as world:
        first = await world.begin()
        first.peers.cut_off()
        world.elect("b")
        await asyncio.sleep(0.3)
        world.elect("a")
        first.peers.frozen = None
        await asyncio.sleep(0.3)
        assert first.leadership.is_leader
        assert world.disk.head.leader == "a"
        assert world.disk.head.term == 3


async def test_leadership_ends_when_the_engine_does_not_answer():
    async with World() as world:
        first = await world.begin()
        first.peers.reachable = lambda: False
        await asyncio.sleep(0.2)
        assert not first.leadership.is_leader


async def test_silent_member_is_reported_as_not_answering():
    async with World() as world:
        first = await world.begin()
        seen = [first.leadership.member_answers]
        for reachable in (False, True):
            first.peers.reachable = lambda now=reachable: now
            await asyncio.sleep(0.3)
            seen.append(first.leadership.member_answers)
        assert seen == [True, False, True]


async def test_term_of_a_silent_member_is_zero():
    async with World("a", "b", "c") as world:
        await world.begin()
        other = world.servers["b"]
        seen = [other.leadership.member_term]
        other.peers.reachable = lambda: False
        for _ in range(2):
            await asyncio.sleep(0.9)
            seen.append(other.leadership.member_term)
        assert seen == [1, 1, 0]


async def test_member_without_a_leader_does_not_count_as_working():
    async with World("a", "b", "c") as world:
        await world.begin()
        other = world.servers["b"]
        seen = []
        for alone in (None, msgspec.structs.replace(other.peers.seen(), leader_id=None), None):
            other.peers.frozen = alone
            await asyncio.sleep(0.3)
            seen.append(other.leadership.member_answers)
        assert seen == [True, False, True]


async def test_deposed_leader_that_hears_nothing_is_fenced_by_the_store():
    """A leader that is cut off still leads in its own view, until its next write is fenced."""

    async with World("a", "b") as world:
        first = await world.begin()
        first.peers.cut_off()
        world.elect("b")
        await asyncio.sleep(0.3)
        assert first.leadership.is_leader
        with pytest.raises(Error, match="No cluster leader"):
            await first.committer.commit(put("x"))
        await asyncio.sleep(0.3)
        assert not first.leadership.is_leader
        assert world.disk.head.leader == "b"


async def test_flapping_engine_loses_and_regains_leadership_and_no_write():
    async with World() as world:
        server = await world.begin()
        server.peers.reachable = flapping(1, 0.5)
        done = []
        for number in range(20):
            try:
                await server.write(put(f"n{number}"))
            except Error:
                continue
            done.append(f"n{number}")
            await asyncio.sleep(0.3)
        rows = {key[1] for key in world.disk.objects[0]}
        assert set(done) <= rows
        assert len(done) > 5
        assert server.saw("leadership_lost") > 1


async def test_request_waits_five_seconds_for_a_leader():
    async with World() as world:
        server = world.start("a")
        with pytest.raises(Error) as caught:
            await server.leadership.wait_for_leader()
        assert caught.value.code is Code.NO_LEADER
        assert asyncio.get_running_loop().time() == 5.0


async def test_waiting_request_continues_as_soon_as_a_leader_exists():
    async with World() as world:
        server = world.start("a")
        async with asyncio.TaskGroup() as group:
            group.create_task(server.leadership.wait_for_leader())
            await asyncio.sleep(1)
            world.elect("a")
        await server.leadership.wait_for_leader()
        assert 1.0 <= asyncio.get_running_loop().time() < 1.2


async def test_epoch_counts_every_change():
    async with World() as world:
        server = await world.begin()
        epochs = [server.leadership.epoch]
        world.elect(None)
        await asyncio.sleep(0.2)
        epochs.append(server.leadership.epoch)
        world.elect("a")
        await asyncio.sleep(0.2)
        assert [*epochs, server.leadership.epoch] == [1, 2, 3]


async def test_failed_loop_starts_again_and_the_others_continue():
    async with World() as world:
        server = SimServer(world, "a")
        began = []

        async def slip() -> None:
            began.append(asyncio.get_running_loop().time())
            raise ZeroDivisionError

        steady = asyncio.Event()

        async def wait() -> None:
            steady.set()
            await asyncio.Event().wait()

        world.elect("a")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(server.mirror.run()),
                group.create_task(server.leadership.run([slip, wait])),
            ]
            await asyncio.sleep(3.5)
            assert steady.is_set()
            assert server.leadership.is_leader
            for task in tasks:
                task.cancel()
        assert len(began) == 4
        assert server.saw("loop_failed") == 4
        assert server.saw("leadership_lost") == 0


async def test_server_can_be_stopped_at_the_very_moment_its_leadership_ends():
    """Python 3.11 loses a cancellation that meets a failing group; the server never ended once."""

    async def _ignored(server: SimServer) -> None:
        try:
            await server.write(put("x"))
        except Error:
            return

    async with World() as world:
        for turns in range(12):
            server = await world.begin() if not world.servers else world.start("a")
            world.elect("a")
            await asyncio.sleep(0.3)
            server.store.fault = script("commit", Fault.UNKNOWN_NOT_DONE)
            async with asyncio.TaskGroup() as group:
                write = group.create_task(_ignored(server))
                for _ in range(turns):
                    await asyncio.sleep(0)
                async with asyncio.timeout(5):
                    await world.stop("a")
                write.cancel()


async def test_claim_corrects_the_servers_own_address():
    async with World() as world:
        await world.begin()
        await world.stop("a")
        server = SimServer(world, "a")
        moved = msgspec.structs.replace(server.leadership._founder, address="new:4647")
        server.leadership._founder = moved
        world.servers["a"] = server
        world.elect("a")
        server.start(world._group)
        await asyncio.sleep(0.3)
        stored = server.tables.one(RAFT)
        assert (stored.servers[0].address, server.saw("address_changed")) == ("new:4647", 1)
        assert stored.modify_index == 8


async def test_second_transfer_is_refused_and_the_first_one_ends():
    async with World("a", "b") as world:
        first = await world.begin()
        leadership = first.leadership
        one = asyncio.ensure_future(leadership.hand_over(world.votes.member_of("b")))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="already"):
            await leadership.hand_over(world.votes.member_of("b"))
        async with asyncio.timeout(10):
            await one
        await asyncio.sleep(0.3)
        assert not leadership.is_leader
        assert world.servers["b"].leadership.is_leader


async def test_claim_on_a_damaged_store_is_tried_again():
    async with World() as world:
        server = world.start("a")
        confirm, damaged = server.store.confirm_in_term, asyncio.Event()

        async def fails():
            damaged.set()
            raise Corrupt("corrupt cluster")

        server.store.confirm_in_term = fails
        world.elect("a")
        await damaged.wait()
        await asyncio.sleep(1)
        server.store.confirm_in_term = confirm
        await asyncio.sleep(1)
        assert server.leadership.is_leader
        assert server.saw("claim_failed") == 1
