"""Names, durations, times and bytes as clients see them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.wire import (
    NS_PER_S,
    UNDECODABLE,
    Duration,
    Wire,
    dec_hook,
    enc_hook,
    format_duration,
    join_host_port,
    msgpack_decoder,
    parse_duration,
    pretty,
    rfc3339,
    rfc3339_seconds,
    to_json,
    to_msgpack,
    undecodable,
    wire_name,
)

LARGEST = (1 << 63) - 1
UNITS = ("ns", "us", "µs", "μs", "ms", "s", "m", "h")


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


# Durations


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("-1ns", -1),
        ("+5s", 5 * NS_PER_S),
        ("200ms", 200_000_000),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("1.s", NS_PER_S),
        ("1m30s", 90 * NS_PER_S),
        ("1h1m1s1ms1us1ns", 3_661_001_001_001),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("3h0m", 10_800 * NS_PER_S),
        ("0.000000001s", 1),
        ("0.0000000001s", 0),
        ("1.0000000000000000000000001s", NS_PER_S),
        ("00000000000000000000000000001s", NS_PER_S),
        ("9223372036854775807ns", LARGEST),
        ("-9223372036854775808ns", -LARGEST - 1),
    ],
)
def test_duration_is_read(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        (".", 'time: invalid duration "."'),
        (".s", 'time: invalid duration ".s"'),
        ("--1s", 'time: invalid duration "--1s"'),
        ("1", 'time: missing unit in duration "1"'),
        ("1.5", 'time: missing unit in duration "1.5"'),
        ("1s2", 'time: missing unit in duration "1s2"'),
        ("10x", 'time: unknown unit "x" in duration "10x"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1S", 'time: unknown unit "S" in duration "1S"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        (" 1s", 'time: invalid duration " 1s"'),
        ("1e3s", 'time: unknown unit "e" in duration "1e3s"'),
        ('1"', 'time: unknown unit "\\"" in duration "1\\""'),
        ("1é", 'time: unknown unit "\\xc3\\xa9" in duration "1\\xc3\\xa9"'),
        ("1\n", 'time: unknown unit "\\x0a" in duration "1\\x0a"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("-9223372036854775809ns", 'time: invalid duration "-9223372036854775809ns"'),
        ("2562047h48m", 'time: invalid duration "2562047h48m"'),
        ("1" * 30 + "s", f'time: invalid duration "{"1" * 30}s"'),
    ],
)
def test_duration_is_refused_with_the_text_of_go(text, error):
    with pytest.raises(ValueError, match="time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == error


def test_other_digits_than_ascii_are_no_digits():
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration("\N{ARABIC-INDIC DIGIT ONE}s")


def test_very_long_duration_is_refused_at_once():
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration("9" * 1_000_000 + "s")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (-1, "-1ns"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (27_291_304, "27.291304ms"),
        (200_000_000, "200ms"),
        (NS_PER_S, "1s"),
        (1_500_000_000, "1.5s"),
        (60 * NS_PER_S, "1m0s"),
        (90 * NS_PER_S, "1m30s"),
        (3_600 * NS_PER_S, "1h0m0s"),
        (LARGEST, "2562047h47m16.854775807s"),
        (-LARGEST - 1, "-2562047h47m16.854775808s"),
    ],
)
def test_duration_is_written_as_go_writes_it(ns, text):
    assert format_duration(ns) == text


@given(st.integers(-LARGEST - 1, LARGEST))
def test_duration_reads_back_the_same(ns):
    assert parse_duration(format_duration(ns)) == ns


groups = st.tuples(
    st.integers(0, 10_000).map(str) | st.just(""),
    st.integers(0, 10_000).map(lambda n: f".{n}") | st.sampled_from(("", ".")),
    st.sampled_from(UNITS),
).filter(lambda group: any(c.isdigit() for c in group[0] + group[1]))


@given(st.sampled_from(("", "+", "-")), st.lists(groups, min_size=1, max_size=5))
def test_every_text_of_the_grammar_is_read_as_the_sum_of_its_groups(sign, parts):
    text = sign + "".join("".join(part) for part in parts)
    total = sum(parse_duration("".join(part)) for part in parts)
    assert parse_duration(text) == (-total if sign == "-" else total)


@given(st.text(alphabet="0123456789.+-hmsnuµ é", max_size=12))
def test_any_text_is_read_or_refused_with_a_text_that_begins_with_time(text):
    try:
        ns = parse_duration(text)
    except ValueError as error:
        assert str(error).startswith("time: ")  # noqa: PT017  either outcome is right
    else:
        assert parse_duration(format_duration(ns)) == ns


def test_durations_compare_and_hash_by_their_length():
    assert Duration.parse("1m") == Duration(60 * NS_PER_S) == Duration.seconds(60)
    assert Duration(1) < Duration(2)
    assert Duration(2) >= Duration(2)
    assert Duration(1) != 1
    assert len({Duration(1), Duration.parse("1ns")}) == 1
    assert Duration.parse("1500ms").s == 1.5
    assert repr(Duration(5)) == "Duration(5ns)"


# Times


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_800_000_000 * NS_PER_S, "2027-01-15T08:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_time_is_written_with_the_digits_it_needs(ns, text):
    assert rfc3339(ns) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (499_999_999, "1970-01-01T00:00:00Z"),
        (500_000_000, "1970-01-01T00:00:01Z"),
    ],
)
def test_time_is_rounded_to_seconds(ns, text):
    assert rfc3339_seconds(ns) == text


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
