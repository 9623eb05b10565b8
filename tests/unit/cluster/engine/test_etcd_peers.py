"""The peers of three real etcd members on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import msgspec
import pytest
from tests.support import etcd
from tests.support.etcd import (
    START_S,
    VERSION,
    Cluster,
    Server,
    answering,
    free_address,
    freeze,
    needs_etcd,
    short_directory,
    thaw,
)

from bellcow.cluster.engine.etcd_peers import EtcdPeers
from bellcow.cluster.engine.protocol import Peer
from bellcow.etcd.flags import Founding
from bellcow.store.etcd import EtcdStore
from bellcow.store.protocol import NO_HEAD, Busy, Fenced, NotLeader, Unavailable, Unknown

pytestmark = [needs_etcd, pytest.mark.slow]


@pytest.fixture
def run():
    """Runs a story on a new cluster."""

    async def whole(story, count, directory):
        async with asyncio.timeout(120), Cluster(directory, count) as cluster:
            await story(cluster)

    def runner(story, count=3):
        with short_directory() as directory:
            etcd.run(whole(story, count, directory))

    return runner


async def put(store, known, commit, **fields):
    head = msgspec.structs.replace(
        known, index=known.index + 1, commit=commit, prev=known.commit, ops=0, **fields
    )
    return await store.commit(known, head, {})


async def until(look, *expected):
    """Repeat a call until it neither raises one of `expected` nor answers with nothing."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(*expected):
                if found := await look():
                    return found
            await asyncio.sleep(0.05)


async def follower(cluster: Cluster) -> Server:
    leader = await cluster.leader()
    return next(server for server in cluster.servers.values() if server is not leader)


async def promoted(peers: EtcdPeers, member_id: int) -> int:
    """Promote it; returns how often it was not ready."""
    refusals = 0
    async with asyncio.timeout(START_S):
        while True:
            try:
                await peers.promote(member_id)
            except Busy:
                refusals += 1
                await asyncio.sleep(0.05)
            else:
                return refusals


async def join(cluster: Cluster, name: str, address: str | None = None):
    """Add a server as the design does: learner, start, promote."""
    leader = await cluster.leader()
    peers = EtcdPeers(leader.client)
    peer = await until(lambda: peers.add(address or free_address()), Busy)
    names = {other.member_id: other.server_id for other in await peers.members()}
    addresses = {other.member_id: other.address for other in await peers.members()}
    names[peer.member_id] = name
    members = tuple((names[each], addresses[each]) for each in names)
    founding = Founding(state="existing", members=members, token="test.0")
    server = await cluster.add(name, peer.address, founding)
    await promoted(peers, peer.member_id)
    return server, peer


def test_every_member_sees_the_same_three_voters_and_one_leader(run):
    async def story(cluster):
        leader = await cluster.leader()
        expected = {
            (server.plan.server_id, server.plan.advertise) for server in cluster.servers.values()
        }
        leads = (await EtcdPeers(leader.client).status()).leader_id
        for server in cluster.servers.values():
            peers = EtcdPeers(server.client)
            members = await peers.members()
            status = await peers.status()
            assert {(peer.server_id, peer.address) for peer in members} == expected
            assert all(peer.voter for peer in members)
            assert status.leader_id == leads
            assert status.member_id in {peer.member_id for peer in members}
            assert status.term > 0
            assert status.db_bytes > 0
            assert status.version.startswith("3.")
            assert not status.is_learner

    run(story)


def test_server_is_added_as_learner_promoted_and_removed(run):
    async def story(cluster):
        leader = await cluster.leader()
        peers = EtcdPeers(leader.client)
        address = free_address()
        added = await peers.add(address)
        assert added == Peer(member_id=added.member_id, server_id="", address=address, voter=False)
        assert added in await peers.members()
        with pytest.raises(Busy):
            await peers.promote(added.member_id)
        if VERSION < (3, 6, 0):  # later ones take as many as our flags say
            with pytest.raises(Busy):
                await peers.add(free_address())
        names = tuple((s.plan.server_id, s.plan.advertise) for s in cluster.servers.values())
        founding = Founding(state="existing", members=(*names, ("s4", address)), token="test.0")
        server = await cluster.add("s4", address, founding)
        await promoted(peers, added.member_id)
        fourth = next(peer for peer in await peers.members() if peer.server_id == "s4")
        assert fourth.voter
        await answering(server.client)
        assert await EtcdStore(server.client).confirm() == NO_HEAD
        await peers.remove(added.member_id)
        await server.events.wait_for("etcd_not_a_member")
        assert server.task is not None
        await asyncio.wait([server.task])
        assert len(await peers.members()) == 3

    run(story)


def test_learner_answers_no_linearizable_reads(run):
    async def story(cluster):
        leader = await cluster.leader()
        peers = EtcdPeers(leader.client)
        address = free_address()
        added = await peers.add(address)
        names = tuple((s.plan.server_id, s.plan.advertise) for s in cluster.servers.values())
        founding = Founding(state="existing", members=(*names, ("s2", address)), token="test.0")
        server = await cluster.add("s2", address, founding)
        status = await until(EtcdPeers(server.client).status, Unavailable)
        assert status.is_learner
        assert status.member_id == added.member_id
        with pytest.raises(Unavailable, match="learner"):
            await EtcdStore(server.client).confirm()
        with pytest.raises(Unavailable, match="learner"):
            await put(EtcdStore(server.client), NO_HEAD, "a")

    run(story, 1)


def test_wiped_server_is_replaced_under_its_name_and_address(run):
    async def story(cluster):
        store = EtcdStore((await cluster.leader()).client)
        head = await until(lambda: put(store, NO_HEAD, "a"), Unknown)
        gone = await follower(cluster)
        await gone.stop()
        name, address = gone.plan.server_id, gone.plan.advertise
        cluster.servers.pop(name)
        peers = EtcdPeers((await cluster.leader()).client)
        (old,) = [peer for peer in await peers.members() if peer.server_id == name]
        await peers.remove(old.member_id)
        gone.plan.directory.rename(gone.plan.directory.with_name("aside"))
        server, new = await join(cluster, name, address)
        assert new.member_id != old.member_id
        await answering(server.client)
        assert await until(EtcdStore(server.client).confirm, Unavailable) == head

    run(story)


def test_leadership_is_transferred_by_the_leading_member_only(run):
    async def story(cluster):
        leader = await cluster.leader()
        other = await follower(cluster)
        target = (await EtcdPeers(other.client).status()).member_id
        before = (await EtcdPeers(leader.client).status()).term
        with pytest.raises(NotLeader):
            await EtcdPeers(other.client).transfer(target)
        await EtcdPeers(leader.client).transfer(target)
        assert await cluster.leader() is other
        after = await EtcdPeers(other.client).status()
        assert after.leader_id == target
        assert after.term > before
        _, term = await until(EtcdStore(other.client).confirm_in_term, Unavailable)
        assert term == after.term

    run(story)


def test_server_with_a_new_address_votes_again(run):
    async def story(cluster):
        store = EtcdStore((await cluster.leader()).client)
        head = await put(store, NO_HEAD, "a")
        moved = await follower(cluster)
        me = (await EtcdPeers(moved.client).status()).member_id
        await moved.stop()
        address = free_address()
        peers = EtcdPeers((await cluster.leader()).client)
        await peers.update(me, address)
        assert address in {peer.address for peer in await peers.members()}
        moved.plan = msgspec.structs.replace(
            moved.plan, bind=address, advertise=address, founding=None
        )
        await moved.start()
        await answering(moved.client)
        assert await until(EtcdStore(moved.client).confirm, Unavailable) == head

    run(story)


def test_killed_leader_is_replaced_and_its_store_is_fenced(run):
    async def story(cluster):
        old = await cluster.leader()
        store = EtcdStore(old.client)
        head = await put(store, NO_HEAD, "a", leader=old.plan.server_id)
        term = (await EtcdPeers(old.client).status()).term
        old.signal(signal.SIGKILL)
        # On a slow machine it is back before the others have voted, and may be elected again.
        new = await cluster.leader(after_term=term)
        other = EtcdStore(new.client)
        assert await until(other.confirm, Unavailable) == head
        claim = await put(other, head, "b", leader=new.plan.server_id)
        _, new_term = await other.confirm_in_term()
        assert new_term > term
        await answering(old.client)
        with pytest.raises(Fenced):
            await until(lambda: put(store, head, "late"), Unavailable, Unknown)
        assert await until(store.confirm, Unavailable) == claim

    run(story)


def test_without_a_quorum_writes_fail_and_stale_reads_work(run):
    async def story(cluster):
        leader = await cluster.leader()
        store = EtcdStore(leader.client)
        head = await put(store, NO_HEAD, "a")
        stream = store.changes(NO_HEAD)
        assert (await anext(stream)).head == head
        waiting = asyncio.ensure_future(anext(stream))
        others = [server for server in cluster.servers.values() if server is not leader]
        for server in others:
            freeze(server.pid)
        peers = EtcdPeers(leader.client)

        async def leaderless():
            return (await peers.status()).leader_id is None

        await until(leaderless)
        with pytest.raises(Unavailable):
            await store.confirm()
        with pytest.raises(Unavailable):
            await peers.members()
        loaded, _ = await store.load()
        assert loaded == head
        assert not waiting.done()
        for server in others:
            thaw(server.pid)
        await until(store.confirm, Unavailable)
        writer = EtcdStore((await cluster.leader()).client)
        newer = await put(writer, await writer.confirm(), "b")
        assert (await waiting).head == newer
        await stream.aclose()

    run(story)


def test_write_of_an_isolated_leader_is_unknown(run):
    async def story(cluster):
        leader = await cluster.leader()
        store = EtcdStore(leader.client)
        head = await put(store, NO_HEAD, "a")
        others = [server for server in cluster.servers.values() if server is not leader]
        for server in others:
            freeze(server.pid)
        with pytest.raises(Unknown):
            await put(store, head, "b")
        for server in others:
            thaw(server.pid)
        # Whatever became of it: one head follows, and a second one on the same head does not.
        found = await until(store.confirm, Unavailable)
        assert found.commit in {"a", "b"}
        assert found.commit == "b" or await until(lambda: put(store, head, "c"), Unavailable)

    run(story)


def test_status_is_unavailable_when_the_member_has_ended(run):
    async def story(cluster):
        server = cluster.servers["s1"]
        server.signal(signal.SIGKILL)
        with pytest.raises(Unavailable):
            await EtcdPeers(server.client).status()

    run(story, 1)
