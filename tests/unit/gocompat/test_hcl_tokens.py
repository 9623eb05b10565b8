"""The scanner: kinds, texts and places of single tokens."""

from __future__ import annotations

import pytest

from bellcow.gocompat.hcl_tokens import HCLError, Tokens, kind_name


def kinds(text, *, json=False):
    tokens = Tokens(text, json=json)
    out = []
    while (token := tokens.next()).kind != "EOF":
        out.append((kind_name(token), token.text))
    return out


def test_words_and_signs_are_distinguished():
    assert kinds('a-b.c = [1, 2.5] { true } + - . "x"') == [
        ("IDENT", "a-b.c"),
        ("ASSIGN", "="),
        ("LBRACK", "["),
        ("NUMBER", "1"),
        ("COMMA", ","),
        ("FLOAT", "2.5"),
        ("RBRACK", "]"),
        ("LBRACE", "{"),
        ("BOOL", "true"),
        ("RBRACE", "}"),
        ("ADD", "+"),
        ("SUB", "-"),
        ("PERIOD", "."),
        ("STRING", '"x"'),
    ]


def test_a_colon_is_a_word_of_json_only():
    assert kinds(":", json=True) == [("ILLEGAL", ":")]
    with pytest.raises(HCLError, match="illegal char"):
        kinds(":")


def test_peeking_does_not_move():
    tokens = Tokens("a b")
    assert tokens.peek() == tokens.peek() == tokens.next()
    assert tokens.next().text == "b"


def test_places_are_counted_over_comments_and_texts_of_several_lines():
    tokens = Tokens('/*\n\n*/ a\n<<X\none\nX\n\té = "b"')
    places = []
    while (token := tokens.next()).kind != "EOF":
        places.append((token.text[:2], token.line, token.column))
    assert places == [("a", 3, 4), ("<", 4, 1), ("é", 7, 2), ("=", 7, 4), ('"b', 7, 6)]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("{", (2, 3, 4)),  # each look past the end counts
        ("word", (6, 7, 8)),  # a word that touches the end was a look
        ("# c", (5, 6, 7)),  # so was a comment
        ("word\n", (1, 2, 3)),
    ],
)
def test_the_column_of_the_end_grows_with_each_look(text, columns):
    tokens = Tokens(text)
    while tokens.peek().kind != "EOF":
        tokens.next()
    assert tuple(tokens.next().column for _ in columns) == columns
