"""Calls between servers are decoded as encoded, or refused with a reason."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.errors import Code, Error
from bellcow.model.membership_calls import (
    SERVERS_MAX,
    BootstrapRequest,
    Done,
    JoinRequest,
    LeaveRequest,
    MemberOrder,
    Standing,
    StandingRequest,
    decode,
    encode,
)

PAIRS = (("a", "a:4647"), ("b", "b:4647"))
JOIN = JoinRequest(server_id="b", address="b:4647", name="b.global", version="1")
ORDER = MemberOrder(
    cluster_id="ours", epoch=1, server_id="b", member_id=2**64 - 1, members=PAIRS, token="ours.1"
)
MESSAGES = [
    BootstrapRequest(cluster_id="ours", proposer="a", members=PAIRS),
    JOIN,
    LeaveRequest(server_id="b"),
    StandingRequest(server_id="b", member_id=7),
    Standing(cluster_id="ours", epoch=1, configured=True, voter=False, servers=PAIRS),
    ORDER,
    Done(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_is_decoded_as_it_was_encoded(message):
    assert decode(encode(message), type(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_unknown_fields_of_a_newer_server_are_ignored(message):
    more = {**msgspec.msgpack.decode(encode(message)), "news": [1]}
    assert decode(msgspec.msgpack.encode(more), type(message)) == message


@pytest.mark.parametrize(
    ("message", "change", "word"),
    [
        (JOIN, {"server_id": ""}, "server_id"),
        (JOIN, {"name": "x" * 256}, "name"),
        (JOIN, {"address": None}, "address"),
        (JOIN, {"non_voting": "yes"}, "non_voting"),
        (ORDER, {"member_id": -1}, "member_id"),
        (ORDER, {"epoch": 1.5}, "epoch"),
        (ORDER, {"members": [["a"]]}, "members"),
        (ORDER, {"members": [["a", "a:1"]] * (SERVERS_MAX + 1)}, "members"),
    ],
    ids=[
        "an id that is empty",
        "a name without end",
        "no address",
        "a word for a switch",
        "a negative number",
        "half an epoch",
        "a server without an address",
        "more servers than there can be",
    ],
)
def test_message_is_refused(message, change, word):
    wrong = {**msgspec.to_builtins(message), **change}
    with pytest.raises(Error, match=word) as caught:
        decode(msgspec.msgpack.encode(wrong), type(message))
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"GET / HTTP/1.1", b"\x91" * 10_000, encode(JOIN)[:-3]],
    ids=["nothing", "no message", "words", "depth without end", "half of one"],
)
def test_bytes_that_are_no_message_are_refused_with_a_reason(data):
    with pytest.raises(Error, match="not a message between servers") as caught:
        decode(data, JoinRequest)
    assert caught.value.code is Code.INVALID


def test_missing_field_of_a_message_is_named():
    with pytest.raises(Error, match="server_id"):
        decode(msgspec.msgpack.encode({}), LeaveRequest)
