from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.gocompat.values import parse_bool, parse_uint


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_each_go_spelling_of_true_is_true(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_each_go_spelling_of_false_is_false(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "maybe", " true"])
def test_other_spellings_of_a_boolean_are_refused_in_go_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^strconv.ParseBool: parsing .*: invalid syntax$"):
        parse_bool(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("250", 250),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_unsigned_numbers_in_each_base(text: str, number: int) -> None:
    assert parse_uint(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "0x", "08", "1_000", "ten", "\u0661"])
def test_a_text_that_is_no_unsigned_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.ParseUint: .*: invalid syntax"):
        parse_uint(text)


@pytest.mark.parametrize("text", ["18446744073709551616", "0x1" + "0" * 16, "9" * 100_000])
def test_a_number_over_64_bits_is_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="value out of range"):
        parse_uint(text)


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_unsigned_number_reads_back_in_every_base(number: int) -> None:
    assert {parse_uint(form(number)) for form in (str, hex, bin, oct)} == {number}
