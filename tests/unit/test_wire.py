"""Names and bytes as clients see them."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.gocompat.duration import NS_PER_S, Duration
from bellcow.wire import (
    UNDECODABLE,
    Wire,
    dec_hook,
    enc_hook,
    join_host_port,
    msgpack_decoder,
    pretty,
    to_json,
    to_msgpack,
    undecodable,
    wire_name,
)


class Sample(Wire, frozen=True, kw_only=True):
    accessor_id: str = "x"
    node_mhz: int = 0
    wait: Duration = Duration(0)


# Names


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("accessor_id", "AccessorID"),
        ("acl", "ACL"),
        ("global_", "Global"),
        ("last_contact_threshold", "LastContactThreshold"),
        ("max_trailing_logs", "MaxTrailingLogs"),
        ("node_mhz", "NodeMHz"),
        ("ttl", "TTL"),
    ],
)
def test_field_is_spelled_as_nomad_spells_it(field, name):
    assert wire_name(field) == name


# Bytes


def test_struct_is_written_in_the_order_of_its_fields():
    assert to_json(Sample(wait=Duration(NS_PER_S))) == (
        b'{"AccessorID":"x","NodeMHz":0,"Wait":"1s"}'
    )


def test_row_reads_back_the_same():
    sample = Sample(accessor_id="y", node_mhz=3, wait=Duration(-1))
    assert msgpack_decoder(Sample).decode(to_msgpack(sample)) == sample


def test_duration_is_read_from_a_number_too():
    assert msgspec.json.decode(b'{"Wait":5}', type=Sample, dec_hook=dec_hook).wait == Duration(5)


def test_type_without_a_wire_form_is_refused():
    with pytest.raises(NotImplementedError):
        enc_hook(object())
    with pytest.raises(NotImplementedError):
        dec_hook(object, 1)


def test_pretty_indents_by_four_spaces_and_ends_with_a_newline():
    assert pretty(b'{"A":[1],"B":{}}') == b'{\n    "A": [\n        1\n    ],\n    "B": {}\n}\n'


def test_pretty_leaves_a_plain_value_alone():
    assert pretty(b"true") == b"true\n"


def test_pretty_keeps_values_with_an_encoder_of_their_own_on_one_line():
    first, second = b'{"A":1,"B":2}', b'{"A":3}'
    body = b'{"Servers":[' + first + b"," + second + b"]}"
    shown = pretty(body, (first, second))
    assert shown == (b'{\n    "Servers": [\n        {"A":1,"B":2},\n        {"A":3}\n    ]\n}\n')


class _Sample(msgspec.Struct):
    count: int = 0
    text: str = ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it ends too early"),
        (b'{"count": ', "it ends too early"),
        (b'{"count": 1,}', "malformed at byte 12"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"count": "1"}', "wrong kind of value at $.count"),
        (b"[]", "wrong kind of value"),
        (b'{"other": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_undecodable_data_is_described_in_words_of_our_own(data: bytes, words: str) -> None:
    with pytest.raises(UNDECODABLE) as caught:
        msgspec.json.decode(data, type=_Sample)
    assert undecodable(caught.value) == words


def test_text_of_the_library_that_is_not_known_gives_no_text_of_its_own() -> None:
    assert undecodable(msgspec.DecodeError("something new: 12")) == "malformed"


def test_ipv6_address_is_written_in_brackets():
    assert join_host_port(("::1", 80)) == "[::1]:80"
    assert join_host_port(("10.0.0.1", 80)) == "10.0.0.1:80"
