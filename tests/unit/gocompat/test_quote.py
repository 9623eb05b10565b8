from __future__ import annotations

import pytest

from bellcow.gocompat.quote import go_quote, printable


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\r\t\a\b\f\v", '"\\n\\r\\t\\a\\b\\f\\v"'),
        ("\x00\x7f", '"\\x00\\x7f"'),
        ("é世", '"é世"'),
        ("\u0085\u200b\U000e0001", '"\\u0085\\u200b\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_a_text_is_quoted_as_go_quotes_it(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted


def test_a_quoted_text_is_cut_at_its_limit() -> None:
    assert go_quote("abcd", 3) == '"abc..."'
    assert go_quote("abc", 3) == '"abc"'


def test_unprintable_characters_are_escaped() -> None:
    assert go_quote('a"b\\\n\x00é') == '"a\\"b\\\\\\n\\x00é"'


def test_bytes_that_are_not_utf_8_are_escaped() -> None:
    assert go_quote(b"\xff".decode(errors="surrogateescape")) == '"\\xff"'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is", "as it is"),
        ('"é"', '"é"'),
        ("a\nb\x1b", "a\\x0ab\\x1b"),
        ("1234567890a", "1234567890..."),
    ],
)
def test_printable_cuts_and_escapes_without_quotes(text: str, shown: str) -> None:
    assert printable(text, 10) == shown
