"""`operator raft defrag` beside a real etcd, and its refusals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.etcd import answering, needs_etcd, started

from bellcow.etcd import etcd_pb2 as pb
from bellcow.etcd.client import CallFailed, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bellcow.etcd.client import Client


def data_dir_of(folder: Path) -> Path:
    (folder / "server").mkdir()
    (folder / "server/node-id").write_text("1")
    return folder


@pytest.fixture
def member() -> Iterator[Path]:
    """The directory of a member that runs."""
    with started() as directory:
        yield directory


async def fill_and_free(client: Client) -> None:
    """Write ten megabytes, delete them and forget that they were there."""
    for number in range(20):
        put = pb.RequestOp(request_put=pb.PutRequest(key=b"k%d" % number, value=bytes(1 << 19)))
        await client.txn(pb.TxnRequest(success=[put]))
    all_of_it = pb.DeleteRangeRequest(key=b"k", range_end=b"l")
    last = await client.txn(pb.TxnRequest(success=[pb.RequestOp(request_delete_range=all_of_it)]))
    await client.compact(pb.CompactionRequest(revision=last.header.revision, physical=True))


async def make_full(directory: Path) -> None:
    """Leave the member with free space in its file, and the alarm of a full one."""
    async with open_client(directory) as client:
        found = await answering(client, leads=True)
        await fill_and_free(client)
        alarm = {"member_id": found.header.member_id, "alarm": pb.NOSPACE}
        await client.alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, **alarm))


async def takes_writes(directory: Path) -> bool:
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"k", value=b"1"))
    async with open_client(directory) as client:
        try:
            await client.txn(pb.TxnRequest(success=[put]))
        except CallFailed:
            return False
        return True


@needs_etcd
@pytest.mark.slow
def test_defrag_frees_space_and_a_full_store_accepts_writes_again(
    cli: Callable[..., Any], tmp_path: Path, member: Path
) -> None:
    data_dir = data_dir_of(tmp_path)
    (data_dir / "server/raft").symlink_to(member)
    asyncio.run(make_full(member))
    assert not asyncio.run(takes_writes(member))
    result = cli("operator", "raft", "defrag", str(data_dir))
    assert result.status == 0, result.err
    shown = dict(line.replace(" ", "").split("=") for line in result.out.splitlines())
    assert shown["Before"].endswith("MiB")
    assert shown["After"].endswith("KiB")
    assert shown["Wasfull"] == "yes,itacceptswritesagain"
    assert asyncio.run(takes_writes(member))
    again = cli("operator", "raft", "defrag", str(data_dir))
    assert "Was full = no" in again.out


def test_server_without_a_member_of_its_own_is_refused(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    result = cli("operator", "raft", "defrag", str(data_dir_of(tmp_path)))
    assert (result.status, result.out) == (1, "")
    assert "nothing to do" in result.err


def test_server_that_does_not_run_is_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    data_dir = data_dir_of(tmp_path)
    (data_dir / "server/raft").mkdir()
    result = cli("operator", "raft", "defrag", str(data_dir))
    assert (result.status, result.out) == (1, "")
    assert "it does not run" in result.err
