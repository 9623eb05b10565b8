"""What a voter tells: it comes back as it was, and anything else is refused in words."""

from __future__ import annotations

import pytest

from bellcow.errors import Code, Error
from bellcow.model.hello import Cluster
from bellcow.model.membership_calls import decode, encode
from bellcow.store.follow_messages import (
    Behind,
    Commits,
    CommitsRequest,
    Gone,
    StateBegin,
    decode_answer,
    decode_begin,
    decode_chunk,
    encode_chunk,
)
from bellcow.store.protocol import Change, Head

HERD = Cluster("herd", 3)
CHANGE = Change(Head(index=1, commit="c", ops=2), {("t", "a/\0ż"): b"\xff", ("t", "b"): None})


@pytest.mark.parametrize("told", [Commits(HERD, (CHANGE, CHANGE)), Behind(HERD), Gone(HERD)])
def test_what_is_told_comes_back_as_it_was(told):
    assert decode_answer(encode(told)) == told


def test_state_comes_back_as_it_was():
    begin = StateBegin(HERD, CHANGE.head)
    items = [(("t", "a"), b""), (("t", "ż"), bytes(range(256)))]
    assert decode_begin(encode(begin)) == begin
    assert decode_chunk(encode_chunk(iter(items))) == items


@pytest.mark.parametrize("read", [decode_answer, decode_begin, decode_chunk])
@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x93" * 5_000, encode(CHANGE), b"\x91\x91\xa1\xff"]
)
def test_anything_else_is_refused_in_words(read, data):
    with pytest.raises(Error, match="no answer of a voter") as refused:
        read(data)
    assert refused.value.code is Code.INVALID


@pytest.mark.parametrize(
    "wrong", [{"index": -1}, {"commit": "x" * 256}, {"commit": 7}, {"cluster": None}]
)
def test_question_out_of_bounds_is_refused(wrong):
    good = {"cluster": {"id": "herd", "epoch": 0}, "commit": "c", "index": 1}
    from bellcow.wire import to_msgpack

    assert decode(to_msgpack(good), CommitsRequest).index == 1
    with pytest.raises(Error, match="not a message"):
        decode(to_msgpack({**good, **wrong}), CommitsRequest)
