"""Durations are read and written as by Go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.gocompat.duration import NS_PER_S, Duration, format_duration, parse_duration

LARGEST = (1 << 63) - 1
UNITS = ("ns", "us", "µs", "μs", "ms", "s", "m", "h")


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
