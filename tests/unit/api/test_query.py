"""Declared query parameters, and numbers in Go's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.api.message import Request
from bellcow.api.query import CAS, UINT64_MAX, parse_uint, read_query
from bellcow.errors import Code, Error


def request(query: bytes) -> Request:
    return Request("PUT", "/v1/x", b"/v1/x", query, [])


@pytest.mark.parametrize(
    ("query", "cas"),
    [(b"other=1", None), (b"cas=0", 0), (b"cas=007", 7), (b"cas=%d" % UINT64_MAX, UINT64_MAX)],
)
def test_cas_is_an_index_or_none(query: bytes, cas: int | None) -> None:
    assert read_query([CAS], request(query)).get("cas") == cas


def test_parameter_that_is_sent_empty_is_read():
    with pytest.raises(Error, match="Error parsing cas value: "):
        read_query([CAS], request(b"cas"))


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "1_0", "\u0663", "\u00b2", "abc", "\0"],
)
def test_other_text_than_a_number_has_an_invalid_syntax(text: str) -> None:
    with pytest.raises(Error) as caught:
        parse_uint(text, "P: ")
    assert caught.value.code is Code.INVALID
    assert caught.value.message == f'P: strconv.ParseUint: parsing "{text}": invalid syntax'


@pytest.mark.parametrize("text", [str(UINT64_MAX + 1), "9" * 23, "9" * 5000, "0" * 9 + "9" * 21])
def test_too_large_a_number_is_out_of_range_and_shown_in_part(text: str) -> None:
    with pytest.raises(Error) as caught:
        parse_uint(text, "")
    assert caught.value.message.endswith(": value out of range")
    assert len(caught.value.message) < 150


@given(st.integers(0, UINT64_MAX), st.integers(0, 4000))
def test_every_index_is_read_with_zeros_before_it(number: int, zeros: int) -> None:
    assert parse_uint("0" * zeros + str(number), "") == number


def test_thousands_of_zeros_before_an_index_are_read_too() -> None:
    assert parse_uint("0" * 5000 + "7", "") == 7


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        number = parse_uint(text, "")
    except Error:
        assert not (text.isascii() and text.isdigit() and int(text) <= UINT64_MAX)
        return
    assert str(number) == (text.lstrip("0") or "0")
