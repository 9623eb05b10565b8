"""etcd's file, read beside a running etcd and without one."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.etcd import needs_etcd, run, started, wipe

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.backend import FILE, UnreadableError, read_keys
from bellcow.etcd.client import open_client

FLUSHED_S = 10.0
OPERATIONS = 100  # in one transaction


@pytest.fixture(scope="module")
def member():
    with started() as directory:
        yield directory


@pytest.mark.parametrize("count", [1, 3, 3_000], ids=["one key", "one page", "a tree of pages"])
@needs_etcd
def test_file_holds_what_etcd_has_written(member, count):
    async def story():
        async with open_client(member) as client:
            await wipe(client)
            await write(client, [put(b"k%d" % number, b"old") for number in range(count)])
            await write(client, [put(b"k%d" % n, b"new" * 500) for n in range(0, count, 2)])
            await write(client, [put(b"gone", b"x")])
            await write(client, [delete(b"gone")])
            everything = await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0"))
            wanted = {kv.key: (kv.value, kv.mod_revision) for kv in everything.kvs}
            async with asyncio.timeout(FLUSHED_S):
                found = read_keys(member / FILE)
                while found != wanted:  # etcd writes ten times a second
                    found = read_keys(member / FILE)
                    await asyncio.sleep(0.05)
        return found

    assert len(run(story())) == count


async def write(client, operations: list[pb.RequestOp]) -> None:
    for begin in range(0, len(operations), OPERATIONS):
        await client.txn(pb.TxnRequest(success=operations[begin : begin + OPERATIONS]))


def put(key: bytes, value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def delete(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 70_000])
def test_what_is_no_file_of_etcd_is_named(tmp_path, content):
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=str(path)):
        read_keys(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableError, match="No such file"):
        read_keys(tmp_path / "db")
