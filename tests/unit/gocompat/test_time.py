"""RFC 3339 times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import parse_time, rfc3339, rfc3339_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2020-06-01T14:50:16.581304556-04:00", 1591037416581304556),
        ("2020-06-02T00:20:16.581304556+05:30", 1591037416581304556),
        ("2020-06-01t18:50:16.581304556z", 1591037416581304556),
        ("2020-06-01T18:50:16.5813045569999Z", 1591037416581304556),
        ("2020-06-01T18:50:16.5Z", 1591037416500000000),
        ("2024-02-29T23:59:59+00:00", 1709251199000000000),
        ("0001-01-01T00:00:00Z", -62135596800000000000),
        ("9999-12-31T23:59:59Z", 253402300799000000000),
    ],
)
def test_times_are_read_to_the_nanosecond_with_any_offset(text, expected):
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-06-01",
        "2020-06-01T18:50:16",
        "2020-06-01 18:50:16Z",
        "2020-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2020-06-01T24:00:00Z",
        "2020-06-01T23:59:60Z",
        "2020-06-01T18:50:16.Z",
        "2020-06-01T18:50:16+24:00",
        "2020-06-01T18:50:16+00:60",
        "2020-06-01T18:50:16+0000",
        "2020-06-01T18:50:16Z\n",
        "0000-01-01T00:00:00Z",
        "٢٠٢٠-06-01T18:50:16Z",
    ],
)
def test_text_that_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001  the zone is added
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_times_are_read_as_the_standard_library_reads_them(moment, minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since // timedelta(microseconds=1)) * 1000
    assert parse_time(aware.isoformat()) == expected


@given(st.integers(0, 4_000_000_000 * NS_PER_S))
def test_a_time_written_is_the_time_read(wall_ns):
    assert parse_time(rfc3339(wall_ns)) == wall_ns


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
