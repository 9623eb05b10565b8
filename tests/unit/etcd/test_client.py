from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.support import etcd
from tests.support.etcd import (
    answering,
    etcd_pid,
    freeze,
    needs_etcd,
    short_directory,
    started,
    thaw,
)

from bellcow.etcd import client as module
from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import CallFailed, open_client


@pytest.fixture(scope="module")
def directory():
    with started() as path:
        yield path


@contextlib.contextmanager
def stopped(directory):
    """The member does not run for a while."""
    pid = etcd_pid(directory)
    freeze(pid)
    try:
        yield
    finally:
        thaw(pid)


def run(directory, story):
    async def whole():
        async with asyncio.timeout(20), open_client(directory) as client:
            await story(client)

    etcd.run(whole())


def test_call_without_a_member_fails_at_once():
    async def story(client):
        with pytest.raises(CallFailed, match="etcd: ") as failure:
            await client.status(pb.StatusRequest())
        assert failure.value.code == "UNAVAILABLE"

    with short_directory() as directory:
        run(directory, story)


@needs_etcd
def test_directory_may_have_a_longer_path_than_a_socket(tmp_path):
    directory = tmp_path / ("x" * 150) / "raft"

    async def story(client):
        status = await answering(client, leads=True)
        assert status.header.member_id == status.leader

    with started(directory):
        run(directory, story)


@needs_etcd
def test_every_answer_names_member_and_term(directory):
    async def story(client):
        status = await answering(client, leads=True)
        found = await client.range(pb.RangeRequest(key=b"head"))
        assert found.header.member_id == status.header.member_id == status.leader
        assert found.header.raft_term == status.raft_term > 0

    run(directory, story)


@needs_etcd
def test_refusal_carries_code_and_words_of_etcd(directory):
    async def story(client):
        await answering(client)
        with pytest.raises(CallFailed, match="future revision") as failure:
            await client.range(pb.RangeRequest(key=b"x", revision=1_000_000))
        assert failure.value.code == "OUT_OF_RANGE"

    run(directory, story)


@needs_etcd
def test_member_that_hangs_is_waited_for_until_the_deadline(directory):
    async def story(client):
        await answering(client)
        began = asyncio.get_running_loop().time()
        with stopped(directory), pytest.raises(CallFailed) as failure:
            await client.status(pb.StatusRequest())
        assert failure.value.code == "DEADLINE_EXCEEDED"
        assert 0.9 < asyncio.get_running_loop().time() - began < 3

    run(directory, story)


@needs_etcd
def test_caller_that_is_canceled_is_canceled(directory):
    async def story(client):
        await answering(client)
        with stopped(directory):
            waiting = asyncio.ensure_future(client.status(pb.StatusRequest()))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()

    run(directory, story)


@needs_etcd
def test_call_under_way_fails_when_the_client_is_closed(directory):
    async def whole():
        async with asyncio.timeout(20):
            async with open_client(directory) as client:
                await answering(client)
                with stopped(directory):
                    waiting = asyncio.ensure_future(client.status(pb.StatusRequest()))
                    await asyncio.sleep(0.01)
                    await client.close()
                    with pytest.raises(CallFailed, match="ended"):
                        await waiting
            with pytest.raises(CallFailed, match="closed"):
                await client.status(pb.StatusRequest())

    etcd.run(whole())


@needs_etcd
def test_watches_end_at_once_whether_they_have_begun_or_not(directory):
    async def story(client):
        await answering(client)
        create = pb.WatchCreateRequest(key=b"a", start_revision=1)
        begun, not_begun = client.watch(create), client.watch(create)
        assert (await anext(begun)).created
        waiting = [asyncio.ensure_future(anext(each)) for each in (begun, not_begun)]
        await asyncio.sleep(0)
        client.end_watches()
        for each in waiting:
            with pytest.raises(CallFailed, match="ended"):
                await each
        assert client._watches == set()

    run(directory, story)


@needs_etcd
def test_watch_left_by_its_reader_is_ended(directory):
    async def story(client):
        await answering(client)
        watch = client.watch(pb.WatchCreateRequest(key=b"a", start_revision=1))
        assert (await anext(watch)).created
        assert len(client._watches) == 1
        await watch.aclose()
        assert client._watches == set()

    run(directory, story)


@needs_etcd
def test_no_call_is_ever_sent_twice_by_the_channel():
    assert ("grpc.enable_retries", 0) in module._OPTIONS
