"""Hellos are decoded, or refused with a reason."""

from __future__ import annotations

import msgspec
import pytest
from tests.sim.net import itself

from bellcow.errors import Code, Error
from bellcow.model.bounds import INDEX_MAX
from bellcow.model.hello import (
    COUNT_MAX,
    Cluster,
    Hello,
    RaftView,
    Record,
    Recovery,
    decode_hello,
    encode_hello,
)

ME = Record(itself=itself("a"), start_ns=1, status="alive", status_seq=0)
HELLO = Hello(
    region="global",
    cluster=Cluster("x", 2),
    sender=ME,
    others=(msgspec.structs.replace(ME, itself=itself("b"), status="failed"),),
    leader="id-a",
    raft=RaftView(role="leader", term=3, index=4, commit="c"),
    since_leader_ms=0,
)


def plain() -> dict:
    return msgspec.to_builtins(HELLO)


def refusal(message: object) -> str:
    with pytest.raises(Error) as caught:
        decode_hello(msgspec.msgpack.encode(message))
    assert caught.value.code is Code.INVALID
    return caught.value.message


@pytest.mark.parametrize("cut", [{}, {"cluster": None, "raft": None, "since_leader_ms": None}])
def test_what_is_written_is_what_is_read(cut: dict):
    hello = msgspec.structs.replace(HELLO, **cut)
    assert decode_hello(encode_hello(hello)) == hello


def test_founding_is_sent_and_may_be_missing():
    founded = msgspec.structs.replace(HELLO, cluster=Cluster("x", 2, "one"))
    read = decode_hello(encode_hello(founded)).cluster
    assert (read, read.founding) == (Cluster("x", 2, "one"), "one")
    message = plain()
    message["cluster"] = {"id": "x", "epoch": 2}
    assert decode_hello(msgspec.msgpack.encode(message)).cluster.founding == ""


def test_clusters_are_equal_unless_both_foundings_are_known_and_differ():
    one, two, silent = (Cluster("x", 2, founding) for founding in ("one", "two", ""))
    assert one != two
    assert one == silent == two
    assert len({one, silent}) == 1
    assert {one.is_fork_of(two), one.is_fork_of(one), one.is_fork_of(silent)} == {True, False}
    assert not one.is_fork_of(Cluster("x", 3, "two"))


def test_count_without_a_sendable_successor_is_refused():
    message = plain()
    message["sender"]["status_seq"] = COUNT_MAX
    assert decode_hello(msgspec.msgpack.encode(message)).sender.status_seq == COUNT_MAX
    message["sender"]["status_seq"] += 1
    assert "sender.status_seq" in refusal(message)


@pytest.mark.parametrize("index", [INDEX_MAX + 1, COUNT_MAX + 1, 2**64 - 1])
def test_hello_with_an_impossible_index_is_decoded(index: int):
    message = plain()
    message["raft"]["index"] = index
    assert decode_hello(msgspec.msgpack.encode(message)).raft.index == index


@pytest.mark.parametrize(
    "address",
    [
        ("evil/v1/agent/leave?", 80),
        ("a@b", 1),
        ("a b", 1),
        ("a\n", 1),
        ("", 1),
        ("a", 0),
        ("a#", 1),
    ],
)
@pytest.mark.parametrize("field", ["rpc", "serf"])
def test_malformed_address_is_refused(field: str, address: tuple[str, int]):
    message = plain()
    message["others"][0]["itself"][field] = address
    assert f"itself.{field}" in refusal(message)


@pytest.mark.parametrize("host", ["10.0.0.1", "fe80::1%eth0", "s1.example-2.org", "under_score"])
def test_address_with_a_host_name_is_accepted(host: str):
    message = plain()
    message["sender"]["itself"]["serf"] = (host, 65_535)
    assert decode_hello(msgspec.msgpack.encode(message)).sender.itself.serf == (host, 65_535)


def test_sender_that_calls_itself_failed_is_refused():
    message = plain()
    message["sender"]["status"] = "failed"
    assert refusal(message) == "this hello says that its own sender has failed"


def test_next_version_is_later_until_there_is_none():
    versions = [(1, 0), (1, COUNT_MAX), (COUNT_MAX, 3)]
    records = [msgspec.structs.replace(ME, start_ns=s, status_seq=n) for s, n in versions]
    assert [each.next_version for each in records] == [(1, 1), (2, 0), (COUNT_MAX, 4)]
    last = msgspec.structs.replace(ME, start_ns=COUNT_MAX, status_seq=COUNT_MAX)
    assert last.next_version == last.version


def test_unknown_fields_are_ignored():
    message = plain()
    message["more"] = message["sender"]["more"] = message["sender"]["itself"]["more"] = 1
    assert decode_hello(msgspec.msgpack.encode(message)) == HELLO


def test_recovery_is_sent_and_may_be_missing():
    recovery = Recovery(file="f", role="non-voter", epoch=1, index=2)
    hello = msgspec.structs.replace(HELLO, recovery=recovery)
    assert decode_hello(encode_hello(hello)) == hello
    message = plain()
    del message["recovery"]
    assert decode_hello(msgspec.msgpack.encode(message)) == HELLO


@pytest.mark.parametrize(
    "field", sorted({*Hello.__struct_fields__} - {"recovery", "at_ms", "echo_ms"})
)
def test_missing_field_is_named(field: str):
    message = plain()
    del message[field]
    assert refusal(message) == (f"this is not a hello between servers: field {field} is missing")


@pytest.mark.parametrize(
    "field",
    [each for each in type(ME.itself).__struct_fields__ if each not in {"acl", "open_peers"}],
)
def test_missing_field_of_the_sender_is_named(field: str):
    message = plain()
    del message["sender"]["itself"][field]
    assert f"field {field} is missing at $.sender.itself" in refusal(message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sender", "status"), "dead"),
        (("sender", "start_ns"), -1),
        (("sender", "itself", "server_id"), ""),
        (("sender", "itself", "name"), "n" * 256),
        (("sender", "itself", "serf"), ["a", 65_536]),
        (("sender", "itself", "serf"), ["a"]),
        (("raft", "role"), "king"),
        (("raft", "term"), 1.5),
        (("cluster", "id"), ""),
    ],
    ids=lambda each: str(each)[:30],
)
def test_invalid_value_is_refused_with_its_path(path: tuple[str, ...], value: object):
    message = plain()
    inner = message
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert f"at $.{'.'.join(path)}" in refusal(message)


def test_two_regions_for_one_sender_are_refused():
    assert refusal({**plain(), "region": "eu"}) == "this hello names two regions for its sender"


@pytest.mark.parametrize("data", [b"", b"\xc1", b"{}", b"\xa1\xff", b"\x91" * 5_000, b"\xdf"])
def test_bytes_that_are_no_hello_are_refused(data: bytes):
    with pytest.raises(Error) as caught:
        decode_hello(data)
    assert caught.value.code is Code.INVALID


def test_rpc_address_has_brackets_around_ipv6():
    assert itself("a", rpc=("10.0.0.1", 4647)).rpc_address == "10.0.0.1:4647"
    assert itself("a", rpc=("::1", 4647)).rpc_address == "[::1]:4647"
