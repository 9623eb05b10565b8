from __future__ import annotations

import pytest

from bellcow.wire import go_quote, parse_duration


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("node-1", '"node-1"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x1b\x7f", '"\\x00\\x1b\\x7f"'),
        ("é\u4e16", '"é\u4e16"'),
        ("\x80\xa0\u200b\ufeff", '"\\u0080\\u00a0\\u200b\\ufeff"'),
        ("\U000e0001", '"\\U000e0001"'),
        (b"\xff".decode(errors="surrogateescape"), '"\\xff"'),
    ],
)
def test_text_is_quoted_as_go_prints_it(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted


def test_a_long_text_is_cut_and_says_so_inside_the_quotes() -> None:
    assert go_quote("abcdef", 3) == '"abc..."'
    assert go_quote("abc", 3) == '"abc"'


def test_a_cut_counts_characters_and_not_what_they_become() -> None:
    assert go_quote("\n\n\n", 2) == '"\\n\\n..."'


def test_a_duration_that_is_none_shows_bytes_in_hexadecimal() -> None:
    with pytest.raises(ValueError, match=r'^time: invalid duration "\\xc3\\xa9\\x0a\\""$'):
        parse_duration('é\n"')
