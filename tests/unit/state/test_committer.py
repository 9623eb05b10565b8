"""The committer: batches, their answers, and every way in which a commit can go wrong."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.sim.store import Fault, no_fault, script
from tests.sim.world import SimServer, World

from bellcow.errors import Code, Error, invalid
from bellcow.model.namespace import Namespace
from bellcow.state.commands import put_namespace
from bellcow.state.committer import COMMANDS_A_BATCH, QUEUE_LIMIT
from bellcow.state.tables import NAMESPACES
from bellcow.store.protocol import Change, Fenced, Limits, Unavailable

if TYPE_CHECKING:
    from bellcow.state.draft import Draft

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def leading(limits: Limits | None = None):
    async with World("a") as world:
        server = await world.begin()
        if limits is not None:
            server.limit(limits)
        yield server


def put(name: str, size: int = 0):
    return put_namespace(Namespace(name=name, description="x" * size))


async def outcome(server: SimServer, command) -> object:
    """The index a command took, or the code of its refusal."""
    try:
        return (await server.committer.commit(command)).index
    except Error as error:
        return error.code


async def outcomes(server: SimServer, *commands) -> list[object]:
    return list(await asyncio.gather(*(outcome(server, each) for each in commands)))


def names(server: SimServer) -> set[str]:
    return set(server.tables.all(NAMESPACES)) - {"default"}


def refuse(_draft: Draft) -> None:
    raise invalid("no")


# Batches


async def test_commands_queued_together_are_one_commit():
    async with leading() as server:
        before = server.committer.commits
        told = await outcomes(server, *(put(f"n{n}") for n in range(50)))
        assert told == list(range(8, 58))
        assert server.committer.commits - before == 1
        assert len(names(server)) == 50


async def test_batch_has_a_limit():
    async with leading() as server:
        before = server.committer.commits
        await outcomes(server, *(put(f"n{n}") for n in range(COMMANDS_A_BATCH + 1)))
        assert server.committer.commits - before == 2


async def test_answer_is_sent_when_memory_has_the_commit():
    async with leading() as server:
        index = await outcome(server, put("a"))
        assert index == server.tables.index
        assert names(server) == {"a"}


async def test_refused_command_does_not_stop_the_others_of_its_batch():
    async with leading() as server:
        assert await outcomes(server, put("a"), refuse, put("b")) == [8, Code.INVALID, 9]


async def test_fault_in_a_command_does_not_stop_the_others_of_its_batch():
    async with leading() as server:
        told = await asyncio.gather(
            server.committer.commit(put("a")),
            server.committer.commit(lambda _draft: 1 // 0),
            server.committer.commit(lambda draft: draft.put(NAMESPACES, "x", object())),
            server.committer.commit(put("b")),
            return_exceptions=True,
        )
        kinds = [type(each).__name__ for each in told]
        assert kinds[1] == "ZeroDivisionError"
        assert kinds[0] == kinds[3] == "Written"
        assert kinds[2] != "Written"
        assert names(server) == {"a", "b"}


async def test_refusal_waits_for_the_commit_of_its_batch():
    """A refusal that an earlier command of the batch caused is not told if that is not done."""

    def only_once(draft: Draft):
        if draft.get(NAMESPACES, "a") is not None:
            raise invalid("it is there")
        return put("a")(draft)

    async with leading() as server:
        server.store.fault = script("commit", Fault.NO_SPACE)
        assert await outcomes(server, only_once, only_once) == [Code.UNAVAILABLE, Code.UNAVAILABLE]


async def test_batch_that_changes_nothing_is_confirmed_and_takes_no_index():
    async with leading() as server:
        before = server.tables.index
        told = await outcomes(server, refuse)
        server.store.fault = script("confirm", Fault.UNAVAILABLE)
        told += await outcomes(server, refuse)
        assert told == [Code.INVALID, Code.UNAVAILABLE]
        assert server.tables.index - before == 0


async def test_batch_that_changes_nothing_is_not_answered_from_a_replaced_head():
    async with leading() as server:
        server.store.fault = script("confirm", Fault.FENCED)
        assert await outcome(server, refuse) is Code.NO_LEADER


async def test_write_of_a_client_that_disconnected_is_still_done():
    async with leading() as server:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outcome(server, put("a")))
            await asyncio.sleep(0)
            task.cancel()
        await outcome(server, put("b"))
        assert names(server) == {"a", "b"}


# Limits


async def test_object_over_the_limit_is_refused_alone():
    async with leading(Limits(object_bytes=500)) as server:
        assert await outcomes(server, put("a"), put("big", 600), put("b")) == [8, Code.TOO_LARGE, 9]


@pytest.mark.parametrize("limits", [Limits(max_bytes=1_000), Limits(max_changes=5)])
async def test_command_that_no_commit_can_hold_is_refused_alone(limits):
    """It was tried for ever once: it fitted no batch, and waited for the next."""

    def many(draft: Draft):
        for number in range(10):
            put(f"m{number}", 100)(draft)

    async with leading(limits) as server:
        assert await outcomes(server, put("a"), many, put("b")) == [8, Code.TOO_LARGE, 9]


async def test_batch_is_cut_before_the_limits_of_the_store():
    async with leading(Limits(max_bytes=1_500)) as server:
        before = server.committer.commits
        told = await outcomes(server, *(put(f"n{n}", 200) for n in range(10)))
        assert told == list(range(8, 18))
        assert 2 <= server.committer.commits - before < 10


async def test_too_many_waiting_writes_are_refused():
    async with leading() as server:
        async with server.committer.hold():
            pass
        told = await outcomes(server, *(put("a") for _ in range(QUEUE_LIMIT + 1)))
        assert told.count(Code.TOO_MANY) == 1


# What can go wrong with a commit


@pytest.mark.parametrize(
    ("fault", "told", "present"),
    [
        (Fault.NO_SPACE, Code.UNAVAILABLE, set()),
        (Fault.UNAVAILABLE, Code.UNAVAILABLE, set()),
        (Fault.FENCED, Code.NO_LEADER, set()),
        (Fault.UNKNOWN_NOT_DONE, Code.UNAVAILABLE, set()),
        (Fault.UNKNOWN_DONE, 8, {"a"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_answer_says_whether_the_write_was_done(fault, told, present):
    async with leading() as server:
        server.store.fault = script("commit", fault)
        answer = await outcome(server, put("a"))
        await asyncio.sleep(1)
        assert answer == told
        assert names(server) == present


@pytest.mark.parametrize("fault", [Fault.NO_SPACE, Fault.UNAVAILABLE])
async def test_leadership_survives_a_refused_commit(fault):
    async with leading() as server:
        server.store.fault = script("commit", fault)
        first = await outcome(server, put("a"))
        assert first == Code.UNAVAILABLE
        assert await outcome(server, put("b")) == 8
        assert server.saw("leadership_lost") == 0


@pytest.mark.parametrize("fault", [Fault.FENCED, Fault.UNKNOWN_DONE, Fault.UNKNOWN_NOT_DONE])
async def test_leadership_ends_where_the_claim_is_in_doubt(fault):
    async with leading() as server:
        server.store.fault = script("commit", fault)
        await outcome(server, put("a"))
        await asyncio.sleep(0.01)
        assert server.saw("leadership_lost") == 1


async def test_full_disk_is_reported_once_until_a_write_succeeds():
    async with leading() as server:
        full = (Fault.NO_SPACE, Fault.NO_SPACE, None, Fault.NO_SPACE)
        server.store.fault = script("commit", *full)
        for name in "abcd":
            await outcome(server, put(name))
        assert server.saw("no_space") == 2
        assert server.saw("writes_resumed") == 1


async def test_refused_write_is_reported_once_for_each_reason_and_clients_read_no_paths():
    async with leading() as server:
        real = server.store.commit
        reasons = ["/srv/store.db: locked", "/srv/store.db: locked", "", "/srv/store.db: locked"]

        async def commit(*told):
            if reason := reasons.pop(0):
                raise Unavailable(reason, "the store cannot be used now")
            return await real(*told)

        server.store.commit = commit
        texts = []
        for name in "abcd":
            try:
                await server.committer.commit(put(name))
            except Error as error:
                texts.append(error.message)
        assert texts == ["not done: the store cannot be used now"] * 3
        assert server.saw("write_refused") == 2


async def test_slow_commits_are_reported_once_a_minute():
    async with leading() as server:
        real, slow = server.store.commit, [0.4, 0.6, 0.6, 61.0, 0.6]

        async def commit(*told):
            await asyncio.sleep(slow.pop(0))
            return await real(*told)

        server.store.commit = commit
        seen = []
        for name in "abcde":
            await server.committer.commit(put(name))
            seen.append(server.saw("commit_slow"))
        assert seen == [0, 1, 1, 2, 2]


async def test_store_counts_as_full_until_a_write_succeeds_or_leadership_ends():
    async with leading() as server:
        server.store.fault = script("commit", Fault.NO_SPACE, None, Fault.NO_SPACE)
        seen = []
        for name in "abc":
            await outcome(server, put(name))
            seen.append(server.committer.full)
        server.peers.votes.elect(None)
        await asyncio.sleep(0.2)
        assert [*seen, server.committer.full] == [True, False, True, False]


async def test_memory_that_does_not_reach_a_commit_makes_its_outcome_unknown():
    """The commit is done; the mirror hears of nothing for longer than anyone waits."""

    async with leading() as server:
        server.store.lose = 1
        server.store.fault = script("load", *[Fault.UNAVAILABLE] * 70)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outcome(server, put("a")))
            await asyncio.sleep(6)
            server.store.fault = no_fault
            await asyncio.sleep(3)
        told = task.result()
        after = await outcome(server, put("b"))
        assert told in {8, Code.UNKNOWN_OUTCOME}
        assert after in {9, 10, 11}
        assert names(server) == {"a", "b"}


# Leadership


async def test_write_without_leadership_is_refused():
    async with leading() as server:
        server.peers.votes.elect(None)
        await asyncio.sleep(0.2)
        assert await outcome(server, put("a")) is Code.NO_LEADER


async def test_waiting_writes_are_refused_when_leadership_ends():
    async with leading() as server, asyncio.TaskGroup() as group:
        async with server.committer.turn():
            task = group.create_task(outcome(server, put("a")))
            await asyncio.sleep(0)
            server.committer.depose(Fenced("another leads"))
        assert await task == Code.NO_LEADER
        assert names(server) == set()


# Holding writes back


async def test_held_writes_wait():
    async with leading() as server, asyncio.TaskGroup() as group:
        async with server.committer.hold():
            task = group.create_task(outcome(server, put("a")))
            await asyncio.sleep(4)
            assert not task.done()
        assert await task == 8


async def test_writes_held_for_five_seconds_are_refused():
    async with leading() as server:
        began = asyncio.get_running_loop().time()
        async with server.committer.hold():
            told = await outcome(server, put("a"))
        assert told == Code.UNAVAILABLE
        assert asyncio.get_running_loop().time() - began == pytest.approx(5.0)


async def test_writes_queued_before_a_hold_are_done_before_it():
    async with leading() as server, asyncio.TaskGroup() as group:
        task = group.create_task(outcome(server, put("a")))
        await asyncio.sleep(0)
        async with server.committer.hold():
            assert task.done() or names(server) == {"a"}


async def test_held_write_is_refused_when_leadership_ends():
    """It was queued for nobody once, and never answered."""

    async with leading() as server, asyncio.TaskGroup() as group:
        async with server.committer.hold():
            task = group.create_task(outcome(server, put("a")))
            await asyncio.sleep(0)
            server.peers.votes.elect(None)
            await asyncio.sleep(1)
        assert await task is Code.NO_LEADER


async def test_canceled_advance_ends_leadership():
    """A restore whose client goes away in the middle of its commit."""

    async def advance(server):
        committer = server.committer
        async with committer.hold():
            head = committer.next_head(committer.known, index=committer.known.index + 1, ops=0)
            await committer.advance(Change(head, {}))

    async with leading() as server:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(advance(server))
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0.01)
        written = await server.write(put("a"))
        assert written.updated
        assert server.saw("leadership_lost") == 1


async def test_time_of_a_commit_is_measured():
    async with leading() as server:
        told: list[float] = []
        server.committer.on_commit = told.append
        await outcome(server, put("a"))
        assert len(told) == 1
        assert server.committer.commands > 0
