"""Requests as values: queries read as Go reads them, and the codings a client takes."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellcow.api.message import Request, parse_query


def request(query: bytes = b"", *headers: tuple[bytes, bytes]) -> Request:
    return Request("GET", "/v1/x", b"/v1/x", query, list(headers), "127.0.0.1")


def reference(raw: bytes) -> dict[str, list[str]]:
    """The rules, one after the other: cut at `&`, drop pairs with `;`, `+` is a space, decode."""
    found: dict[str, list[str]] = {}
    for pair in raw.split(b"&"):
        if not pair or b";" in pair:
            continue
        name, _, value = pair.partition(b"=")
        plain = [
            unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "replace")
            for part in (name, value)
        ]
        found.setdefault(plain[0], []).append(plain[1])
    return found


PIECES = st.sampled_from(
    [
        b"a",
        b"cas",
        b"=",
        b"=",
        b"&",
        b"&",
        b"+",
        b"%20",
        b"%3D",
        b"%26",
        b"%C3%A9",
        b"%ff",
        b"%",
        b";",
        b"%zz",
        b"?",
        b"1",
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_every_query_is_read_as_the_reference_reads_it(raw: bytes) -> None:
    assert parse_query(raw) == reference(raw)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=8)), max_size=5))
def test_what_is_encoded_comes_back_in_order(pairs: list[tuple[str, str]]) -> None:
    raw = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    found = parse_query(raw.encode())
    for name in {name for name, _ in pairs}:
        assert found[name] == [value for each, value in pairs if each == name]


@given(st.binary(max_size=50))
def test_any_bytes_are_a_query(raw: bytes) -> None:
    parse_query(raw)


def test_of_two_values_the_first_counts() -> None:
    asked = request(b"cas=1&cas=2&CAS=3")
    assert asked.param("cas") == "1"
    assert asked.query["cas"] == ["1", "2"]


def test_a_parameter_without_a_value_is_present_and_empty() -> None:
    asked = request(b"stale&cas=")
    assert asked.has("stale")
    assert asked.has("cas")
    assert asked.param("cas", "default") == ""
    assert not asked.has("pretty")
    assert asked.param("pretty", "default") == "default"


def test_without_a_query_there_are_no_parameters() -> None:
    assert not request().has("stale")
    assert request().param("stale", "x") == "x"
    assert request().query == {}


def test_the_first_of_two_headers_counts() -> None:
    asked = request(b"", (b"a", b"1"), (b"a", b"2"))
    assert asked.header(b"a") == b"1"
    assert asked.header(b"b") is None


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"deflate, gzip", True),
        (b"gzip;q=0.001", True),
        (b"gzip ; q=1", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"gzip;q=x", False),
        (b"gzip;q=nan", False),
        (b"gzip;q=-1", False),
        (b"*", False),
        (b"br, deflate", False),
        (b"x-gzip", False),
        (b"", False),
    ],
)
def test_gzip_is_taken_where_it_is_listed_with_some_quality(value: bytes, taken: bool) -> None:
    assert request(b"", (b"accept-encoding", value)).accepts_gzip is taken


def test_gzip_is_not_accepted_without_a_header() -> None:
    assert not request().accepts_gzip
